"""What this machine could do at best: tile unit and vector units alone, loads from each level, streams.

A product cannot be faster than `Ceiling.limit`. On tiles that is the 2x2 block, which needs one load for each
product, on dense data from L1: products from registers alone run at a higher clock that no real product
reaches. Else it is the pair of vector instructions that a product consists of (vectors.py), from registers.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import amx
from amx import cpu, errors, machine
from amx._lib import ffi, lib
from amx.backend import Backend
from amx.bench import memory, team
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.operands import aligned, make_operands, pointer
from amx.bench.timing import Clock, Pace, Side, Summary, interleave, summarise
from amx.bench.vectors import Vectors, loop_for, loops_for
from amx.caches import own_caches
from amx.dtypes import Array, tdp

__all__ = [
    "Block", "Ceiling", "CeilingRow", "Limit", "Unit", "engine", "family", "is_native", "is_on_amx",
    "limit_of", "measure", "why_not_native",
]  # fmt: skip

TILE = 1024
GROUP = 8 * TILE  # what one turn of the loading loop takes
B_OF_4096 = 16 << 20  # bytes of an int8 operand of 4096 x 4096


class Unit(enum.Enum):
    """What a rate counts, in units of 10^9 a second."""

    GOPS = "GOP/s"
    GBS = "GB/s"


@dataclass(frozen=True, slots=True)
class CeilingRow:
    """One rate of the machine; `rate` is None where it could not be measured, and `reason` says why.

    `limits`: dtypes whose products, on as many threads, it is the ceiling of in this process.
    """

    name: str
    dtype: Dtype | None
    unit: Unit
    threads: int
    rate: Summary | None
    reason: str = ""
    limits: tuple[Dtype, ...] = ()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """All that was measured of the machine."""

    rows: tuple[CeilingRow, ...]

    def limit(self, dtype: Dtype, threads: int) -> CeilingRow | None:
        """The row that percentages refer to, None where it was not measurable."""
        return self._find(lambda row: dtype in row.limits and row.threads == threads)

    def compute(self, dtype: Dtype, threads: int) -> float | None:
        """GOP/s of that row."""
        return _median(self.limit(dtype, threads))

    def memory(self, threads: int) -> float | None:
        """GB/s of reading a working set beyond the caches."""
        return _median(self._find(lambda row: row.name.startswith(READ_MEMORY) and row.threads == threads))

    def _find(self, fits: Callable[[CeilingRow], bool]) -> CeilingRow | None:
        return next((row for row in self.rows if row.rate and fits(row)), None)


def _median(row: CeilingRow | None) -> float | None:
    return row.rate.median if row and row.rate else None


REGISTERS = "products from registers"
BLOCK = "2x2 block from L1"
FROM_REGISTERS = ", from registers"
FROM_L1 = ", 6x2 block from L1"
READ_MEMORY = "read memory"


def engine(dtype: Dtype) -> Backend:
    """What multiplies this dtype in this process; requests permission."""
    with warnings.catch_warnings():  # the report says which backend ran
        warnings.simplefilter("ignore", amx.AmxWarning)
        return amx.get_backend(dtype.value)


def family(dtype: Dtype) -> str:
    """Which kernels of the vector engine multiply this dtype; empty where another engine does."""
    op = tdp(dtype.element, dtype.element)
    assert op is not None
    return ffi.string(lib.amx_vector_selected(op)).decode() if engine(dtype) is Backend.VECTOR else ""


def is_native(dtype: Dtype) -> bool:
    """Whether products of this dtype run by tile instructions in this process; requests permission."""
    return engine(dtype) is Backend.NATIVE


def is_on_amx(dtype: Dtype) -> bool:
    """Whether products of this dtype run on the CPU's own tiles, so that their rate is one of AMX."""
    return not why_not_native(dtype) and not machine.current().emulated


def why_not_native(dtype: Dtype) -> str:
    """Why the tile unit cannot be measured for this dtype, empty where it can."""
    try:
        if is_native(dtype):
            return ""
    except errors.FeatureError as error:
        return str(error)
    if not amx.available():
        cause = amx.explain().cause
        return f"not measurable here: {cause.words if cause else 'AMX cannot be used'}"
    feature = {
        Dtype.INT8: cpu.Feature.AMX_INT8,
        Dtype.BF16: cpu.Feature.AMX_BF16,
        Dtype.FP16: cpu.Feature.AMX_FP16,
    }[dtype]
    if feature not in cpu.features():
        return f"not measurable here: the CPU does not announce {feature}"
    return "not measured: products do not run on AMX, as AMX_BACKEND says or because permission was refused"


@dataclass(frozen=True)
class Block:
    """The 2x2 block of one dtype on dense operands that fill two thirds of L1.

    `chunks` tiles of K; `run(n)` does n rounds on each of `threads` threads, `operations` each.
    """

    dtype: Dtype
    threads: int
    chunks: int
    a: Array
    b: Array
    c: Array

    @classmethod
    def of(cls, dtype: Dtype, threads: int, *, seed: int, chunks: int | None = None) -> Block:
        """Operands in the tile layout; any dense bytes of the type will do."""
        if chunks is None:
            chunks = max(1, own_caches().l1 * 2 // 3 // (4 * TILE))
        per_tile = TILE // dtype.element.size
        values = make_operands(Case(Shape(chunks * 2, chunks * 2, per_tile), dtype), seed)
        a, b = aligned(chunks * 2 * TILE), aligned(chunks * 2 * TILE)
        a[:] = values.a.view(np.uint8).reshape(-1)
        b[:] = values.b.view(np.uint8).reshape(-1)
        return cls(dtype, threads, chunks, a, b, aligned(4 * TILE))

    @property
    def op(self) -> int:
        """The instruction by its number in csrc/amx.h."""
        op = tdp(self.dtype.element, self.dtype.element)
        assert op is not None
        return op

    @property
    def operations(self) -> int:
        """Of one round of `run`."""
        return self.chunks * self.operations_of_products

    @property
    def operations_of_products(self) -> int:
        """Of one round of `run_products`: four products of 16 x 16 by 64 bytes of K."""
        return self.threads * 4 * 2 * 16 * 16 * (64 // self.dtype.element.size)

    def run(self, rounds: int) -> None:
        """The block over all of K, `rounds` times."""
        a, b, c = pointer(self.a), pointer(self.b), pointer(self.c)
        team.expect(self.threads, lib.amx_bench_block(self.op, self.threads, a, b, c, self.chunks, rounds))

    def run_products(self, rounds: int) -> None:
        """Four products from registers, `rounds` times."""
        a, b, c = pointer(self.a), pointer(self.b), pointer(self.c)
        team.expect(self.threads, lib.amx_bench_products(self.op, self.threads, a, b, c, rounds))


@dataclass(frozen=True, slots=True)
class Limit:
    """The ceiling of one dtype's products: `run(n)` does `operations`, of all threads together, n times."""

    name: str
    operations: int
    run: Callable[[int], None]


def limit_of(dtype: Dtype, threads: int, *, seed: int) -> Limit | None:
    """To be measured beside a product; None where the CPU has no such instructions."""
    if is_native(dtype):
        block = Block.of(dtype, threads, seed=seed)
        return Limit(BLOCK, block.operations, block.run)
    loop = loop_for(dtype)
    if loop is None:
        return None
    vectors = Vectors.of(loop, threads, seed=seed)
    return Limit(f"{loop.value}{FROM_REGISTERS}", vectors.operations_of_products, vectors.run_products)


@dataclass(frozen=True, slots=True)
class _Rate:
    """A row to measure, and how much one repetition of its side does."""

    name: str
    dtype: Dtype | None
    unit: Unit
    threads: int
    work: int
    run: Callable[[int], object]
    limits: tuple[Dtype, ...] = ()


def measure(
    dtypes: tuple[Dtype, ...],
    threads: tuple[int, ...],
    memory_bytes: int,
    pace: Pace,
    clock: Clock,
    seed: int,
) -> Ceiling:
    """All rows, each for each number of threads, interleaved.

    `memory_bytes`: the working set that shall exceed the caches; less where memory is short.
    """
    rates: list[_Rate] = []
    missing: list[CeilingRow] = []
    for dtype in dtypes:
        reason = why_not_native(dtype)
        for count in threads:
            if reason:
                missing += [
                    CeilingRow(name, dtype, Unit.GOPS, count, None, reason) for name in (REGISTERS, BLOCK)
                ]
            else:
                rates += _tile_unit(Block.of(dtype, count, seed=seed))
    rates += [rate for count in threads for rate in _vector_units(dtypes, count, seed)]
    data, target = _working_set(memory_bytes, seed), aligned(_fitting(memory_bytes))
    reason = why_not_native(Dtype.INT8)
    for count in threads:
        loads = _tile_loads(data, count)
        if reason:
            missing += [CeilingRow(row.name, None, row.unit, count, None, reason) for row in loads]
        else:
            rates += loads
        rates += _streams(data, target, count)
    rates, refused = _runnable(sorted(rates, key=lambda rate: rate.threads))
    missing += refused
    # Another number of threads counts as another library: workers that still spin would disturb it.
    sides = [Side(rate.name, f"{rate.threads} thread(s)", rate.run) for rate in rates]
    samples = interleave(sides, pace, clock)
    measured = [
        CeilingRow(
            rate.name,
            rate.dtype,
            rate.unit,
            rate.threads,
            summarise([rate.work / second / 1e9 for second in seconds]),
            limits=rate.limits,
        )
        for rate, seconds in zip(rates, samples, strict=True)
    ]
    return Ceiling((*missing, *measured))


def _runnable(rates: Sequence[_Rate]) -> tuple[list[_Rate], list[CeilingRow]]:
    """Those that run, by a first try of each, and rows for the others."""
    runnable, refused = [], []
    for rate in rates:
        try:
            rate.run(1)
            runnable.append(rate)
        except errors.AmxUnavailableError as error:
            refused.append(CeilingRow(rate.name, rate.dtype, rate.unit, rate.threads, None, str(error)))
    return runnable, refused


def tileload_side(data: Array, size: int, threads: int, *, t1: bool = False) -> Callable[[int], None]:
    """Loads of the first `size` bytes, in whole groups, shared by the threads; `run(n)` does it n times."""

    def run(rounds: int) -> None:
        team.expect(threads, lib.amx_bench_tileload(int(t1), threads, pointer(data), size, rounds))

    return run


def stream_side(kind: int, data: Array, size: int, threads: int) -> Callable[[int], None]:
    """Plain reading or writing, an AMX_STREAM_*, of the first `size` bytes; `run(n)` does it n times."""

    def run(rounds: int) -> None:
        team.expect(threads, lib.amx_bench_stream(kind, threads, pointer(data), size, rounds))

    return run


def _tile_unit(block: Block) -> list[_Rate]:
    return [
        _Rate(
            REGISTERS, block.dtype, Unit.GOPS, block.threads, block.operations_of_products, block.run_products
        ),
        _Rate(
            BLOCK, block.dtype, Unit.GOPS, block.threads, block.operations, block.run, limits=(block.dtype,)
        ),
    ]


def _vector_units(dtypes: Sequence[Dtype], threads: int, seed: int) -> list[_Rate]:
    """Every loop that products of these dtypes could consist of, from registers and from L1."""
    rates = []
    for loop in dict.fromkeys(loop for dtype in dtypes for loop in loops_for(dtype)):
        vectors = Vectors.of(loop, threads, seed=seed)
        limits = tuple(dtype for dtype in dtypes if loop is loop_for(dtype) and not is_native(dtype))
        rates += [
            _Rate(
                f"{loop.value}{FROM_REGISTERS}", None, Unit.GOPS, threads, vectors.operations_of_products,
                vectors.run_products, limits,
            ),
            _Rate(f"{loop.value}{FROM_L1}", None, Unit.GOPS, threads, vectors.operations, vectors.run),
        ]  # fmt: skip
    return rates


def _tile_loads(data: Array, threads: int) -> list[_Rate]:
    caches = own_caches()
    rates = []
    for level, wanted in (
        ("L1", caches.l1 // 2 * threads),
        ("L2", caches.l2 // 2 * threads),
        ("beyond L2", B_OF_4096),
        ("memory", data.size),
    ):
        size = min(wanted, data.size) // (GROUP * threads) * GROUP * threads
        for mnemonic, t1 in (("tileloadd", False), ("tileloaddt1", True)):
            name = f"{mnemonic} {level}, {_size(size)}"
            rates.append(
                _Rate(name, None, Unit.GBS, threads, size, tileload_side(data, size, threads, t1=t1))
            )
    return rates


def _streams(data: Array, target: Array, threads: int) -> list[_Rate]:
    beyond = min(B_OF_4096, data.size)
    rows = [
        ("read beyond L2", lib.AMX_STREAM_READ, data, beyond),
        (READ_MEMORY, lib.AMX_STREAM_READ, data, data.size),
        ("write memory", lib.AMX_STREAM_WRITE, target, target.size),
        ("write memory past the caches", lib.AMX_STREAM_WRITE_NT, target, target.size),
    ]
    return [
        _Rate(
            f"{name}, {_size(size)}", None, Unit.GBS, threads, size, stream_side(kind, array, size, threads)
        )
        for name, kind, array, size in rows
    ]


def _working_set(size: int, seed: int) -> Array:
    """Random bytes, repeated every MiB."""
    data = aligned(_fitting(size))
    piece = np.random.default_rng(seed).integers(1, 256, 1 << 20, dtype=np.uint8)
    for start in range(0, data.size, piece.size):
        part = data[start : start + piece.size]
        part[:] = piece[: part.size]
    return data


def _fitting(size: int) -> int:
    return max(GROUP, min(size, memory.available() // 8) // GROUP * GROUP)


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
