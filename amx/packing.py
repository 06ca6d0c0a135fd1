"""A second operand in the layout of the tiles, for many products with it.

The layout is csrc/gemm/gemm.h's: panels of 32 columns, each a run of pairs of 1 KiB tiles, zero-padded. All
engines read this one. It is an implementation detail: what is pickled is the array, which is packed again.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import Any, NoReturn, Self, TypeVar

import numpy as np

from amx import errors
from amx._lib import CData, ffi, lib
from amx.arrays import as_array
from amx.dlpack import bytes_at
from amx.dtypes import Array, Element, address, dtype_of, element_for, parse, tdp
from amx.interrupts import raise_interrupt
from amx.operands import Operand, ranges

__all__ = ["LAYOUT", "Packed", "memory_of", "packed_as", "packed_over"]

LAYOUT = 1  # of the memory, this and amx/nibbles.py's: another number where something lies otherwise, since
# programs may have stored it
_PANEL, _CHUNK = 32, 64  # columns, and bytes of K, of which packed matrices consist
_MOST_BYTES = 32 << 20  # of what is converted at a time


class Packed:
    """What is packed: `amx.PackedMatrix`, without the operator that multiplies it."""

    __slots__ = ("_element", "_handle", "_instructions", "_shape", "_sums")
    _shape: tuple[int, ...]
    _element: Element
    _handle: CData  # has its own sizes, which C checks what it is told against
    _instructions: dict[np.dtype[Any], int]  # by the dtype of a first operand that is multiplied as it is
    _sums: Array | None  # of columns, once somebody has asked: amx/layer.py

    def __init__(self, *_: object, **__: object) -> None:
        raise TypeError("a PackedMatrix is made by amx.pack(), and stays what it is")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a PackedMatrix is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a PackedMatrix is immutable: {name} cannot be deleted")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        array = self.unpack()
        if self._element is Element.BFLOAT16:  # by its bits: the other machine need not have ml_dtypes
            array = array.view(np.uint16)
        return packed_as, (type(self), array, self._element.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """As the array that was packed, (..., K, N)."""
        return self._shape

    @property
    def element(self) -> Element:
        """What its elements are."""
        return self._element

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its elements. bfloat16 is ml_dtypes', or uint16 with its bits where that is not installed."""
        return dtype_of(self.element)

    @property
    def T(self) -> Self:  # noqa: N802  # as NumPy calls it
        """The transposed matrix, packed: unlike an array's, a new one, made in the time that packing takes.

        Raises
        ------
        ShapeError: this is a stack of matrices, whose `T` would not be that of each.
        """
        if self.ndim != 2:
            raise errors.ShapeError(
                f"T of a PackedMatrix of shape {self.shape}",
                cause="Only that of one matrix is a second operand again",
                remedy="Pack b.swapaxes(-1, -2), where b is the array or its unpack()",
            )
        return packed_as(type(self), self.unpack().T, self.element)

    def unpack(self) -> Array:
        """The array that was packed, as a new one; what was rounded stays so. Its dtype is `dtype`."""
        *batch, k, n = self.shape
        group, panels = 4 // self.element.size, -(-n // _PANEL)
        chunks = -(-k * self.element.size // _CHUNK)
        carrier, count = np.dtype(f"u{self.element.size}"), math.prod(batch)
        memory = ffi.buffer(lib.amx_packed_data(self._handle), self.nbytes)
        # [panel][chunk][column tile][k / group][column][k % group], as csrc/gemm/gemm.h has it
        tiles = np.frombuffer(memory, carrier).reshape(count, panels, chunks, 2, 16, 16, group)
        by_rows = tiles.transpose(0, 2, 4, 6, 1, 3, 5).reshape(count, chunks * 16 * group, panels * _PANEL)
        return by_rows[:, :k, :n].reshape(*batch, k, n).view(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed form: K is padded to 64 bytes, N to 32 columns."""
        return int(lib.amx_packed_bytes(self._handle))

    def __repr__(self) -> str:
        return f"PackedMatrix(shape={self.shape}, dtype={self.element.value}, nbytes={self.nbytes})"


_Packed = TypeVar("_Packed", bound=Packed)


@functools.cache
def _instructions(element: Element, has_bfloat16: bool) -> dict[np.dtype[Any], int]:
    dtypes: dict[Element, np.dtype[Any]] = {
        first: np.dtype(first.value) for first in Element if first is not Element.BFLOAT16
    }
    if has_bfloat16:  # ml_dtypes, whose dtype a bfloat16 array has, if there is one
        dtypes[Element.BFLOAT16] = np.dtype("bfloat16")
    return {dtype: op for first, dtype in dtypes.items() if (op := tdp(first, element)) is not None}


def packed_as(kind: type[_Packed], b: object, dtype: object) -> _Packed:
    """What `amx.pack` makes, of this class."""
    wanted = None if dtype is None else parse(dtype)
    array = as_array(b, "operand b")[...]  # a view, whose shape nobody else can change
    element = element_for(array.dtype, wanted, "b")
    if array.ndim < 2:
        raise errors.ShapeError(
            f"pack() was given an array of shape {array.shape}",
            cause="a second operand has the two dimensions (K, N) and any number before them",
            remedy="for a vector, pack b[:, np.newaxis]",
        )
    handle = lib.amx_packed_new(element.size, array.ndim, ffi.new("int64_t[]", array.shape))
    if handle == ffi.NULL:
        raise errors.AllocationError(
            f"no memory to pack an array of shape {array.shape}",
            cause="the allocation failed",
            remedy="free memory, or pack a part of it at a time",
        )
    handle = ffi.gc(handle, lib.amx_packed_free)
    # An array without elements may still have dimensions that nothing gets through.
    for item, index in enumerate(np.ndindex(array.shape[:-2]) if array.size else ()):
        _fill(handle, item, Operand(array[index], element))
    return _made(kind, array.shape, element, handle)


def memory_of(packed: Packed) -> Array:
    """Its memory, uint8, uncopied, which keeps it; to be written only where nobody else multiplies by it."""
    place = int(ffi.cast("uintptr_t", lib.amx_packed_data(packed._handle)))
    return bytes_at(place, packed.nbytes, packed)


def packed_over(memory: Array, shape: tuple[int, ...], element: Element) -> Packed:
    """What is in the memory of a packed matrix, uint8 from a 64-byte boundary on; it is kept, not copied.

    Raises
    ------
    ShapeError: it is not of so many bytes.
    """
    handle = lib.amx_packed_over(
        address(memory), len(memory), element.size, len(shape), ffi.new("int64_t[]", shape)
    )
    if handle == ffi.NULL:
        raise errors.ShapeError(
            f"a packed matrix {shape} of {element.value} in {len(memory)} bytes",
            cause="It has more, or fewer",
            remedy="Pack it again",
        )
    return _made(Packed, shape, element, ffi.gc(handle, functools.partial(_let_go, memory)))


def _let_go(memory: Array, handle: CData) -> None:
    """The handle; and the memory that it was over, with this."""
    lib.amx_packed_free(handle)


def _made(kind: type[_Packed], shape: tuple[int, ...], element: Element, handle: CData) -> _Packed:
    """The one way to one: past what forbids its making and changing by others."""
    made = object.__new__(kind)
    fields = {
        "_shape": shape,
        "_element": element,
        "_handle": handle,
        # While another thread imports it, there is the module, and not yet the dtype.
        "_instructions": _instructions(element, hasattr(sys.modules.get("ml_dtypes"), "bfloat16")),
        "_sums": None,
    }
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _fill(handle: CData, item: int, matrix: Operand) -> None:
    """Pack one matrix, converted in parts that take little memory."""
    k, n = matrix.array.shape
    if matrix.conversion <= _MOST_BYTES:
        _fill_part(handle, item, matrix, 0, 0)
        return
    chunk, each = _CHUNK // matrix.element.size, matrix.conversion // (k * n)
    columns = max(1, _MOST_BYTES // (each * chunk) // _PANEL) * _PANEL
    rows = max(1, _MOST_BYTES // (each * min(n, columns)) // chunk) * chunk
    for right in ranges(n, columns):
        for down in ranges(k, rows):
            part = Operand(matrix.array[down, right], matrix.element)
            _fill_part(handle, item, part, down.start, right.start)


def _fill_part(handle: CData, item: int, part: Operand, row: int, column: int) -> None:
    array = part.converted()
    rows, columns = array.shape
    if lib.amx_packed_fill(handle, item, row, rows, column, columns, address(array), *array.strides):
        raise_interrupt()  # what is filled is of the shape that the memory was made for
