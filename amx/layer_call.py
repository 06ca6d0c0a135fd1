"""What a layer is called with: rows, residual and output of any kind, each read once, or refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from amx import errors
from amx.arrays import Array, as_array, as_output
from amx.dtypes import Element, element_of, name_of
from amx.product import is_distinct

__all__ = ["Call", "CalledWith", "matrices", "read", "refuse_not_finite"]

_UINT16 = np.dtype(np.uint16)
_MOST_BYTES = 8 << 20  # of what is looked at at a time
_EXPONENT = 0x7F80  # of bfloat16: all of it is set in infinities and NaN


@dataclass(frozen=True, slots=True)
class CalledWith:
    """What calls of a layer have to be of.

    Attributes
    ----------
    k, n: elements of a row that goes in, and of one that comes out.
    element: what rows of 16 bits are multiplied as; None: they are quantised.
    result: the name of the results' type.
    """

    k: int
    n: int
    element: Element | None
    result: str

    @property
    def carrier(self) -> np.dtype[Any]:
        """Of results: bfloat16 by its bits."""
        return _UINT16 if self.result == "bfloat16" else np.dtype(self.result)


@dataclass(frozen=True, slots=True)
class Call:
    """Arrays that fit each other: views of the caller's, whose shape nobody else can change.

    Attributes
    ----------
    x: (..., K), of float32, float16, or uint16 with the bits of bfloat16.
    residual: (..., N) likewise, or None.
    out: (..., N), bfloat16 as its bits; None: a new array is wanted.
    is_direct: whether results can be written into `out`, before all of x and residual is read.
    shape: of the result.
    """

    x: Array
    residual: Array | None
    out: Array | None
    is_direct: bool
    shape: tuple[int, ...]


def read(x: object, residual: object, out: object, wanted: CalledWith) -> Call:
    """What a layer was called with, or the error that `amx.Linear` documents."""
    # Reading an object may run code of its library, which may change what was read before.
    rows = as_array(x, "x")
    added = None if residual is None else as_array(residual, "residual")
    into = None if out is None else as_output(out, "out")
    rows = _floats(rows[...], "x", wanted.element, is_multiplied=True)
    if rows.ndim == 0 or rows.shape[-1] != wanted.k:
        raise errors.ShapeError(
            f"x has shape {rows.shape}",
            cause=f"This layer takes rows of {wanted.k} elements, (..., {wanted.k})",
            remedy="Transpose or cut x, or call the layer that it is for",
        )
    shape = (*rows.shape[:-1], wanted.n)
    if added is not None:
        added = _floats(added[...], "residual", wanted.element)
        _check_shape(added.shape, shape, "residual")
    is_direct = False
    if into is not None:
        into = _as_result(into[...], wanted)
        _check_shape(into.shape, shape, "out")
        is_direct = _is_direct(into, rows, added)
    return Call(rows, added, into, is_direct, shape)


def _floats(array: Array, name: str, element: Element | None, *, is_multiplied: bool = False) -> Array:
    """The array, bfloat16 as its bits; in a layer of bfloat16, uint16 is that too."""
    given = array.dtype
    native = given if given.isnative else given.newbyteorder("=")
    found = element_of(native)
    if found is Element.BFLOAT16:
        array = array.view(_UINT16 if given.isnative else _UINT16.newbyteorder())
    elif native == _UINT16 and element is Element.BFLOAT16:
        found = element
    is_float = native == np.float32 or found in (Element.BFLOAT16, Element.FLOAT16)
    if is_float and (not is_multiplied or element in (None, found) or native == np.float32):
        return array
    taken = "float32, bfloat16 or float16"
    if is_multiplied and element is not None:
        taken = f"float32 or {element.value} in a layer of {element.value}"
    of_bits = f", or {name}.view(ml_dtypes.bfloat16) if these are its bits" * (native == _UINT16)
    raise errors.DtypeError(
        f"{name} is of {name_of(given)}",
        cause=f"It is taken from {taken}",
        remedy=f"Pass {name} as float32, as of astype(np.float32){of_bits}",
    )


def _as_result(out: Array, wanted: CalledWith) -> Array:
    carries = out.dtype == wanted.carrier
    if wanted.result == "bfloat16" and out.dtype.isnative:
        carries = carries or element_of(out.dtype) is Element.BFLOAT16
    if not carries:
        raise errors.DtypeError(
            f"out is of {name_of(out.dtype)}",
            cause=f"The results of this layer are {wanted.result}",
            remedy=f"Make out of {wanted.result}, or the layer with another out_dtype",
        )
    return out.view(wanted.carrier)


def _check_shape(found: tuple[int, ...], shape: tuple[int, ...], name: str) -> None:
    if found != shape:
        raise errors.ShapeError(
            f"{name} has shape {found}",
            cause=f"The result has shape {shape}",
            remedy=f"Make {name} of that shape",
        )


def _is_direct(out: Array, *read: Array | None) -> bool:
    adjacent = out.strides[-1] == out.itemsize or out.shape[-1] <= 1
    upwards = all(stride >= 0 for stride in out.strides)
    apart = not any(each is not None and np.may_share_memory(out, each) for each in read)
    return adjacent and upwards and apart and is_distinct(out)


def matrices(*arrays: Array | None) -> Iterator[tuple[Array | None, ...]]:
    """Arrays with the same dimensions before the last one, as matrices of the same rows, uncopied."""
    present = [each for each in arrays if each is not None]
    if present[0].ndim == 2:
        yield arrays
        return
    if all(_rows_are_even(each) for each in present):
        yield tuple(None if each is None else _as_matrix(each) for each in arrays)
        return
    for i in range(present[0].shape[0]):
        yield from matrices(*(None if each is None else each[i] for each in arrays))


def _rows_are_even(array: Array) -> bool:
    """Whether all rows are equally far apart."""
    steps = [(n, stride) for n, stride in zip(array.shape[:-1], array.strides[:-1], strict=True) if n != 1]
    if array.size == 0:
        return True
    return all(outer == n * inner for (_, outer), (n, inner) in itertools.pairwise(steps))


def _as_matrix(array: Array) -> Array:
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def refuse_not_finite(array: Array | None, name: str) -> None:
    """Raise the error that names the first row with a NaN or an infinity, where results are integers."""
    if array is None:
        return
    before = 0
    for (matrix,) in matrices(array):
        assert matrix is not None
        step = max(1, _MOST_BYTES // max(1, matrix.shape[1] * matrix.itemsize))
        for first in range(0, len(matrix), step):
            part = matrix[first : first + step]
            finite = (part & _EXPONENT) != _EXPONENT if part.dtype.kind == "u" else np.isfinite(part)
            if not finite.all():
                row = before + first + int(finite.all(axis=1).argmin())
                place = (
                    ", ".join(str(i) for i in np.unravel_index(row, array.shape[:-1]))
                    if array.ndim > 1
                    else ""
                )
                raise errors.QuantizationError(
                    f"{name}[{place}] has a NaN or an infinity"
                    if place
                    else f"{name} has a NaN or an infinity",
                    cause="The results of such a row are NaN, which no integer stands for",
                    remedy="Find where it comes from, or replace it with np.nan_to_num()",
                )
        before += len(matrix)
