"""Dense, non-zero, seeded data, in the forms that the libraries take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from amx._lib import CData, ffi
from amx.bench.grid import Case, Dtype
from amx.dtypes import Array, Element, as_elements

__all__ = ["FullRange", "Operands", "aligned", "make_full_range", "make_operands", "pointer"]

JUDGED_ROWS = 64  # of a product, that a judge computes


@dataclass(frozen=True)
class Operands:
    """One product's operands; with a batch, arrays of three dimensions; with a leading dimension, views.

    `a` and `b` are int8, float16, or uint16 with the bits of bfloat16. The values of an int8 `a` are 1 to
    127, so that its bytes are the same number as uint8: some libraries multiply only uint8 by int8, and
    all shall have the same product.
    """

    case: Case
    a: Array
    b: Array

    @cached_property
    def a_float32(self) -> npt.NDArray[np.float32]:
        """The same values as float32."""
        return _float32(self.a, self.case.dtype)

    @cached_property
    def b_float32(self) -> npt.NDArray[np.float32]:
        """The same values as float32."""
        return _float32(self.b, self.case.dtype)

    @cached_property
    def magnitude(self) -> npt.NDArray[np.float32]:
        """The product of the absolute values: what rounding errors are measured by."""
        product: npt.NDArray[np.float32] = np.abs(self.a_float32) @ np.abs(self.b_float32)
        return product


def make_operands(case: Case, seed: int) -> Operands:
    """The operands of a case, the same for the same seed."""
    shape = case.shape
    rng = np.random.default_rng([seed, shape.batch, shape.m, shape.n, shape.k])
    batch = () if shape.batch == 1 else (shape.batch,)
    a = _values(rng, (*batch, shape.m, shape.ld or shape.k), case.dtype, positive=True)
    b = _values(rng, (*batch, shape.k, shape.ld or shape.n), case.dtype, positive=False)
    return Operands(case, a[..., : shape.k], b[..., : shape.n])


@dataclass(frozen=True)
class FullRange:
    """Bytes of all values, as integers some libraries multiply wrongly: their sums of two products saturate.

    Attributes
    ----------
    operands: `a` and `b` are int8; libraries that multiply uint8 by int8 take the bytes of `a` as uint8.
    rows: of the product, that are judged.
    """

    operands: Operands
    rows: npt.NDArray[np.intp]

    @cached_property
    def signed(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The rows of the exact product of int8 by int8, and of that of the absolute values."""
        return self._product(np.int8)

    @cached_property
    def unsigned(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The same of uint8 by int8."""
        return self._product(np.uint8)

    def _product(
        self, kind: type[np.integer[Any]]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        a = self.operands.a.view(kind)[..., self.rows, :].astype(np.float64)
        b = self.operands.b.astype(np.float64)
        return a @ b, np.abs(a) @ np.abs(b)  # exact: far below 2^53


def make_full_range(case: Case, seed: int) -> FullRange | None:
    """For a case of integers: random bytes, rows and columns of the extremes; None for floats."""
    if case.dtype is not Dtype.INT8:
        return None
    shape = case.shape
    rng = np.random.default_rng([seed, shape.batch, shape.m, shape.n, shape.k])
    batch = () if shape.batch == 1 else (shape.batch,)
    a = rng.integers(-128, 128, (*batch, shape.m, shape.ld or shape.k), dtype=np.int8)
    b = rng.integers(-128, 128, (*batch, shape.k, shape.ld or shape.n), dtype=np.int8)
    for place, extreme in enumerate((-1, -128, 127)):  # as uint8 255, 128, 127
        a[..., place : place + 1, :] = extreme
    for place, extreme in enumerate((127, -128)):
        b[..., place : place + 1] = extreme
    rows = np.unique(np.linspace(0, shape.m - 1, min(shape.m, JUDGED_ROWS)).astype(np.intp))
    rows = np.union1d(rows, np.arange(min(3, shape.m)))
    return FullRange(Operands(case, a[..., : shape.k], b[..., : shape.n]), rows)


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """`size` zero bytes from a 64-byte boundary, touched, so that every page is there."""
    store = np.empty(size + 64, np.uint8)
    start = -store.ctypes.data % 64
    view = store[start : start + size]
    view[:] = 0
    return view


def pointer(array: Array) -> CData:
    """The first byte of a contiguous array; keeps it alive."""
    return ffi.from_buffer(array)


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Dtype, *, positive: bool) -> Array:
    if dtype is Dtype.INT8:
        values = rng.integers(1, 128, shape, dtype=np.int8)
        if not positive:
            np.negative(values, out=values, where=rng.integers(0, 2, shape, dtype=np.int8) == 1)
        return values
    floats = rng.standard_normal(shape, dtype=np.float32)
    floats[np.abs(floats) < 1e-3] = 1e-3  # no zeros, nor denormals of float16
    values, _ = as_elements(floats, dtype.element, "operand")
    return values


def _float32(array: Array, dtype: Dtype) -> npt.NDArray[np.float32]:
    if dtype.element is Element.BFLOAT16:
        words: npt.NDArray[Any] = array.astype(np.uint32) << 16
        return words.view(np.float32)
    return array.astype(np.float32)
