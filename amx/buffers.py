"""What one base address and one stride can express: the memory operand of a tile load or store."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from amx import errors
from amx._lib import CData, ffi
from amx.arrays import as_array, as_output
from amx.dtypes import Array, Element, address, element_of, name_of, parse
from amx.foreign_objects import described, remedy_for, ways_of

if TYPE_CHECKING:
    from amx.tile_config import TileShape

__all__ = ["Region", "region_of"]


@dataclass(frozen=True)
class Region:
    """Rows in memory, checked against the shape of a tile.

    Attributes
    ----------
    pointer: the first byte of row 0.
    stride: bytes from a row to the next, of any sign.
    dtype: name of what the bytes are, or None for anything.
    owner: keeps the memory alive.
    """

    pointer: CData
    stride: int
    dtype: str | None
    owner: object


def region_of(
    source: object,
    shape: TileShape,
    offset: int,
    stride: int | None,
    dtype: object,
    *,
    writable: bool = False,
) -> Region:
    """The memory operand for a tile of this shape; `TileContext.load` documents the parameters.

    Raises
    ------
    TileShapeError, TileDtypeError, BufferLayoutError, BufferTooShortError, BufferReadOnlyError, DtypeError.
    """
    offset = operator.index(offset)  # in Python's integers: NumPy's would wrap in the checks below
    stride = None if stride is None else operator.index(stride)
    flat = _buffer_of(source, writable)
    if flat is not None:
        if not flat.c_contiguous:
            raise _not_adjacent(source)
        named = None if dtype is None else parse(dtype).value
        return _flat_region(flat, shape, offset, stride, named, writable)
    if type(source) is np.ndarray:
        _check_dtype(source.dtype)
    # A view, whose shape nobody else can change while it is looked at.
    array = (as_output(source, "out") if writable else as_array(source, "The source"))[...]
    _check_dtype(array.dtype)
    if array.ndim >= 2:
        return _array_region(array, shape, offset, stride, dtype)
    name = _name(array.dtype, dtype)
    if not array.flags.c_contiguous:
        raise _not_adjacent(array)
    return _flat_region(array.reshape(-1).view(np.uint8), shape, offset, stride, name, writable)


def _buffer_of(source: object, writable: bool) -> memoryview | None:
    """Bytes that are no array; or None."""
    if isinstance(source, np.ndarray) or ways_of(source):
        return None
    try:
        flat = memoryview(source)  # type: ignore[arg-type]  # it is asked whether it is one
    except TypeError:
        raise _no_memory(source, writable) from None
    except BufferError as error:
        raise _no_memory(source, writable, str(error)) from error
    if "O" in flat.format:
        raise _no_memory(source, writable, "It holds references to Python objects")
    if writable and flat.readonly:
        raise errors.BufferReadOnlyError(
            f"out is {described(source)}, which is read-only",
            cause="A tile store writes to it",
            remedy="Pass memory that may be written",
        )
    return flat


def _check_dtype(dtype: np.dtype[Any]) -> None:
    """Bytes that tiles may hold are plain numbers in this machine's order: no references, no records."""
    if dtype.isnative and (dtype.kind in "iuf" or element_of(dtype) is not None):
        return
    raise errors.TileDtypeError(
        f"An array of {dtype!r}",
        cause="Tiles take the bytes of numbers in this machine's byte order and convert nothing",
        remedy="Convert the array with astype(), or pass a view of its bytes",
    )


def _array_region(array: Array, shape: TileShape, offset: int, stride: int | None, dtype: object) -> Region:
    if offset != 0 or stride is not None:
        raise errors.BufferLayoutError(
            f"offset={offset}, stride={stride} with an array of {array.ndim} dimensions",
            cause="they describe flat buffers; an array has strides of its own",
            remedy="slice the array instead",
        )
    colsb = math.prod(array.shape[1:]) * array.itemsize
    if (array.shape[0], colsb) != (shape.rows, shape.colsb):
        raise errors.TileShapeError(
            f"an array of shape {array.shape} and {array.dtype} has {array.shape[0]} rows of {colsb} bytes",
            cause=f"the tile has {shape}",
            remedy="slice or pad the array, or configure the tile for it",
        )
    expected = array.itemsize
    for count, step in zip(reversed(array.shape[1:]), reversed(array.strides[1:]), strict=True):
        if count > 1 and step != expected:
            raise errors.BufferLayoutError(
                f"an array of shape {array.shape} with strides {array.strides}",
                cause="the bytes of a row are not adjacent (Fortran order, or a step inside a row), "
                "and a tile load has one stride, from row to row",
                remedy="pass np.ascontiguousarray(...) of it",
            )
        expected *= count
    pointer = address(array.view(np.uint16) if array.dtype.kind == "V" else array)  # bfloat16 has no buffer
    return Region(pointer, array.strides[0], _name(array.dtype, dtype), array)


def _flat_region(
    source: Any, shape: TileShape, offset: int, stride: int | None, dtype: str | None, writable: bool
) -> Region:
    stride = shape.colsb if stride is None else stride
    base = ffi.from_buffer("char[]", source, require_writable=writable)
    size = memoryview(source).nbytes
    last = offset + (shape.rows - 1) * stride
    first_byte, end = min(offset, last), max(offset, last) + shape.colsb
    if first_byte < 0 or end > size:
        raise errors.BufferTooShortError(
            f"offset={offset} and stride={stride} reach from byte {first_byte} to byte {end}",
            cause=f"the buffer has {size} bytes, and the tile {shape}",
            remedy="pass a longer buffer, or correct offset and stride",
        )
    return Region(base + offset, stride, dtype, source)


def _name(carrier: np.dtype[Any], dtype: object) -> str:
    """What the tile will hold: the array's own type, or bfloat16 in uint16 where the caller says so."""
    name = name_of(carrier)
    if dtype is None or name == (wanted := parse(dtype)).value:
        return name
    if wanted is Element.BFLOAT16 and carrier == np.uint16:
        return str(wanted.value)
    raise errors.TileDtypeError(
        f"an array of {name} with dtype={dtype!r}",
        cause="a tile load converts nothing; only uint16 may be called bfloat16",
        remedy="convert the array, or leave dtype out",
    )


def _not_adjacent(source: object) -> errors.BufferLayoutError:
    return errors.BufferLayoutError(
        f"A flat {type(source).__name__} whose bytes are not adjacent",
        cause="It is a view with a step",
        remedy="Pass np.ascontiguousarray(...) of it",
    )


def _no_memory(source: object, writable: bool, cause: str = "") -> errors.TileDtypeError:
    return errors.TileDtypeError(
        f"{'out' if writable else 'The source'} is {described(source)}",
        cause=cause or "Tiles are moved from and to memory, and it exports none",
        remedy="Pass a NumPy array of what the tile holds" if writable else remedy_for(source),
    )
