"""Numbers become small integers with a scale: `amx.quantize`, by the definition in docs/numerics.md.

Every float32 operation that is written here is rounded once, and NumPy fuses none: what is written is what
is defined.
"""

from __future__ import annotations

import numpy as np

from amx.arrays import Array, as_array
from amx.float_environment import as_after_reset
from amx.quantized import (
    Quantized,
    as_float32,
    axis_and_group,
    form_of,
    in_groups,
    in_rows,
    refuse_first,
    shape_of_scale,
)

__all__ = ["quantize"]

_SMALLEST = np.float32(2.0**-126)  # of scales, so that their inverses are finite


@as_after_reset
def quantize(
    x: object,
    dtype: object = "int8",
    axis: int | None = None,
    group: int | None = None,
    symmetric: bool = True,
) -> Quantized:
    """Round numbers to integers of 8 or 4 bits, with a scale for each slice.

    `amx.quantize(w, axis=0)` is for the weights (N, K) of a layer in 8 bits, `amx.quantize(w, "uint4",
    group=32, symmetric=False)` in 4 bits.

    Parameters
    ----------
    x: array of float16, bfloat16 (ml_dtypes), float32, or float64, which is rounded to float32 first. All of
        it is finite.
    dtype: "int8", "uint8" or "uint4".
    axis: a scale for each index of this axis; None for one scale, or with `group`.
    group: a scale for each `group` consecutive elements of a row of a matrix (N, K). The last group of a row
        is shorter where K is no multiple.
    symmetric: the zero point is in the middle, 0, 128 or 8. 8-bit values are at most 127 from it; in 4 bits
        the element of largest magnitude becomes 0, 8 below it, by a scale that may be negative. Otherwise
        the range of each slice, widened to have 0 in it, becomes the range of the type.

    Scales of 4 bits are rounded to float16 before they are used, if normal numbers of it: packed weights then
    keep them in half the memory.

    Raises
    ------
    DtypeError: elements or a `dtype` of other types.
    ShapeError: an axis that is not there, or groups of what is no matrix.
    QuantizationError: a NaN or an infinity in `x`, or a float64 beyond float32.
    """
    name, form = form_of(dtype)
    given = as_array(x, "x")[...]  # a view, whose shape nobody else can change
    array = as_float32(given, "x")
    axis, group = axis_and_group(array.shape, axis, group)
    work, reduced = array, tuple(each for each in range(array.ndim) if each != axis)
    if group is not None:
        work, reduced = in_groups(array, group), (2,)
    with np.errstate(all="ignore"):
        low = np.asarray(work.min(axis=reduced, initial=0, keepdims=True))
        high = np.asarray(work.max(axis=reduced, initial=0, keepdims=True))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            cause = "a slice with a NaN, an infinity, or a number beyond float32 has no scale"
            remedy = "find where it comes from, or replace it with np.nan_to_num() or np.clip()"
            refuse_first(~np.isfinite(array), given, "x", cause, remedy)
        if symmetric:
            scale = _symmetric_scale(work, reduced, low, high, name)
        else:
            scale = _asymmetric_scale(low, high, form.high - form.low)
        if name == "uint4":
            scale = _of_16_bits(scale)
        inverse = 1 / scale
        if symmetric:
            zero = np.full(scale.shape, form.middle, np.float32)
        else:
            zero = np.clip(form.low + np.rint(-low * inverse), form.low, form.high)
        rounded = np.multiply(work, inverse, out=np.empty(work.shape, np.float32))
        np.rint(rounded, out=rounded)
        rounded += zero
        np.clip(rounded, form.symmetric_low if symmetric else form.low, form.high, out=rounded)
    values = rounded.astype(form.carrier)
    if group is not None:
        values = in_rows(values, array.shape)
    shape = shape_of_scale(array.shape, axis, group)
    return Quantized(
        values, scale.reshape(shape), zero.astype(np.int32).reshape(shape), axis, group, dtype=name
    )


def _of_16_bits(scale: Array) -> Array:
    """Rounded to float16 where that is a normal number."""
    rounded = scale.astype(np.float16)
    is_normal = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo(np.float16).smallest_normal)
    return np.where(is_normal, rounded.astype(np.float32), scale)


def _asymmetric_scale(low: Array, high: Array, steps: int) -> Array:
    span = high - low
    scale = np.where(np.isinf(span), (high / 2 - low / 2) / np.float32(steps / 2), span / np.float32(steps))
    return np.where(span == 0, np.float32(1), np.maximum(scale, _SMALLEST))


def _symmetric_scale(work: Array, reduced: tuple[int, ...], low: Array, high: Array, name: str) -> Array:
    if name != "uint4":
        most = np.maximum(high, -low)
        return np.where(most == 0, np.float32(1), np.maximum(most / np.float32(127), _SMALLEST))
    most = np.where(high > -low, high, low)
    tied = (high == -low) & (high != 0)
    if tied.any():  # the first of them, in the order of indices
        kept = [axis for axis in range(work.ndim) if axis not in reduced]
        slices = np.moveaxis(work, kept, range(len(kept)))
        slices = slices[tied.reshape(slices.shape[: len(kept)])]
        slices = slices.reshape(len(slices), -1)
        top = high[tied][:, None]
        is_high = (slices == top).argmax(1) < (slices == -top).argmax(1)
        most[tied] = np.where(is_high, high[tied], low[tied])
    scale = most / np.float32(-8)
    return np.where(most == 0, np.float32(1), np.copysign(np.maximum(np.abs(scale), _SMALLEST), scale))
