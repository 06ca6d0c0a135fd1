"""What this machine could do at best: the tile unit alone, loads from each level, streams of memory.

A product cannot be faster than `Ceiling.compute`: the 2x2 block, which needs one load for each product, on
dense data from L1. Products from registers alone run at a higher clock that no real product reaches.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import amx
from amx import cpu, errors, machine
from amx._lib import lib
from amx.backend import Backend
from amx.bench import memory
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.operands import aligned, make_operands, pointer
from amx.bench.timing import Clock, Pace, Side, Summary, interleave, summarise
from amx.caches import own_caches
from amx.dtypes import Array, tdp

__all__ = ["Block", "Ceiling", "CeilingRow", "Unit", "is_native", "is_on_amx", "measure", "why_not_native"]

TILE = 1024
GROUP = 8 * TILE  # what one turn of the loading loop takes
B_OF_4096 = 16 << 20  # bytes of an int8 operand of 4096 x 4096


class Unit(enum.Enum):
    """What a rate counts, in units of 10^9 a second."""

    GOPS = "GOP/s"
    GBS = "GB/s"


@dataclass(frozen=True, slots=True)
class CeilingRow:
    """One rate of the machine; `rate` is None where it could not be measured, and `reason` says why."""

    name: str
    dtype: Dtype | None
    unit: Unit
    threads: int
    rate: Summary | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """All that was measured of the machine."""

    rows: tuple[CeilingRow, ...]

    def compute(self, dtype: Dtype, threads: int) -> float | None:
        """GOP/s of the 2x2 block, None where it was not measurable."""
        return self._find(BLOCK, dtype, threads)

    def memory(self, threads: int) -> float | None:
        """GB/s of reading a working set beyond the caches."""
        return self._find(READ_MEMORY, None, threads)

    def _find(self, prefix: str, dtype: Dtype | None, threads: int) -> float | None:
        for row in self.rows:
            if row.name.startswith(prefix) and (row.dtype, row.threads) == (dtype, threads) and row.rate:
                return row.rate.median
        return None


REGISTERS = "products from registers"
BLOCK = "2x2 block from L1"
READ_MEMORY = "read memory"


def is_native(dtype: Dtype) -> bool:
    """Whether products of this dtype run by tile instructions in this process; requests permission."""
    with warnings.catch_warnings():  # the report says which backend ran
        warnings.simplefilter("ignore", amx.AmxWarning)
        return amx.get_backend(dtype.value) is Backend.NATIVE


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
        _expect(self.threads, lib.amx_bench_block(self.op, self.threads, a, b, c, self.chunks, rounds))

    def run_products(self, rounds: int) -> None:
        """Four products from registers, `rounds` times."""
        a, b, c = pointer(self.a), pointer(self.b), pointer(self.c)
        _expect(self.threads, lib.amx_bench_products(self.op, self.threads, a, b, c, rounds))


@dataclass(frozen=True, slots=True)
class _Rate:
    """A row to measure, and how much one repetition of its side does."""

    name: str
    dtype: Dtype | None
    unit: Unit
    threads: int
    work: int
    run: Callable[[int], object]


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
        _expect(threads, lib.amx_bench_tileload(int(t1), threads, pointer(data), size, rounds))

    return run


def _tile_unit(block: Block) -> list[_Rate]:
    return [
        _Rate(
            REGISTERS, block.dtype, Unit.GOPS, block.threads, block.operations_of_products, block.run_products
        ),
        _Rate(BLOCK, block.dtype, Unit.GOPS, block.threads, block.operations, block.run),
    ]


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
    def stream(kind: int, array: Array, size: int) -> Callable[[int], None]:
        def run(rounds: int) -> None:
            _expect(threads, lib.amx_bench_stream(kind, threads, pointer(array), size, rounds))

        return run

    beyond = min(B_OF_4096, data.size)
    rows = [
        ("read beyond L2", lib.AMX_STREAM_READ, data, beyond),
        (READ_MEMORY, lib.AMX_STREAM_READ, data, data.size),
        ("write memory", lib.AMX_STREAM_WRITE, target, target.size),
        ("write memory past the caches", lib.AMX_STREAM_WRITE_NT, target, target.size),
    ]
    return [
        _Rate(f"{name}, {_size(size)}", None, Unit.GBS, threads, size, stream(kind, array, size))
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


def _expect(threads: int, result: int) -> None:
    """A figure for N threads that fewer of them made would be wrong."""
    if result != threads:
        raise errors.AmxUnavailableError(
            f"a loop for {threads} thread(s) returned {result}",
            cause="OpenMP gave fewer threads" if result > 0 else "this build cannot run it",
            remedy="ask for fewer with --threads, or raise OMP_THREAD_LIMIT",
            errno=-result if result < 0 else None,
        )
