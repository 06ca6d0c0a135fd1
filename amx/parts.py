"""A product of operands that may need conversion: at once, or in parts that take little memory."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from amx import threads
from amx.arrays import Array
from amx.backend import engine_for
from amx.driver import call
from amx.dtypes import empty
from amx.operands import Operand, part_of, ranges
from amx.packing import Packed

__all__ = ["conversion_of", "most_bytes", "multiply"]

# What Python may take a thread, beside C's 16 MiB of B, 8 MiB of A and some more: bytes of what is converted
# and what is not stored where it belongs at once. Parts smaller than this would mostly move their results.
_MOST_BYTES = 32 << 20
_LEAST_K = 1024
_OF_AN_ITEM = 64  # bytes of what lists an item of a batch for C


def most_bytes() -> int:
    """Of what is converted, and of results that are not stored where they belong, at a time."""
    return _MOST_BYTES * threads.get_num_threads()


def conversion_of(operand: Operand | Packed) -> int:
    """Bytes that converting an operand takes: what is packed needs none."""
    return operand.conversion if isinstance(operand, Operand) else 0


def multiply(op: int, a: Operand, b: Operand | Packed, c: Array) -> None:
    """The product into c, by instruction `op`: all have two dimensions at least, which fit each other.

    No two elements of c may share memory, nor may c share any with an operand.
    """
    _multiply(op, a, b, _items(b, c.shape[:-2]), c)


def _items(b: Operand | Packed, batch: tuple[int, ...]) -> npt.NDArray[np.int64] | None:
    """Which of a packed operand's matrices belongs to each item of the batch; None: the first to all."""
    if isinstance(b, Operand) or b.ndim == 2:
        return None
    own = b.shape[:-2]
    numbers = np.arange(math.prod(own), dtype=np.int64).reshape(own)
    return np.broadcast_to(numbers, batch)


def _multiply(
    op: int, a: Operand, b: Operand | Packed, items: npt.NDArray[np.int64] | None, c: Array
) -> None:
    """At once, or in parts where converting operands or storing elsewhere takes too much.

    First items of the batch, then rows and columns, then K, whose partial sums rest in c.
    """
    engine = engine_for(op)
    if c.size == 0:  # its dimensions and those of the batch may be larger than any memory
        return
    batch, (m, n), k = c.shape[:-2], c.shape[-2:], a.array.shape[-1]
    if items is None and batch and _is_one_matrix(a.array, b, c):
        # A batch of first operands against one second operand is one taller product.
        m, batch = m * math.prod(batch), ()
        a, c = Operand(a.array.reshape(m, k), a.element), c.reshape(m, n)
    converting = a.conversion + conversion_of(b)
    elsewhere = 0 if _can_store_into(c) else c.nbytes
    most = most_bytes()
    listed = _OF_AN_ITEM * math.prod(batch) if batch else 0
    if converting + elsewhere + listed <= most:
        result = empty(c.shape, c.dtype) if elsewhere else c
        second = b if isinstance(b, Packed) else b.converted()
        call(engine, op, a.converted(), second, items, result)
        if elsewhere:
            c[...] = result
        return
    axis = _axis_to_halve(a, b, c, most)
    if axis is None:
        _multiply_by_k(op, a, b, items, c, most)
        return
    half = (c.shape[axis] + 1) // 2
    for place in ranges(c.shape[axis], half):
        _multiply(
            op,
            a.part(axis, place) if axis != -1 else a,
            b.part(axis, place) if isinstance(b, Operand) and axis != -2 else b,
            part_of(items, axis + 2, place) if items is not None and axis < -2 else items,
            part_of(c, axis, place),
        )


def _is_one_matrix(a: Array, b: Operand | Packed, c: Array) -> bool:
    b_ndim = b.ndim if isinstance(b, Packed) else b.array.ndim
    return b_ndim == 2 and a.shape[:-2] == c.shape[:-2] and a.flags.c_contiguous and c.flags.c_contiguous


def _axis_to_halve(a: Operand, b: Operand | Packed, c: Array, most: int) -> int | None:
    """The largest of the batch's; or that of c which lets enough of K be multiplied at once; or none."""
    batch = c.shape[:-2]
    if math.prod(batch) > 1:
        return batch.index(max(batch)) - c.ndim
    m, n = c.shape[-2:]
    converting = a.conversion + conversion_of(b)
    k = max(1, a.array.shape[-1])
    of_k = converting // k * min(k, _LEAST_K)
    if of_k + (0 if _can_store_into(c) else c.nbytes) <= most:
        return None
    by_columns = n > m and isinstance(b, Operand)
    return -1 if by_columns else -2 if m > 1 else None


def _multiply_by_k(
    op: int,
    a: Operand,
    b: Operand | Packed,
    items: npt.NDArray[np.int64] | None,
    c: Array,
    most: int,
) -> None:
    """The product of one item, a part of K after the other."""
    result = c if _can_store_into(c) else empty(c.shape, c.dtype)
    k = a.array.shape[-1]
    converting = a.conversion + conversion_of(b)
    chunk = 64 // a.element.size
    step = max(1, most * k // converting // chunk) * chunk if converting else k

    def is_added(part: slice) -> bool:
        second = b if isinstance(b, Packed) else b.part(-2, part).converted()
        return call(engine_for(op), op, a.part(-1, part).converted(), second, items, result, part.start)

    while not all(is_added(part) for part in (ranges(k, step) if k > step else [slice(0, k)])):
        pass  # from the beginning
    if result is not c:
        c[...] = result


def _can_store_into(c: Array) -> bool:
    """Whether tiles can be stored into `c`, whose elements are distinct: adjacent columns."""
    return c.strides[-1] == c.itemsize or c.shape[-1] == 1
