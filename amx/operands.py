"""An operand of a product: an array, and what its elements are, converted as a whole or a part at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from amx.arrays import Array
from amx.dtypes import Element, as_elements, bits, conversion

__all__ = ["Operand", "part_of", "ranges"]

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Operand:
    """An array that may still have to be converted to its elements.

    Attributes
    ----------
    array: as the caller holds it, of any layout.
    element: what is multiplied of it.
    conversion: bytes that converting it takes; 0 where it is multiplied as it lies.
    """

    __slots__ = ("array", "conversion", "element")

    def __init__(self, array: Array, element: Element) -> None:
        self.array = array
        self.element = element
        each = conversion(array.dtype)
        self.conversion = each and each * math.prod(array.shape)

    def converted(self) -> Array:
        """Of int8, uint8, uint16 with the bits of bfloat16, or float16."""
        if conversion(self.array.dtype) == 0:  # not of this array, which may have no elements
            return bits(self.array, self.element)
        return as_elements(self.array, self.element, "")[0]

    def part(self, axis: int, place: slice) -> Operand:
        """What remains of an axis, counted from the end as -1; all, where it is broadcast along that axis."""
        if self.array.ndim < -axis or self.array.shape[axis] == 1:
            return self
        return Operand(part_of(self.array, axis, place), self.element)


def part_of(array: npt.NDArray[_Scalar], axis: int, place: slice) -> npt.NDArray[_Scalar]:
    """A view of what remains of an axis, counted from the end as -1."""
    index: tuple[Any, ...] = (..., place, *[slice(None)] * (-axis - 1))
    view: npt.NDArray[_Scalar] = array[index]
    return view


def ranges(count: int, step: int) -> Iterator[slice]:
    """0 to `count` in steps, the last of which may be shorter."""
    return (slice(begin, min(count, begin + step)) for begin in range(0, count, step))
