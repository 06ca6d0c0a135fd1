"""What a library has to offer for its linear layers to be compared, and by what its results are judged.

Quantised layers of two libraries are not equal: each rounds rows in its own way. So each is held to its own
definition, which it states here, computed in float64.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amx.bench.layer_operands import LayerOperands, Weights
from amx.bench.peers.peer import FLOAT32_ROUNDOFF, Library
from amx.dtypes import Array

__all__ = [
    "Definition",
    "Layer",
    "LayerPeer",
    "RoundedRows",
    "as_they_are",
    "asymmetric",
    "int8_columns",
    "symmetric",
    "uint4_columns",
]

Floats = npt.NDArray[np.float64]
NEAR = 2.0**-13  # steps from a tie within which float32 may round either way
FEW_ROUNDINGS = 2.0**-20  # of a float32 that is scaled and added to


@dataclass(frozen=True, slots=True)
class RoundedRows:
    """What rows were rounded to, (M, K).

    Attributes
    ----------
    real: the numbers that the integers stand for.
    unsure: the step of a number that is so near a tie that it may have gone the other way; else 0.
    """

    real: Floats
    unsure: Floats


@dataclass(frozen=True, slots=True)
class Definition:
    """What a layer computes.

    Attributes
    ----------
    rows: rounds them, float32 (M, K).
    weight: real numbers that are multiplied, of the judged columns.
    sums: float32 additions that a result consists of; 0 where sums are exact integers.
    roundoff: unit roundoff of the result's type, if it is not float32.
    """

    rows: Callable[[npt.NDArray[np.float32]], RoundedRows]
    weight: Floats
    sums: int = 0
    roundoff: float = 0.0

    def error(self, result: Array, operands: LayerOperands) -> str:
        """What is wrong with a result, of its judged rows and columns; empty if nothing is."""
        shape = (operands.case.shape.m, operands.case.shape.n)
        if result.shape != shape:
            return f"has shape {result.shape} instead of {shape}"
        chosen, columns = operands.judged_rows, operands.judged_columns
        rounded = self.rows(operands.rows)
        real, unsure = rounded.real[chosen], rounded.unsure[chosen]
        bias = operands.bias[columns].astype(np.float64)
        sums, weight = real @ self.weight.T, np.abs(self.weight).T
        bound = unsure @ weight + (np.abs(sums) + np.abs(bias)) * FEW_ROUNDINGS
        roundings = 2 * self.sums * FLOAT32_ROUNDOFF + self.roundoff
        bound += (np.abs(real) @ weight + np.abs(bias)) * roundings
        theirs = result[np.ix_(chosen, columns)].astype(np.float64)
        wrong = np.argwhere(~(np.abs(theirs - (sums + bias)) <= bound))  # NaN is wrong too
        if not len(wrong):
            return ""
        first = tuple(wrong[0])
        return (
            f"{len(wrong)} of {bound.size} results are not its own definition's, for example "
            f"{theirs[first]:.6g} instead of {(sums + bias)[first]:.6g}"
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that is ready to be called.

    Attributes
    ----------
    call: computes it once, of rows in the library's own arrays, and returns the library's new result.
    to_numpy: a result as a NumPy array of floats.
    definition: what it has to be.
    """

    call: Callable[[], Any]
    to_numpy: Callable[[Any], Array]
    definition: Definition

    def error(self, operands: LayerOperands) -> str:
        """What is wrong with its result; empty if nothing is."""
        return self.definition.error(self.to_numpy(self.call()), operands)


class LayerPeer(Library):
    """A kind of layer of one library; `weights`: what it holds them as."""

    weights: tuple[Weights, ...]

    @abc.abstractmethod
    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """Everything that is done once: quantisation, packing, compilation. It has weights of its own.

        Raises
        ------
        UnsupportedError: there is no such layer in this library.
        """


def asymmetric(top: int, *, of_all: bool) -> Callable[[npt.NDArray[np.float32]], RoundedRows]:
    """To 0 to `top`, the range with 0 in it, each row by itself or `of_all` at once."""

    def rounded(rows: npt.NDArray[np.float32]) -> RoundedRows:
        x = rows.astype(np.float64)
        axis = None if of_all else 1
        low, high = np.minimum(x.min(axis, keepdims=True), 0), np.maximum(x.max(axis, keepdims=True), 0)
        scale = (high - low) / top
        return _rounded(x, scale, np.clip(np.rint(-low / scale), 0, top), 0, top)

    return rounded


def symmetric(
    divisor: float, low: int, group: int | None = None
) -> Callable[[npt.NDArray[np.float32]], RoundedRows]:
    """To `low` to 127, the largest magnitude over `divisor`; of each row, or of groups of it."""

    def rounded(rows: npt.NDArray[np.float32]) -> RoundedRows:
        m, k = rows.shape
        length = group or k
        x = np.zeros((m, -(-k // length) * length))
        x[:, :k] = rows
        x = x.reshape(m, -1, length)
        scale = np.abs(x).max(2, keepdims=True) / divisor
        found = _rounded(x, scale, np.zeros(1), low, 127)
        real, unsure = (each.reshape(m, -1)[:, :k] for each in (found.real, found.unsure))
        return RoundedRows(real, unsure)

    return rounded


def as_they_are(rows: Array) -> RoundedRows:
    """Floats."""
    return RoundedRows(rows.astype(np.float64), np.zeros(rows.shape))


def int8_columns(operands: LayerOperands) -> Floats:
    """The 8-bit weights of the judged columns, as real numbers."""
    chosen, weight = operands.judged_columns, operands.int8
    real: Floats = weight.values[chosen].astype(np.float64) * weight.scale[chosen, np.newaxis]
    return real


def uint4_columns(operands: LayerOperands) -> Floats:
    """The 4-bit weights of the judged columns, as real numbers."""
    chosen, weight = operands.judged_columns, operands.uint4
    of_each = np.arange(operands.case.shape.k) // (weight.group or 1)
    zero = weight.zero_point[chosen][:, of_each]
    real: Floats = (weight.values[chosen].astype(np.float64) - zero) * weight.scale[chosen][:, of_each]
    return real


def _rounded(x: Floats, scale: Floats, zero: Floats, low: int, high: int) -> RoundedRows:
    steps = x / scale
    q = np.clip(np.rint(steps) + zero, low, high)
    down, up = (np.clip(toward(steps) + zero, low, high) for toward in (np.floor, np.ceil))
    near = (np.abs(steps - np.floor(steps) - 0.5) < NEAR) & (down != up)
    return RoundedRows((q - zero) * scale, near * scale)
