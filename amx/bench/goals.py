"""What this project wants to reach on an AMX machine, beside what was measured. Nothing depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amx.bench.calls import CallRow, best
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.kernels import KernelRow
from amx.bench.peers.peer import Form
from amx.bench.timing import Summary

__all__ = ["Goal", "Progress", "goal_of", "progress"]


@dataclass(frozen=True, slots=True)
class Goal:
    """Least values; None where nothing is wanted.

    Attributes
    ----------
    ratio: of our call to the best library's, plain to plain and packed to packed.
    of_ceiling: of the kernel's rate to that of the 2x2 block.
    of_stream: of the rate at which B goes by to that of tile loads.
    scaling: of the kernel's rate to its own on one thread.
    """

    ratio: float | None = None
    of_ceiling: float | None = None
    of_stream: float | None = None
    scaling: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """One product: what is wanted and what was measured, None where it could not be."""

    case: Case
    goal: Goal
    plain: Summary | None
    packed: Summary | None
    of_ceiling: Summary | None
    of_stream: Summary | None
    scaling: Summary | None


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


def progress(kernels: Sequence[KernelRow], calls: Sequence[CallRow]) -> list[Progress]:
    """Of all products with a goal that ran on the CPU's tiles."""
    found = []
    for row in kernels:
        goal = goal_of(row.case, row.threads)
        if goal is not None and row.native:
            plain, packed = (best(calls, row.case, form) for form in (Form.PLAIN, Form.PACKED))
            found.append(
                Progress(
                    row.case,
                    goal,
                    plain.ratio if plain else None,
                    packed.ratio if packed else None,
                    row.of_ceiling,
                    row.of_stream,
                    row.scaling,
                )
            )
    return found
