"""What an emulated instruction costs: as a call, patched, trapped; and what the CPU's own costs.

Everything is on one thread, on whole tiles. The product is that of `amx.matmul` with its native kernels, so
that its instructions are emulated one by one; as a call it is the emulated backend's.
"""

from __future__ import annotations

import contextlib
import enum
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import amx
from amx import backend, cpu, errors, machine
from amx._lib import lib
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.operands import aligned, make_operands, pointer
from amx.bench.session import QUICK, THOROUGH
from amx.bench.timing import Clock, Pace, RealClock, Side, Summary, interleave, summarise
from amx.dtypes import Array

__all__ = ["Cost", "Costs", "How", "measure"]

PRODUCT = "int8 256x256x256"
INSTRUCTIONS = {
    "tilezero": lib.AMXEMU_TILEZERO,
    "tileloadd": lib.AMXEMU_TILELOADD,
    "tilestored": lib.AMXEMU_TILESTORED,
    "tdpbssd": lib.AMXEMU_TDPBSSD,
    "tdpbf16ps": lib.AMXEMU_TDPBF16PS,
}


class How(enum.Enum):
    """Who executes an instruction, and how he comes to it."""

    HARDWARE = "hardware"
    CALL = "call"
    PATCHED = "patched"
    TRAPPED = "trapped"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one instruction or product."""

    what: str
    how: How
    seconds: Summary


@dataclass(frozen=True, slots=True)
class Costs:
    """All that was measured, and why the rest was not. `wrong` are the ways that gave a wrong product."""

    version: str
    processor: str
    kernel: str
    pace: Pace
    rows: tuple[Cost, ...]
    missing: tuple[tuple[How, str], ...]
    wrong: tuple[How, ...]

    def of(self, what: str, how: How) -> Summary | None:
        """One figure, None where it was not measured."""
        return next((row.seconds for row in self.rows if (row.what, row.how) == (what, how)), None)


def measure(*, quick: bool = False, seed: int = 1, clock: Clock | None = None) -> Costs:
    """Each way by itself: emulation concerns the whole process. Hardware last: its permission stays."""
    pace, clock = QUICK if quick else THOROUGH, clock or RealClock()
    rows: list[Cost] = []
    missing: list[tuple[How, str]] = []
    wrong: list[How] = []
    for how in (How.CALL, How.PATCHED, How.TRAPPED, How.HARDWARE):
        try:
            with _entered(how):
                product = _Product(seed)
                sides = [*_instructions(how, seed), Side(PRODUCT, "", product.run)]
                for side in sides:
                    side.run(1)  # patches
                samples = interleave(sides, pace, clock)
                rows += [
                    Cost(side.name, how, summarise(seconds))
                    for side, seconds in zip(sides, samples, strict=True)
                ]
                wrong += [] if product.is_right() else [how]
        except errors.AmxError as error:
            missing.append((how, str(error)))
    return Costs(
        amx.__version__,
        platform.machine() if machine.current().stub else str(cpu.processor()),
        platform.release(),
        pace,
        tuple(rows),
        tuple(missing),
        tuple(wrong),
    )


class _Product:
    def __init__(self, seed: int) -> None:
        operands = make_operands(Case(Shape(256, 256, 256), Dtype.INT8), seed)
        self.a, self.b = operands.a, operands.b
        self.c: Array = amx.matmul(self.a, self.b)

    def run(self, repetitions: int) -> None:
        for _ in range(repetitions):
            amx.matmul(self.a, self.b, out=self.c)

    def is_right(self) -> bool:
        return bool(np.array_equal(self.c, self.a.astype(np.int32) @ self.b.astype(np.int32)))


def _instructions(how: How, seed: int) -> Iterator[Side]:
    """Two tiles of numbers near 1, as bfloat16 and as whatever bytes those are."""
    engine = lib.AMX_EMULATED if how is How.CALL else lib.AMX_NATIVE
    data = aligned(2048)
    numbers = np.random.default_rng(seed).uniform(0.5, 2, 1024).astype(np.float32)
    data.view(np.uint16)[:] = numbers.view(np.uint32) >> 16
    for name, op in INSTRUCTIONS.items():
        yield Side(name, "", _repeated(engine, op, data))


def _repeated(engine: int, op: int, data: Array) -> Callable[[int], None]:
    def run(rounds: int) -> None:
        error = lib.amx_bench_instruction(engine, op, pointer(data), rounds)
        assert error == 0

    return run


@contextlib.contextmanager
def _entered(how: How) -> Iterator[None]:
    is_emulated = how in (How.PATCHED, How.TRAPPED)
    machine_ = amx.emulate("spr", patch=how is How.PATCHED) if is_emulated else contextlib.nullcontext()
    with machine_, backend.decided_anew():
        if how is How.HARDWARE and machine.current().emulated:
            raise errors.EmulationError(
                f"AMX is emulated here ({machine.current().emulated})",
                cause="What its instructions cost is not what those of hardware do",
                remedy="Measure without it",
            )
        amx.set_backend("emulated" if how is How.CALL else "native")
        amx.set_num_threads(1)
        try:
            yield
        finally:
            amx.set_num_threads(None)
