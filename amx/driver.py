"""One call of the driver in C (csrc/gemm/driver.c), for arrays that need no conversion."""

from __future__ import annotations

import errno
import math

import numpy as np
import numpy.typing as npt

from amx import errors, threads
from amx._lib import CData, ffi, lib
from amx.arrays import Array
from amx.backend import engine_for
from amx.dtypes import address
from amx.interrupts import raise_interrupt
from amx.packing import Packed

__all__ = ["call", "raise_for"]


def call(
    engine: int,
    op: int,
    a: Array,
    b: Array | Packed,
    items: npt.NDArray[np.int64] | None,
    c: Array,
    before: int = 0,
) -> bool:
    """The product in one call of C: into c, or added to it for the elements of K behind those `before`.

    False where the sums so far are lost.
    """
    batch, (m, n), k = c.shape[:-2], c.shape[-2:], a.shape[-1]
    count = math.prod(batch)
    a_offset, c_offset = _offsets(a, batch), _offsets(c, batch)
    a_row, a_column = a.strides[-2:]
    if isinstance(b, Packed):
        b_item = None if items is None else np.ascontiguousarray(items)
        error = lib.amx_gemm_packed(
            engine, op, threads.limit, m, n, k, before, count,
            address(a), a_row, a_column, _pointer(a_offset),
            b._handle, _pointer(b_item),
            address(c), c.strides[-2], _pointer(c_offset),
        )  # fmt: skip
    else:
        b_offset = _offsets(b, batch)
        if a_offset is not None and b_offset is not None and c_offset is not None and _is_shared(b, batch):
            order = np.argsort(b_offset, axis=None, kind="stable")
            a_offset, b_offset, c_offset = (each.ravel()[order] for each in (a_offset, b_offset, c_offset))
        b_row, b_column = b.strides[-2:]
        error = lib.amx_gemm(
            engine, op, threads.limit, m, n, k, before, count,
            address(a), a_row, a_column, _pointer(a_offset),
            address(b), b_row, b_column, _pointer(b_offset),
            address(c), c.strides[-2], _pointer(c_offset),
        )  # fmt: skip
    if error == -errno.ECANCELED:  # tiles went away after the engine was looked up
        return call(engine_for(op, settled=True), op, a, b, items, c, before)
    if error == -errno.ECHILD:  # a signal's handler forked; in the child the sums that C added to are lost
        return False
    raise_for(error)
    return True


def _is_shared(b: Array, batch: tuple[int, ...]) -> bool:
    """Whether items of the batch have a second operand in common.

    Those that do then follow each other: C packs an operand once for a run of items.
    """
    own = np.broadcast_to(b, batch + b.shape[-2:]).strides[: len(batch)]
    return any(stride == 0 and count > 1 for stride, count in zip(own, batch, strict=True))


def _offsets(array: Array, batch: tuple[int, ...]) -> npt.NDArray[np.int64] | None:
    """Byte offset of each matrix of a batch the array is broadcast to; None for one matrix."""
    if not batch:
        return None
    matrices = np.broadcast_to(array, batch + array.shape[-2:])
    offsets = np.zeros(batch, np.int64)
    for axis, (count, stride) in enumerate(zip(batch, matrices.strides, strict=False)):
        steps = np.arange(count, dtype=np.int64) * stride
        offsets += steps.reshape((-1,) + (1,) * (len(batch) - axis - 1))
    return np.ascontiguousarray(offsets)


def _pointer(array: npt.NDArray[np.int64] | None) -> CData:
    return ffi.NULL if array is None else ffi.from_buffer("int64_t[]", array)


def raise_for(error: int) -> None:
    """The error that a product of C's returned, unless it is 0."""
    if error == 0:
        return
    if error == -errno.EINTR:  # a signal's handler raised
        raise_interrupt()
    if error == -errno.ENOMEM:
        raise errors.AllocationError(
            "no memory for the work space of a product",
            cause="an allocation failed",
            remedy="free memory or use fewer threads",
            errno=errno.ENOMEM,
        )
    raise AssertionError(f"the driver returned {error}, which the checks above exclude")
