"""Weights of 4 bits, packed for products with quantised rows: half a byte each, and scales and zero points.

The layout is csrc/gemm/nibbles.h's. It is an implementation detail: what is pickled is the `Quantized`.
"""

from __future__ import annotations

import errno

import numpy as np

from amx import errors
from amx._lib import CData, ffi, lib
from amx.arrays import Array
from amx.dlpack import bytes_at
from amx.dtypes import address
from amx.interrupts import raise_interrupt
from amx.quantized import Quantized

__all__ = ["PackedNibbles"]

_UNIT = 32  # elements of K, of which groups are multiples
_LONGEST = 1 << 19  # elements of a group, whose sums are int32
_MIDDLE = 8


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

    __slots__ = ("_axis", "_group", "_handle", "_memory", "_own", "order", "shape")
    shape: tuple[int, int]
    order: Array | None
    _axis: int | None
    _group: int | None
    _handle: CData
    _own: tuple[Array, Array] | None  # scale and zero point, where there are no groups
    _memory: Array | None  # of somebody else

    def __init__(self, weight: Quantized) -> None:
        n, k = weight.shape
        if weight.axis == 1:
            raise errors.ShapeError(
                "weight is Quantized with axis=1",
                cause="A sum over K is made of integers only where groups of K have one scale",
                remedy='Quantise with group=32, such as amx.quantize(weight.dequantize(), "uint4", group=32)',
            )
        self.shape, self.order, self._axis, self._group = (k, n), weight.order, weight.axis, weight.group
        group = self.group
        if group > _LONGEST or (group < k and group % _UNIT != 0):
            raise errors.ShapeError(
                f"weight is Quantized with groups of {group} of K = {k}",
                cause=f"Sums are made over groups of whole {_UNIT} elements, or all of K, up to {_LONGEST}",
                remedy="Quantise with such a group, such as "
                'amx.quantize(weight.dequantize(), "uint4", group=32)',
            )
        self._own = (weight.scale, weight.zero_point) if weight.group is None else None
        self._memory = None
        shape = n, -(-k // group)
        self._handle = _packed(
            weight.values, group, _each(weight.scale, shape), _each(weight.zero_point, shape)
        )

    @classmethod
    def over(cls, memory: Array, shape: tuple[int, int], order: Array | None) -> PackedNibbles:
        """What is in such a memory, uint8 from a 64-byte boundary on; it is kept, not copied.

        Raises
        ------
        ShapeError: it is not what such weights (K, N) are packed into.
        """
        handle = lib.amx_nibbles_over(address(memory), len(memory), shape[1], shape[0])
        if handle == ffi.NULL:
            raise errors.ShapeError(
                f"packed weights {shape} of uint4 in {len(memory)} bytes",
                cause="They have more, or fewer, or another beginning",
                remedy="Pack them again",
            )
        made = cls.__new__(cls)
        made._handle, made._memory = ffi.gc(handle, lib.amx_nibbles_free), memory
        made.shape, made.order, made._own, made._axis = shape, order, None, 0
        made._group = int(lib.amx_nibbles_group(handle))
        return made

    @property
    def memory(self) -> Array:
        """All but shape and order, uint8, uncopied, which keeps it; as of packing.py's `memory_of`."""
        place = int(ffi.cast("uintptr_t", lib.amx_nibbles_data(self._handle)))
        return bytes_at(place, self.nbytes, self)

    @property
    def group(self) -> int:
        """Elements of K, up to all of them, that have one scale."""
        return max(1, self.shape[0] if self._group is None else min(self._group, self.shape[0]))

    @property
    def is_symmetric(self) -> bool:
        """Whether all zero points are the one of symmetric weights, 8."""
        return int(lib.amx_nibbles_zero(self._handle)) == _MIDDLE

    def unpack(self) -> Quantized:
        """What was packed, as a new value."""
        k, n = self.shape
        values = np.empty((n, k), np.uint8)
        scale, zero = (np.empty((n, -(-k // self.group)), kind) for kind in (np.float32, np.int32))
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
        """Bytes of the packed form: 64, and the weights, N padded to 16 columns, K to 32 elements."""
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
    if error == -errno.EINTR:
        raise_interrupt()
    if error == -errno.ENOMEM:
        raise errors.AllocationError(
            f"no memory to pack weights of shape {values.shape}",
            cause="the allocation failed",
            remedy="free memory, or pack a part of them at a time",
        )
    assert error == 0
    return ffi.gc(made[0], lib.amx_nibbles_free)
