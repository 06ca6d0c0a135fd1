"""What is multiplied: the operands of a call, of any kind, each read once and resolved into one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from amx import errors
from amx.arrays import Array, as_array, as_output
from amx.dtypes import RESULTS, Element, element_for, parse, tdp
from amx.operands import Operand
from amx.packing import Packed
from amx.shapes import batch_of, check_out

__all__ = ["Product", "instruction", "is_distinct", "refuse_packed", "resolve"]


@dataclass(slots=True)
class Product:
    """Operands that fit each other, as matrices, and the instruction that multiplies them.

    The arrays are views of the caller's: nobody else can change their shape.

    Attributes
    ----------
    op: the instruction, by its number in csrc/amx.h.
    a, b: of two dimensions at least; a vector is a matrix of one row or column.
    out: where the result goes, as matrices; None: into a new array.
    result: the shape of the result as matrices.
    shape: the same for the caller, without the M or N that a vector leaves out.
    """

    op: int
    a: Operand
    b: Operand | Packed
    out: Array | None
    result: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def conversion(self) -> int:
        """Bytes that converting the operands takes."""
        return self.a.conversion + (self.b.conversion if isinstance(self.b, Operand) else 0)

    def convert(self) -> None:
        """Convert the operands as a whole."""
        if self.a.conversion:
            self.a = Operand(self.a.converted(), self.a.element)
        if isinstance(self.b, Operand) and self.b.conversion:
            self.b = Operand(self.b.converted(), self.b.element)

    def is_apart(self, c: Array) -> bool:
        """Whether elements of `c` can be written in any order: none twice, none in an operand's memory."""
        arrays = [each.array for each in (self.a, self.b) if isinstance(each, Operand)]
        return is_distinct(c) and not any(np.may_share_memory(c, array) for array in arrays)


def resolve(a: object, b: object, out: object, dtype: object) -> Product:
    """The product of what `amx.matmul` was given, or the error that it documents."""
    wanted = None if dtype is None else parse(dtype)
    refuse_packed(a)
    # Reading an object may run code of its library, which may change the arrays that were read before:
    # nothing of these is looked at until all are read.
    left = as_array(a, "operand a")
    right = cast("Packed", b) if issubclass(type(b), Packed) else as_array(b, "operand b")
    into = None if out is None else as_output(out, "out")
    left = left[...]
    a_element = element_for(left.dtype, wanted, "a")
    second: Operand | Packed
    if isinstance(right, Packed):
        second, b_shape, b_element = right, right._shape, right._element
    else:
        right = right[...]
        b_shape, b_element = right.shape, element_for(right.dtype, wanted, "b")
        second = Operand(right[:, np.newaxis] if right.ndim == 1 else right, b_element)
    op = instruction(a_element, b_element)
    a_shape = left.shape
    batch = batch_of(a_shape, b_shape)
    m, n = a_shape[-2:-1], b_shape[-1:] if len(b_shape) > 1 else ()
    shape = (*batch, *m, *n)
    if into is not None:
        into = into[...]
        check_out(into, shape, RESULTS[op])
        into = _as_matrices(into, len(a_shape), len(b_shape))
    first = Operand(left[np.newaxis] if left.ndim == 1 else left, a_element)
    return Product(op, first, second, into, (*batch, *(m or (1,)), *(n or (1,))), shape)


def refuse_packed(a: object) -> None:
    """Raise `DtypeError` for a first operand that is packed as a second one."""
    if issubclass(type(a), Packed):
        raise errors.DtypeError(
            "operand a is a PackedMatrix",
            cause="It is packed as a second operand, and tiles take the first one in another layout",
            remedy="Pass the array that was packed, or its unpack()",
        )


def instruction(a: Element, b: Element) -> int:
    """The one that multiplies them, by its number in csrc/amx.h.

    Raises
    ------
    DtypeError: there is none.
    """
    op = tdp(a, b)
    if op is None:
        raise errors.DtypeError(
            f"{a.value} times {b.value}",
            cause="no AMX instruction multiplies them with each other",
            remedy="bring both operands to one type (int8 and uint8 may be mixed)",
        )
    return op


def _as_matrices(out: Array, a_ndim: int, b_ndim: int) -> Array:
    """A view of `out` with the dimensions M and N that vectors leave out."""
    view: Array = out[..., np.newaxis] if b_ndim == 1 else out
    return view[..., np.newaxis, :] if a_ndim == 1 else view


def is_distinct(c: Array) -> bool:
    """Whether no two elements of `c` share a byte. It may say no of some that share none.

    In the order of their strides, each stride has to reach beyond what the smaller ones span.
    """
    spanned = c.itemsize
    for stride, count in sorted((abs(s), n) for s, n in zip(c.strides, c.shape, strict=True) if n > 1):
        if stride < spanned:
            return False
        spanned = stride * (count - 1) + spanned
    return True
