"""The element types AMX multiplies, and how NumPy arrays carry them.

bfloat16 is ml_dtypes' `bfloat16`; the same bits in a field of that name, where they are a tensor's; or in
`uint16`, where the caller says `dtype="bfloat16"`. float32 operands are rounded to nearest even, where the
caller names the type to round to. `NAMES` is what they are called wherever the caller names one.
"""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np

from amx import errors, threads
from amx._lib import CData, ffi, lib
from amx.arrays import Array
from amx.dlpack import BFLOAT16

__all__ = [
    "NAMES",
    "RESULTS",
    "Array",
    "Element",
    "accumulator",
    "address",
    "as_elements",
    "bits",
    "conversion",
    "dtype_of",
    "element_for",
    "element_of",
    "empty",
    "name_of",
    "parse",
    "tdp",
]


class Element(enum.Enum):
    """An element type of a first or second operand."""

    INT8 = "int8"
    UINT8 = "uint8"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    __hash__ = object.__hash__  # in C: each is one of a kind, and looked up in every call

    @property
    def size(self) -> int:
        """Bytes."""
        return 1 if self in (Element.INT8, Element.UINT8) else 2


NAMES = {
    **{element.value: element for element in Element},
    "bf16": Element.BFLOAT16,
    "fp16": Element.FLOAT16,
}

_CARRIERS: dict[np.dtype[Any], Element] = {
    np.dtype(np.int8): Element.INT8,
    np.dtype(np.uint8): Element.UINT8,
    np.dtype(np.float16): Element.FLOAT16,
    BFLOAT16: Element.BFLOAT16,
}
_INT32 = np.dtype(np.int32)
_FLOAT32 = np.dtype(np.float32)
_UINT16 = np.dtype(np.uint16)
_FLOAT16 = np.dtype(np.float16)

_LINE = 64
_LARGE = 1 << 17  # bytes; of less, finding the boundary costs more than it saves
_NARROW = 128  # columns; shorter rows are copied next to each other faster than each by itself is rounded

# The instruction for a first and a second operand, by its number in csrc/amx.h (AMX_TDP*).
_TDP = {
    (Element.INT8, Element.INT8): 0,
    (Element.INT8, Element.UINT8): 1,
    (Element.UINT8, Element.INT8): 2,
    (Element.UINT8, Element.UINT8): 3,
    (Element.BFLOAT16, Element.BFLOAT16): 4,
    (Element.FLOAT16, Element.FLOAT16): 5,
}
# The result's dtype by that number.
RESULTS = (_INT32, _INT32, _INT32, _INT32, _FLOAT32, _FLOAT32)


def tdp(a: Element, b: Element) -> int | None:
    """Number of the instruction that multiplies a by b, or None where there is none."""
    return _TDP.get((a, b))


def accumulator(element: Element) -> np.dtype[Any]:
    """int32 for the 8-bit integers, float32 for the 16-bit floats."""
    return _INT32 if element.size == 1 else _FLOAT32


def parse(dtype: object) -> Element:
    """The element type that a `dtype=` argument names: an `Element`, one of `NAMES`, or a NumPy dtype.

    Raises
    ------
    DtypeError: it is none of int8, uint8, bfloat16, float16.
    """
    if isinstance(dtype, Element):
        return dtype
    found = NAMES.get(dtype) if isinstance(dtype, str) else _of_dtype(dtype)
    if found is None:
        raise errors.DtypeError(
            f"dtype={dtype!r}",
            cause="AMX multiplies int8, uint8, bfloat16 and float16",
            remedy=f"Name one of these: {', '.join(NAMES)}",
        )
    return found


def _of_dtype(dtype: object) -> Element | None:
    try:
        return None if dtype is None else element_of(np.dtype(dtype))  # type: ignore[call-overload]
    except Exception:  # no dtype at all, whatever a foreign object raises
        return None


def dtype_of(element: Element) -> np.dtype[Any]:
    """NumPy's dtype of an element type; of bfloat16 ml_dtypes', or uint16 where that is not installed."""
    if element is Element.BFLOAT16:
        try:
            import ml_dtypes
        except ImportError:
            return _UINT16
        named: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return named
    return {carried: dtype for dtype, carried in _CARRIERS.items()}[element]


def element_of(dtype: np.dtype[Any]) -> Element | None:
    """The element type an array carries by itself, or None (uint16 and float32 need `dtype=`)."""
    found = Element.BFLOAT16 if dtype is BFLOAT16 else _CARRIERS.get(dtype)  # whose hash takes its time
    if found is None and dtype.itemsize == 2 and dtype.name == "bfloat16":
        return Element.BFLOAT16  # ml_dtypes registers it with NumPy; no need to import it here
    return found


def name_of(dtype: np.dtype[Any]) -> str:
    """What it is called in errors."""
    if dtype == BFLOAT16:
        return Element.BFLOAT16.value
    return f"text ({dtype})" if dtype.kind in "SUT" else str(dtype) if dtype.kind == "V" else dtype.name


def as_elements(array: Array, wanted: Element | None, name: str) -> tuple[Array, Element]:
    """An operand as (array of int8, uint8, uint16 or float16, element type).

    uint16 holds the bits of bfloat16. float32 is rounded, nothing else converted.

    Raises
    ------
    DtypeError: the array's dtype is not what AMX multiplies, or not what `dtype=` says.
    """
    element = element_for(array.dtype, wanted, name)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return (_rounded if array.dtype == _FLOAT32 else bits)(array, element), element


def element_for(dtype: np.dtype[Any], wanted: Element | None, name: str) -> Element:
    """What `as_elements` makes of elements of this dtype, or its error."""
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    found = element_of(native)
    if found is not None and wanted in (None, found):
        return found
    if wanted is Element.BFLOAT16 and native == _UINT16:
        return wanted
    if wanted in (Element.BFLOAT16, Element.FLOAT16) and native == _FLOAT32:
        return wanted
    raise _unfit(native, wanted, name)


def conversion(dtype: np.dtype[Any]) -> int:
    """Bytes that `as_elements` takes for each element of a new array; 0 where it converts nothing."""
    swapped = 0 if dtype.isnative else dtype.itemsize
    return swapped + (2 if dtype.kind == "f" and dtype.itemsize == 4 else 0)


def bits(array: Array, element: Element) -> Array:
    """The array under a dtype whose buffer others can read: ml_dtypes' bfloat16 does not export one."""
    return array.view(_UINT16) if element is Element.BFLOAT16 and array.dtype != _UINT16 else array


def _rounded(array: Array, element: Element) -> Array:
    """float32 to bfloat16 or float16: to nearest, ties to even; NaN keeps sign and upper payload, quiet.

    The elements lie in memory as those of `array` do; what is broadcast is rounded once.
    """
    if array.flags.c_contiguous:
        return _rounded_rows(array, element)
    once = array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)]
    order = sorted(range(once.ndim), key=lambda axis: -abs(once.strides[axis]))
    dense = once.transpose(order)
    if dense.ndim != 2 or dense.strides[1] != dense.itemsize or dense.shape[1] < _NARROW:
        dense = np.ascontiguousarray(dense)
    return np.broadcast_to(_rounded_rows(dense, element).transpose(np.argsort(order)), array.shape)


def _rounded_rows(array: Array, element: Element) -> Array:
    """The same of an array without gaps, or of a matrix whose columns are adjacent."""
    rows, columns, stride = 1, array.size, 0
    if not array.flags.c_contiguous:
        (rows, columns), stride = array.shape, array.strides[0]
    half = element is Element.FLOAT16
    result = empty(array.shape, _FLOAT16 if half else _UINT16)
    form = lib.AMX_FP16 if half else lib.AMX_BF16
    lib.amx_round(form, threads.limit, rows, columns, address(array), stride, address(result))
    return result


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A new array; a large one from a 64-byte boundary, so that no row of its tiles lies in two lines."""
    size = math.prod(shape) * dtype.itemsize
    try:
        if size < _LARGE:
            return np.empty(shape, dtype)
        memory = np.empty(size + _LINE, np.uint8)
    except ValueError:
        raise MemoryError(f"an array of shape {shape} and {dtype} is larger than any memory") from None
    return np.ndarray(shape, dtype, memory, -int(ffi.cast("uintptr_t", address(memory))) % _LINE)


def address(array: Array) -> CData:
    """Pointer to an array's first element; the caller keeps the array alive."""
    if array.flags.c_contiguous:
        return ffi.from_buffer(array)  # in an eighth of the time
    return ffi.cast("void *", array.ctypes.data)


def _unfit(dtype: np.dtype[Any], wanted: Element | None, name: str) -> errors.DtypeError:
    kind = name_of(dtype)
    if wanted is not None:
        return errors.DtypeError(
            f"operand {name} is {kind} and dtype={wanted.value!r}",
            cause=f"{kind} is not taken for {wanted.value}: only float32 is rounded, to bfloat16 or "
            "float16, and only uint16 is read as the bits of bfloat16",
            remedy=f"convert it yourself, or leave dtype= out if {name} has the right type already",
        )
    return errors.DtypeError(
        f"operand {name} is {kind}",
        cause="AMX multiplies int8, uint8, bfloat16 and float16",
        remedy=_remedy(dtype, name),
    )


def _remedy(dtype: np.dtype[Any], name: str) -> str:
    """How an array of this dtype, or what it stands for, can be multiplied."""
    if dtype == np.dtype("V2"):
        return (
            "if this is bfloat16, whose name a .npy file does not keep, "
            f'pass {name}.view(np.uint16) and dtype="bfloat16"'
        )
    if dtype.names is not None:
        return f"pass one of its fields, such as {name}[{dtype.names[0]!r}]"
    exact = {
        "float32": 'pass dtype="bfloat16" or dtype="float16" to round it',
        "float64": 'convert to float32 and pass dtype="bfloat16" or dtype="float16"',
        "uint16": 'pass dtype="bfloat16" if these are the bits of bfloat16',
        "bool": f"view {name} as uint8",
    }
    kinds = {
        "i": f"if its values fit, convert {name} to int8 or uint8",
        "c": "multiply its real and imaginary parts by themselves",
        "S": "convert it to numbers",
        "U": "convert it to numbers",
        "T": "convert it to numbers",
    }
    kinds["u"] = kinds["i"]
    return exact.get(dtype.name) or kinds.get(dtype.kind, "convert it to one of these")
