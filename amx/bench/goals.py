"""What this project wants to reach on an AMX machine, beside what was measured. Nothing depends on it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amx.bench.calls import OURS, CallRow, best
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.kernels import KernelRow
from amx.bench.neighbour import floor, neighbour
from amx.bench.peers.peer import Form
from amx.bench.timing import Summary

__all__ = ["Figure", "Goal", "Standing", "goal_of", "standings"]


class Figure(enum.Enum):
    """What is measured, each as a multiple of something else."""

    RATIO = "ratio"
    OF_CEILING = "of_ceiling"
    OF_STREAM = "of_stream"
    SCALING = "scaling"
    OF_NEIGHBOUR = "of_neighbour"


@dataclass(frozen=True, slots=True)
class Goal:
    """Least values; None where nothing is wanted.

    Attributes
    ----------
    ratio: of our call to the best library's, plain to plain and packed to packed.
    of_ceiling: of the kernel's rate to that of the 2x2 block.
    of_stream: of the rate at which B goes by to that of tile loads.
    scaling: of the kernel's rate to its own on one thread.
    of_neighbour: of the kernel's rate, and those of our calls, to those at the round size beside it.
    """

    ratio: float | None = None
    of_ceiling: float | None = None
    of_stream: float | None = None
    scaling: float | None = None
    of_neighbour: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One figure of one product beside what is wanted of it.

    Attributes
    ----------
    native: whether the product ran on the CPU's tiles, which the goals are about.
    form: of our call; None for the kernel.
    against: the library that a ratio refers to, or the round size; else empty.
    measured: None where it could not be.
    wrong: libraries that a ratio leaves out, since their products are wrong here.
    """

    case: Case
    threads: int
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
_STREAMS = (Shape(1, 4096, 4096), Shape(16, 4096, 4096))
_WIDER = (Shape(128, 4096, 4096), Shape(512, 4096, 4096), Shape(128, 11008, 4096))
_BATCHES = (Shape(128, 64, 128, 64), Shape(128, 128, 64, 64))


def goal_of(case: Case, threads: int) -> Goal | None:
    """The goal of a product on that many threads, if it has one."""
    return _tuned(case, threads) or _untuned(case)


def _tuned(case: Case, threads: int) -> Goal | None:
    if case.dtype not in _OF_CEILING or threads not in (1, 2):
        return None
    shape = case.shape
    if shape in _STREAMS:
        return Goal(of_stream=0.95)
    if shape in _WIDER or shape in _BATCHES:
        return Goal(ratio=1.2)
    of_ceiling = _OF_CEILING[case.dtype].get(shape.m)
    if of_ceiling is None or shape != Shape(shape.m, shape.m, shape.m):
        return None
    ratio = _LARGE[case.dtype] if shape.m >= 1024 else 1.3
    if threads == 1:
        return Goal(ratio, of_ceiling)
    if shape.m >= 1024:
        return Goal(ratio, scaling=1.9)
    return Goal(ratio) if shape.m >= 128 else None


def _untuned(case: Case) -> Goal | None:
    """Of sizes that are not round: never behind the best library, nor far behind the round size."""
    return None if neighbour(case) is None else Goal(ratio=1.0, of_neighbour=floor(case))


def standings(kernels: Sequence[KernelRow], calls: Sequence[CallRow]) -> list[Standing]:
    """All figures with a goal, product by product.

    Those of sizes that nobody tuned for on every backend, since they compare with the same backend; all
    others only of products that ran on the CPU's tiles.
    """
    found = []
    for row in kernels:
        goal = goal_of(row.case, row.threads)
        if goal is None or not (row.native or goal.of_neighbour):
            continue
        for figure, form, wanted, against, measured in _figures(goal, row, calls):
            if wanted is not None:
                wrong = _wrong(calls, row.case, form) if figure is Figure.RATIO else ()
                found.append(
                    Standing(
                        row.case, row.threads, row.native, figure, form, wanted, against, measured, wrong
                    )
                )
    return found


def _wrong(calls: Sequence[CallRow], case: Case, form: Form | None) -> tuple[str, ...]:
    return tuple(row.library for row in calls if row.wrong and (row.case, row.form) == (case, form))


def _figures(
    goal: Goal, row: KernelRow, calls: Sequence[CallRow]
) -> Iterator[tuple[Figure, Form | None, float | None, str, Summary | None]]:
    for form in Form:
        peer = best(calls, row.case, form)
        yield Figure.RATIO, form, goal.ratio, peer.library if peer else "", peer.ratio if peer else None
    yield Figure.OF_CEILING, None, goal.of_ceiling, "", row.of_ceiling
    yield Figure.OF_STREAM, None, goal.of_stream, "", row.of_stream
    yield Figure.SCALING, None, goal.scaling, "", row.scaling
    round_ = neighbour(row.case)
    beside = str(round_.shape) if round_ else ""
    yield Figure.OF_NEIGHBOUR, None, goal.of_neighbour, beside, row.of_neighbour
    ours = {call.form: call for call in calls if (call.case, call.library) == (row.case, OURS)}
    for form in Form:
        call = ours.get(form)
        yield Figure.OF_NEIGHBOUR, form, goal.of_neighbour, beside, call.of_neighbour if call else None
