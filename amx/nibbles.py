"""Weights of 4 bits, packed for products with quantised rows: half a byte each, and scales and zero points.

The layout is csrc/gemm/nibbles.h's. It is an implementation detail: what is pickled is the `Quantized`.
"""

from __future__ import annotations

import numpy as np

from amx import errors
from amx._lib import CData, ffi, lib
from amx.arrays import Array
from amx.interrupts import raise_interrupt
from amx.quantized import Quantized

__all__ = ["PackedNibbles"]

_UNIT = 32  # elements of K, of which groups are multiples
_LONGEST = 1 << 19  # elements of a group, whose sums are int32
_EINTR, _ENOMEM = 4, 12


class PackedNibbles:
    """Of a `Quantized` of uint4, (N, K), with groups, one scale for each row, or one for all. Immutable.

    Raises
    ------
    ShapeError: groups that are neither whole units of 32 elements nor all of K, or are too long; scales along
        K alone (`axis=1`).
    AllocationError, KeyboardInterrupt: as of `amx.pack`.

    Attributes
    ----------
    shape: (K, N), as a second operand.
    order: which column of x each of K is for, as of `Quantized`; or None.
    """

    __slots__ = ("_axis", "_group", "_handle", "_own", "order", "shape")
    shape: tuple[int, int]
    order: Array | None
    _axis: int | None
    _group: int | None
    _handle: CData
    _own: tuple[Array, Array] | None  # scale and zero point, where there are no groups

    def __init__(self, weight: Quantized) -> None:
        n, k = weight.shape
        if weight.axis == 1:
            raise errors.ShapeError(
                "weight is Quantized with axis=1",
                cause="A sum over K is made of integers only where groups of K have one scale",
                remedy='Quantise with group=32, such as amx.quantize(weight.dequantize(), "uint4", group=32)',
            )
        group = max(1, k if weight.group is None else min(weight.group, k))
        if min(group, k) > _LONGEST or (group < k and group % _UNIT != 0):
            raise errors.ShapeError(
                f"weight is Quantized with groups of {min(group, k)} of K = {k}",
                cause=f"Sums are made over groups of whole {_UNIT} elements, or all of K, up to {_LONGEST}",
                remedy="Quantise with such a group, such as "
                'amx.quantize(weight.dequantize(), "uint4", group=32)',
            )
        self.shape, self.order, self._axis, self._group = (k, n), weight.order, weight.axis, weight.group
        self._own = (weight.scale, weight.zero_point) if weight.group is None else None
        shape = n, -(-k // group)
        self._handle = _packed(
            weight.values, group, _each(weight.scale, shape), _each(weight.zero_point, shape)
        )

    def unpack(self) -> Quantized:
        """What was packed, as a new value."""
        k, n = self.shape
        group = max(1, k if self._group is None else min(self._group, k))
        values = np.empty((n, k), np.uint8)
        scale, zero = (np.empty((n, -(-k // group)), kind) for kind in (np.float32, np.int32))
        lib.amx_nibbles_unpack(
            self._handle,
            ffi.cast("uint8_t *", values.ctypes.data),
            ffi.cast("float *", scale.ctypes.data),
            ffi.cast("int32_t *", zero.ctypes.data),
        )
        scale, zero = self._own or (scale, zero)
        return Quantized(values, scale, zero, self._axis, self._group, "uint4", self.order)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed form: N is padded to 16 columns, K to 32 elements."""
        return int(lib.amx_nibbles_bytes(self._handle))


def _each(array: Array, shape: tuple[int, int]) -> Array:
    """(N, groups) of what there is one of, or N, or as many."""
    beside = array[:, np.newaxis] if array.ndim == 1 else array
    return np.ascontiguousarray(np.broadcast_to(beside, shape))


def _packed(values: Array, group: int, scale: Array, zero: Array) -> CData:
    made = ffi.new("struct amx_nibbles **")
    (n, k), (row, column) = values.shape, values.strides
    error = lib.amx_nibbles_new(
        n, k, group, ffi.cast("uint8_t *", values.ctypes.data), row, column,
        ffi.cast("float *", scale.ctypes.data), ffi.cast("int32_t *", zero.ctypes.data), made,
    )  # fmt: skip
    if error == -_EINTR:
        raise_interrupt()
    if error == -_ENOMEM:
        raise errors.AllocationError(
            f"no memory to pack weights of shape {values.shape}",
            cause="the allocation failed",
            remedy="free memory, or pack a part of them at a time",
        )
    assert error == 0
    return ffi.gc(made[0], lib.amx_nibbles_free)
