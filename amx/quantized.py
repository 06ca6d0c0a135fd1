"""Small integers with the scale and zero point that make numbers of them: the value `amx.Quantized`."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from amx import errors
from amx.arrays import Array, as_array
from amx.dlpack import BFLOAT16
from amx.float_environment import as_after_reset

__all__ = [
    "Form",
    "Quantized",
    "anew",
    "as_float32",
    "axis_and_group",
    "form_of",
    "in_groups",
    "in_rows",
    "refuse_first",
    "shape_of_scale",
    "whole",
]


class Form(NamedTuple):
    """What the values of a type can be, all of them and symmetric ones."""

    carrier: np.dtype[Any]
    low: int
    high: int
    highest_zero: int  # above it, since GPTQ stores zero points less one
    middle: int  # the zero point of symmetric values
    symmetric_low: int


_FORMS = {
    "int8": Form(np.dtype(np.int8), -128, 127, 127, 0, -127),
    "uint8": Form(np.dtype(np.uint8), 0, 255, 255, 128, 1),
    "uint4": Form(np.dtype(np.uint8), 0, 15, 16, 8, 0),
}
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Quantized:
    """Integers that stand for `scale * (values - zero_point)`: from `amx.quantize`, or of existing numbers.

    Immutable, and can be pickled. A slice is what shares a scale and a zero point: the whole array (`axis`
    None), one index of `axis`, or, in a matrix (N, K), `group` consecutive elements of a row.

    Parameters
    ----------
    values: array of int8 or uint8. It is kept, not copied: leave its elements as they are.
    scale: float16, bfloat16, float32 or float64, rounded to float32; finite and above 0, of uint4 also below.
        Of shape () for the whole array, (shape[axis],) with `axis`, (N, ceil(K / group)) with `group`.
    zero_point: integers of the shape of `scale`, or one for all. They lie in the range of `dtype`, of uint4
        in 0 to 16.
    axis: which one has a scale for each index; may be negative.
    group: length of a group; the last one of a row is shorter where K is no multiple. `axis` is 0 or None.
    dtype: "int8", "uint8", or "uint4" for values 0 to 15 in uint8; None says what `values` are.
    order: permutation of K, with `group` only, for groups of columns that are not adjacent:
        `values[:, j]` belong to column `order[j]` of the matrix that they stand for.

    Attributes
    ----------
    values, order: as given, read-only.
    scale, zero_point: read-only arrays of float32 and int32, both of the shape above.
    axis, group, dtype: as given; `axis` is not negative, and 0 with `group`.

    Raises
    ------
    DtypeError: elements of other types.
    ShapeError: shapes that do not fit each other.
    QuantizationError: a value, scale or zero point that is out of range, or an `order` that is none.
    """

    values: Array
    scale: Array
    zero_point: Array
    axis: int | None
    group: int | None
    dtype: str
    order: Array | None

    @as_after_reset
    def __init__(
        self,
        values: object,
        scale: object,
        zero_point: object,
        axis: int | None = None,
        group: int | None = None,
        dtype: object = None,
        order: object = None,
    ) -> None:
        if hasattr(self, "order"):
            raise AttributeError("a Quantized is immutable: make another one")
        array = as_array(values, "values")[...]  # a view, whose shape nobody else can change
        if dtype is None:
            dtype = "uint8" if array.dtype == np.uint8 else "int8"
        name, form = form_of(dtype)
        if array.dtype != form.carrier:
            raise errors.DtypeError(
                f"values is an array of {array.dtype}",
                cause=f'dtype="{name}" is held in {form.carrier}',
                remedy=f"if its elements fit, pass values.astype(np.{form.carrier})",
            )
        if name == "uint4":
            refuse_first(array > form.high, array, "values", "4 bits hold 0 to 15", "unpack them first")
        axis, group = axis_and_group(array.shape, axis, group)
        shape = shape_of_scale(array.shape, axis, group)
        fields = {
            "values": array,
            "scale": _scale(scale, shape, name),
            "zero_point": _zero_point(zero_point, shape, name, form),
            "axis": axis,
            "group": group,
            "dtype": name,
            "order": None if order is None else _order(order, array.shape, group),
        }
        for field, value in fields.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, field, value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of `values`."""
        return self.values.shape

    @as_after_reset
    def dequantize(self) -> Array:
        """The numbers that the integers stand for: float32(values - zero_point) * scale, of `shape`."""
        with np.errstate(all="ignore"):
            work = self.values if self.group is None else in_groups(self.values, self.group)
            real = work.astype(np.float32, order="C")
            real -= self._spread(self.zero_point.astype(np.float32))
            real *= self._spread(self.scale)
        if self.group is not None:
            real = in_rows(real, self.shape)
        if self.order is None:
            return real
        result = np.empty_like(real)
        result[:, self.order] = real
        return result

    def _spread(self, each: Array) -> Array:
        """What each slice has one of, so that it broadcasts."""
        if self.group is not None:
            return each[:, :, None]
        return each if self.axis is None else each.reshape(_beside(self.shape, self.axis))

    def __repr__(self) -> str:
        slices = "".join(f"{name}={getattr(self, name)}, " for name in ("axis", "group") if self._has(name))
        ranges = f"scale={_range(self.scale)}, zero_point={_range(self.zero_point)}"
        order = ", in another order" if self._has("order") else ""
        return f"Quantized(shape={self.shape}, dtype={self.dtype}, {slices}{ranges}{order})"

    def _has(self, field: str) -> bool:
        return getattr(self, field) is not None

    def __reduce__(self) -> tuple[Any, ...]:  # through the constructor, which validates
        fields = self.values, self.scale, self.zero_point, self.axis, self.group, self.dtype, self.order
        return type(self), fields


def anew(source: Quantized) -> Quantized:
    """What it says of itself, read once and checked again: whoever has it can change its arrays."""
    fields = source.values, source.scale, source.zero_point, source.axis, source.group, source.dtype
    return Quantized(*fields, source.order)


def in_groups(matrix: Array, group: int) -> Array:
    """(N, K) as (N, groups, group), of which K is no multiple with zeros behind it; no longer than K."""
    n, k = matrix.shape
    group = min(group, max(k, 1))
    groups = -(-k // group)
    missing = groups * group - k
    return (np.pad(matrix, ((0, 0), (0, missing))) if missing else matrix).reshape(n, groups, group)


def in_rows(grouped: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of it."""
    n, groups, group = grouped.shape
    return np.ascontiguousarray(grouped.reshape(n, groups * group)[:, : shape[1]])


def _beside(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """With 1 for all axes but one."""
    return tuple(size if each == axis else 1 for each, size in enumerate(shape))


def _range(array: Array) -> str:
    if array.size == 0:
        return "none"
    low, high = array.min(), array.max()
    return f"{low:.6g}" if low == high else f"{low:.6g}..{high:.6g}"


def form_of(dtype: object) -> tuple[str, Form]:
    """A type by its name, or NumPy's; and its name."""
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name  # type: ignore[call-overload]
    except Exception:  # no dtype at all, whatever a foreign object raises
        name = ""
    if dtype is None or name not in _FORMS:
        raise errors.DtypeError(
            f"dtype={dtype.name if isinstance(dtype, np.dtype) else repr(dtype)}",
            cause="what is quantised is int8, uint8 or uint4",
            remedy="name one of these",
        )
    return name, _FORMS[name]


def axis_and_group(
    shape: tuple[int, ...], axis: int | None, group: int | None
) -> tuple[int | None, int | None]:
    """Both as they are kept."""
    if axis is not None:
        axis = whole(axis, "axis")
        if not -len(shape) <= axis < len(shape):
            raise errors.ShapeError(
                f"axis={axis} of shape {shape}",
                cause=f"it has {len(shape)} dimensions",
                remedy="name one that it has, or None for a single scale",
            )
        axis %= len(shape)
    if group is None:
        return axis, None
    group = whole(group, "group")
    if len(shape) != 2 or axis not in (None, 0):
        raise errors.ShapeError(
            f"group={group} of shape {shape}" + (f" and axis={axis}" if axis else ""),
            cause="groups are consecutive elements of the rows of a matrix (N, K)",
            remedy="pass a matrix with K as its last axis, and leave axis out",
        )
    if group < 1:
        raise errors.ShapeError(
            f"group={group}", cause="a group has 1 element or more", remedy="leave it out for whole rows"
        )
    return 0, group


def whole(number: object, name: str) -> int:
    """An integer of any kind, called `name` in the error."""
    try:
        return operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        raise errors.DtypeError(
            f"{name}={number!r}", cause="it is no integer", remedy="pass an int, or None"
        ) from None


def shape_of_scale(shape: tuple[int, ...], axis: int | None, group: int | None) -> tuple[int, ...]:
    """Of what each slice has one of."""
    if axis is None:
        return ()
    return (shape[0], -(-shape[1] // group)) if group is not None else (shape[axis],)


def _scale(scale: object, shape: tuple[int, ...], dtype: str) -> Array:
    given = as_array(scale, "scale")
    array = as_float32(given, "scale").copy()
    _check_shape(array, shape, "scale")
    bad = ~np.isfinite(array) | ((array == 0) if dtype == "uint4" else (array <= 0))
    limit = "not 0" if dtype == "uint4" else "above 0"
    cause = f"scales of {dtype} are finite in float32, and {limit}"
    refuse_first(bad, given, "scale", cause, "use 1 where all values are the zero point, or quantise again")
    return array


def _zero_point(zero_point: object, shape: tuple[int, ...], dtype: str, form: Form) -> Array:
    array = as_array(zero_point, "zero_point")
    if array.dtype.kind not in "iu":
        raise errors.DtypeError(
            f"zero_point is of {array.dtype}",
            cause="zero points are integers",
            remedy="round them, and pass zero_point.astype(np.int32)",
        )
    if array.shape != ():  # one for all
        _check_shape(array, shape, "zero_point")
    bad = (array < form.low) | (array > form.highest_zero)
    cause = f"zero points of {dtype} are {form.low} to {form.highest_zero}"
    refuse_first(bad, array, "zero_point", cause, "quantise again, or as another type")
    return np.broadcast_to(array, shape).astype(np.int32)


def _order(order: object, shape: tuple[int, ...], group: int | None) -> Array:
    array = as_array(order, "order")
    if array.dtype.kind not in "iu":
        raise errors.DtypeError(
            f"order is of {array.dtype}",
            cause="it has the numbers of columns",
            remedy="pass what np.argsort() returns",
        )
    if group is None:
        raise errors.ShapeError(
            "order without group", cause="only groups depend on it", remedy="leave it out, or pass group"
        )
    _check_shape(array, shape[1:], "order")
    if not np.array_equal(np.sort(array), np.arange(shape[1])):
        raise errors.QuantizationError(
            "order is no permutation",
            cause=f"it has to have each column's number, 0 to {shape[1] - 1}, once",
            remedy="pass what np.argsort() returns",
        )
    return array.astype(np.intp)


def _check_shape(array: Array, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise errors.ShapeError(
            f"{name} has shape {array.shape}",
            cause=f"for these values, axis and group it has shape {shape}",
            remedy=f"reshape or transpose it, or pass the axis and group that {name} is for",
        )


@as_after_reset
def as_float32(array: Array, name: str) -> Array:
    """Floats of any size up to 64 bits, rounded to float32; beyond it they are infinite."""
    if array.dtype == BFLOAT16:
        bits = array["bfloat16"].astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    if array.dtype.name not in _FLOATS:
        of_bits = f", or {name}.view(ml_dtypes.bfloat16) if these are its bits" * (array.dtype == np.uint16)
        raise errors.DtypeError(
            f"{name} is an array of {array.dtype}",
            cause=f"it is taken from {', '.join(_FLOATS)}",
            remedy=f"pass np.asarray({name}, np.float32){of_bits}",
        )
    with np.errstate(all="ignore"):
        return array.astype(np.float32, copy=False)


def refuse_first(bad: Array, array: Array, name: str, cause: str, remedy: str) -> None:
    """Raise the error that names the first bad element, if there is one."""
    if not bad.any():
        return
    if array.dtype == BFLOAT16:
        array = as_float32(array, name)
    place = np.unravel_index(int(bad.argmax()), bad.shape)
    where = f"[{', '.join(map(str, place))}]" if place else ""
    raise errors.QuantizationError(f"{name}{where} is {array[place]}", cause=cause, remedy=remedy)
