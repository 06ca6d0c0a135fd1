"""What this project wants to reach, beside what was measured. Nothing depends on it.

On AMX, in the vector registers of a CPU without it, and at sizes that nobody tuned for.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amx.backend import Backend
from amx.bench.calls import OURS, CallRow, best
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.kernels import KernelRow
from amx.bench.neighbour import KEPT, floor, neighbour
from amx.bench.peers.peer import Form
from amx.bench.timing import Summary

__all__ = ["Figure", "Goal", "Standing", "goal_of", "standings"]


class Figure(enum.Enum):
    """What is measured, each as a multiple of something else."""

    RATIO = "ratio"
    OF_FLOAT32 = "of_float32"
    OF_CEILING = "of_ceiling"
    OF_STREAM = "of_stream"
    SCALING = "scaling"
    OF_NEIGHBOUR = "of_neighbour"


@dataclass(frozen=True, slots=True)
class Goal:
    """Least values; None where nothing is wanted.

    Attributes
    ----------
    ratio: of our call to the best library's that takes such operands, plain to plain and packed to packed.
    of_ceiling: of the kernel's rate to the ceiling.
    of_stream: of the rate at which B goes by to that of reading as much.
    scaling: of the kernel's rate to its own on one thread.
    of_neighbour: of the kernel's rate, and those of our calls, to those at the round size `beside` it; for a
        stream of B of the kernel's alone.
    of_float32: of our call to the best library's of the same shape in float32.
    """

    ratio: float | None = None
    of_ceiling: float | None = None
    of_stream: float | None = None
    scaling: float | None = None
    of_neighbour: float | None = None
    of_float32: float | None = None
    beside: Case | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One figure of one product beside what is wanted of it.

    Attributes
    ----------
    engine: what multiplied.
    native: whether that was the CPU's tiles.
    form: of our call; None for the kernel.
    against: the library that a ratio refers to, the round size, or the ceiling; else empty.
    measured: None where it could not be.
    wrong: libraries that a ratio leaves out, since their products are wrong here.
    """

    case: Case
    threads: int
    engine: Backend
    native: bool
    figure: Figure
    form: Form | None
    goal: float
    against: str
    measured: Summary | None
    wrong: tuple[str, ...] = ()


_OF_CEILING = {
    Dtype.INT8: {64: 0.45, 128: 0.52, 256: 0.65, 512: 0.75, 1024: 0.80, 2048: 0.75, 4096: 0.75},
    Dtype.BF16: {64: 0.62, 128: 0.68, 256: 0.72, 512: 0.75, 1024: 0.75, 2048: 0.70, 4096: 0.65},
}
_LARGE = {Dtype.INT8: 1.5, Dtype.BF16: 1.4}
_STREAMS = _ONE_ROW, _SOME_ROWS = Shape(1, 4096, 4096), Shape(16, 4096, 4096)
_WIDER = (Shape(128, 4096, 4096), Shape(512, 4096, 4096), Shape(128, 11008, 4096))
_BATCHES = (Shape(128, 64, 128, 64), Shape(128, 128, 64, 64))

_VECTOR_INT8 = {64: 0.85, 128: 0.90, 256: 0.92, 512: 0.92, 1024: 0.92, 2048: 0.88, 4096: 0.88}
_VECTOR_FLOAT = {64: 0.80, 128: 0.85, 256: 0.88, 512: 0.88, 1024: 0.88, 2048: 0.82, 4096: 0.82}


def goal_of(case: Case, threads: int, engine: Backend) -> Goal | None:
    """The goal of a product on that many threads by that engine, if it has one."""
    on_vectors = engine is Backend.VECTOR
    tuned = None
    if threads in (1, 2):
        if on_vectors:
            tuned = _on_vectors(case, threads)
        elif engine is Backend.NATIVE:
            tuned = _on_tiles(case, threads)
    return tuned or _untuned(case, on_vectors=on_vectors)


def _on_tiles(case: Case, threads: int) -> Goal | None:
    if case.dtype not in _OF_CEILING:
        return None
    shape = case.shape
    if shape in _STREAMS:
        return Goal(of_stream=0.95)
    if shape in _WIDER or shape in _BATCHES:
        return Goal(ratio=1.2)
    of_ceiling = _OF_CEILING[case.dtype].get(shape.m)
    if of_ceiling is None or not _is_square(shape):
        return None
    ratio = _LARGE[case.dtype] if shape.m >= 1024 else 1.3
    if threads == 1:
        return Goal(ratio, of_ceiling)
    if shape.m >= 1024:
        return Goal(ratio, scaling=1.9)
    return Goal(ratio) if shape.m >= 128 else None


def _on_vectors(case: Case, threads: int) -> Goal | None:
    """Of bytes a float32 product has to be beaten like any other; of 16 bits it is twice as large."""
    shape, exact = case.shape, case.dtype.exact
    if shape == _ONE_ROW:
        return Goal(of_stream=0.9, of_float32=3.5 if exact else 1.8)
    if shape == _SOME_ROWS:
        return Goal(of_neighbour=0.85, beside=Case(Shape(256, 256, 256), case.dtype))
    if shape in _BATCHES:
        return Goal(ratio=1.1, of_float32=1.1 if exact else None)
    of_ceiling = (_VECTOR_INT8 if exact else _VECTOR_FLOAT).get(shape.m)
    if shape in _WIDER:
        of_ceiling = None
    elif of_ceiling is None or not _is_square(shape):
        return None
    ratio = 1.1 if exact and max(shape.m, shape.n) > 512 else 1.3
    of_float32 = ratio if exact else 1.0
    if threads == 1:
        return Goal(ratio, of_ceiling, of_float32=of_float32)
    scales = _is_square(shape) and shape.m >= 512
    return Goal(ratio, scaling=1.9 if scales else None, of_float32=of_float32)


def _is_square(shape: Shape) -> bool:
    return shape == Shape(shape.m, shape.m, shape.m)


def _untuned(case: Case, *, on_vectors: bool) -> Goal | None:
    """Of sizes that are not round: never behind the best library, nor far behind the round size.

    Vector registers are no tiles: nothing is rounded up to them.
    """
    beside = neighbour(case, on_tiles=not on_vectors)
    if beside is None or case.shape in _STREAMS:
        return None
    if on_vectors:
        of_float32 = 1.1 if case.dtype.exact else None
        return Goal(ratio=1.1, of_neighbour=KEPT, of_float32=of_float32, beside=beside)
    return Goal(ratio=1.0, of_neighbour=floor(case), beside=beside)


def standings(kernels: Sequence[KernelRow], calls: Sequence[CallRow]) -> list[Standing]:
    """All figures with a goal, product by product.

    Those of sizes that nobody tuned for on every backend, since they compare with the same backend; those of
    AMX only of products that ran on the CPU's tiles.
    """
    found = []
    for row in kernels:
        goal = goal_of(row.case, row.threads, row.engine)
        if goal is None or (row.engine is Backend.NATIVE and not row.native and not goal.beside):
            continue
        for figure, form, wanted, against, measured in _figures(goal, row, calls):
            if wanted is not None:
                wrong = _wrong(calls, row.case, form) if figure is Figure.RATIO else ()
                found.append(
                    Standing(
                        row.case, row.threads, row.engine, row.native, figure, form, wanted, against,
                        measured, wrong,
                    )
                )  # fmt: skip
    return found


def _wrong(calls: Sequence[CallRow], case: Case, form: Form | None) -> tuple[str, ...]:
    return tuple(row.library for row in calls if row.wrong and (row.case, row.form) == (case, form))


def _figures(
    goal: Goal, row: KernelRow, calls: Sequence[CallRow]
) -> Iterator[tuple[Figure, Form | None, float | None, str, Summary | None]]:
    for figure, wanted in ((Figure.RATIO, goal.ratio), (Figure.OF_FLOAT32, goal.of_float32)):
        for form in Form:
            peer = best(calls, row.case, form, float32=figure is Figure.OF_FLOAT32)
            yield figure, form, wanted, peer.library if peer else "", peer.ratio if peer else None
    yield Figure.OF_CEILING, None, goal.of_ceiling, row.ceiling, row.of_ceiling
    yield Figure.OF_STREAM, None, goal.of_stream, "", row.of_stream
    yield Figure.SCALING, None, goal.scaling, "", row.scaling
    beside = str(goal.beside.shape) if goal.beside else ""
    yield Figure.OF_NEIGHBOUR, None, goal.of_neighbour, beside, row.of_neighbour
    if row.case.shape in _STREAMS:
        return
    ours = {call.form: call for call in calls if (call.case, call.library) == (row.case, OURS)}
    for form in Form:
        call = ours.get(form)
        yield Figure.OF_NEIGHBOUR, form, goal.of_neighbour, beside, call.of_neighbour if call else None
