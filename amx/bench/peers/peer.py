"""What a library has to offer to be compared with, and what can be told of its use of AMX."""

from __future__ import annotations

import abc
import enum
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from amx.bench.operands import FullRange, Operands
from amx.dtypes import Array
from amx.emulation.used import Verdict, used

__all__ = ["AmxUse", "Form", "Library", "Peer", "Product", "UnsupportedError", "Verdict", "use_of_a_call"]

FLOAT32_ROUNDOFF = 2.0**-24


class UnsupportedError(Exception):
    """The library has no such product; the message says which and why."""


class Form(enum.Enum):
    """How the second operand comes: as an array, or prepared beforehand for many products."""

    PLAIN = "plain"
    PACKED = "packed"


@dataclass(frozen=True, slots=True)
class AmxUse:
    """A verdict, and what it rests on."""

    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class Product:
    """A product that is ready to be called.

    Attributes
    ----------
    call: computes it once, on operands in the library's own arrays, and returns the library's new result.
    to_numpy: a result as a NumPy array.
    roundoff: unit roundoff of the result's type; None where the result is exact.
    unsigned: whether the bytes of an int8 `a` are multiplied as uint8.
    """

    call: Callable[[], Any]
    to_numpy: Callable[[Any], Array]
    roundoff: float | None
    unsigned: bool = False

    def difference(self, ours: Array, operands: Operands) -> str:
        """How the result differs from ours, empty where it agrees.

        Integers have to be equal. Floats may differ by what K roundings in float32 and one into the
        library's result type can make of the sum of the absolute values, in any order of additions.
        """
        theirs = self.to_numpy(self.call())
        if theirs.shape != ours.shape:
            return f"has shape {theirs.shape} instead of {ours.shape}"
        if self.roundoff is None:
            wrong = int(np.count_nonzero(theirs != ours))
            return f"{wrong} of {ours.size} integers differ" if wrong else ""
        bound = operands.magnitude * (2 * operands.case.shape.k * FLOAT32_ROUNDOFF + self.roundoff)
        error = np.abs(theirs.astype(np.float64) - ours)
        wrong = int(np.count_nonzero(~(error <= bound)))  # NaN is wrong too
        return f"{wrong} of {ours.size} elements are beyond the rounding errors" if wrong else ""

    def error(self, full: FullRange) -> str:
        """What is wrong with this product of full-range data, by exact arithmetic; empty if nothing is."""
        exact, magnitude = full.unsigned if self.unsigned else full.signed
        theirs = self.to_numpy(self.call())
        if theirs.shape[-2:] != (full.operands.a.shape[-2], exact.shape[-1]):
            return f"its product has shape {theirs.shape}"
        rows = theirs[..., full.rows, :].astype(np.float64)
        bound: Any = 0
        if self.roundoff is not None:
            bound = magnitude * (2 * full.operands.case.shape.k * FLOAT32_ROUNDOFF + self.roundoff)
        wrong = np.argwhere(~(np.abs(rows - exact) <= bound))
        if not len(wrong):
            return ""
        first = tuple(wrong[0])
        kind = "uint8" if self.unsigned else "int8"
        return (
            f"{len(wrong)} of {exact.size} sums of {kind} by int8 products of full-range data are wrong, for "
            f"example {rows[first]:.0f} instead of {exact[first]:.0f}"
        )


class Library(abc.ABC):
    """One library. Nothing is imported before `missing()` is asked."""

    name: str
    module: str  # what to import
    package: str  # what to install

    def missing(self) -> str:
        """Why it cannot be compared with here; empty where it can."""
        try:
            importlib.import_module(self.module)
            self.version()  # a directory of that name can be imported too, and has none
        except ModuleNotFoundError as error:
            return f"no module {error.name}: pip install {self.package}"
        except Exception as error:
            return f"import fails: {type(error).__name__}: {error}"
        return ""

    def version(self) -> str:
        """The library's version, with what else matters for a comparison."""
        return str(importlib.import_module(self.module).__version__)


class Peer(Library):
    """A library's products.

    `float32`: whether it holds the operands as float32, in two or four times the memory: a product of the
    same shape and values, but not of the same operands, so that it is ranked apart.
    """

    float32 = False

    @abc.abstractmethod
    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """Everything that is done once: conversion, packing, compilation.

        Raises
        ------
        UnsupportedError: there is no such product in this library.
        """

    def used_amx(self, product: Product) -> AmxUse:
        """Whether a call of this product uses AMX, as far as can be told."""
        return use_of_a_call(product)


def use_of_a_call(product: Product) -> AmxUse:
    """What `amx.used` sees of a call."""
    seen = used(product.call)
    return AmxUse(seen.verdict, "; ".join(seen.evidence))
