"""Matrix products on tiles, in the shape of `numpy.matmul`.

Results are int32 modulo 2**32 for the integers, as the hardware computes them, and float32 for bfloat16 and
float16 in one defined order of operations (docs/numerics.md): the same bits on every backend, packed or
not, with any number of threads.
"""

from __future__ import annotations

import math
import sys
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from amx import errors, threads
from amx._lib import CData, ffi, lib
from amx.backend import _engines, engine_for
from amx.dtypes import Array, accumulator, address, empty, parse, tdp
from amx.packing import PackedMatrix, as_operand

__all__ = ["matmul"]

_EXDEV = 18  # the C side's word for an output that overlaps an operand
_ENOMEM = 12
_ECANCELED = 125  # the C side's word for tiles that went away after the engine was looked up
_MOST_DIMENSIONS = 32
_ARRAY_FIELDS = 60  # bytes of what C reads of an array object
_ndarray = np.ndarray
_of_arrays = lib.amx_gemm_arrays
_NULL = ffi.NULL
_INT32, _FLOAT32 = np.dtype(np.int32), np.dtype(np.float32)
_RESULTS = [_INT32, _INT32, _INT32, _INT32, _FLOAT32, _FLOAT32]  # by instruction
# By the dtypes of operands that are multiplied as they are; known once they have been multiplied.
_instructions: dict[tuple[np.dtype[Any], np.dtype[Any]], int] = {}


def matmul(a: object, b: object, *, out: Array | None = None, dtype: object = None) -> Array:
    """Matrix product of `a` and `b` with the shapes, batches and broadcasting of `numpy.matmul`.

    Parameters
    ----------
    a: array (..., M, K) or (K,).
    b: array (..., K, N) or (K,), or a `PackedMatrix`.
        Element types: int8 and uint8 in all four combinations; bfloat16 (ml_dtypes); float16. Any strides.
    out: array of the result's shape and dtype to write into and return. Any strides; it may overlap the
        operands.
    dtype: `"bfloat16"` reads uint16 as bfloat16 bits and rounds float32 operands to it (to nearest, ties to
        even); `"float16"` rounds float32 operands to it. Nothing else is converted.

    Returns
    -------
    int32 (modulo 2**32) for 8-bit integers; float32 for bfloat16 and float16, in the order docs/numerics.md
    defines.

    Raises
    ------
    DtypeError: types that AMX does not multiply, or `out` of another dtype than the result.
    ShapeError: shapes that do not fit each other, or `out` of another shape than the result.
    BufferReadOnlyError: `out` cannot be written.
    AllocationError: no memory for the work space (for the result and rounded operands: NumPy's MemoryError).
    AmxUnavailableError: the backend is `"native"` and AMX cannot be used.

    Notes
    -----
    Other Python threads run meanwhile: none of them may resize or reshape these arrays in place.
    """
    # The least that a call can cost. What is not as C wants it, `_product` converts, does, or says.
    if type(a) is _ndarray and dtype is None:
        op = None
        if type(b) is PackedMatrix:
            op, array, packed, shape = b.instructions.get(a.dtype), 0, b.handle, b.shape
        elif type(b) is _ndarray and b.ndim > 1:
            op, array, packed, shape = _instructions.get((a.dtype, b.dtype)), id(b), _NULL, b.shape
        if op is not None and (result := _at_once(op, a, array, packed, shape, out)) is not None:
            return result
    return _product(a, b, out, dtype)


def _at_once(
    op: int, a: Array, b: int, packed: CData, shape: tuple[int, ...], out: Array | None
) -> Array | None:
    """The product of arrays of two dimensions or more, or None where C does not take them as they are.

    `b` is the id of the second operand's array, or 0, and `shape` its shape.
    """
    engine = _engines[op]
    if engine is None:
        return None
    result = out
    if out is None:
        shape = (*a.shape[:-1], shape[-1]) if len(shape) == 2 else _shape_of(a.shape, shape)
        try:
            result = empty(shape, _RESULTS[op])
        except (MemoryError, ValueError):  # which stands, unless the operands do not fit
            return None
    if (
        type(result) is _ndarray
        and result.dtype is _RESULTS[op]
        and not _of_arrays(engine, op, threads.limit, id(a), b, packed, id(result))
    ):
        return result
    return None


def _shape_of(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The result's shape, if both have two dimensions or more and fit each other."""
    x, y = a[:-2], b[:-2]
    if x == y:
        return (*a[:-1], b[-1])
    missing = len(y) - len(x)
    pairs = zip((1,) * missing + x, (1,) * -missing + y, strict=True)
    return (*[other if one == 1 else one for one, other in pairs], *a[-2:-1], b[-1])


def _read_arrays_in_place() -> None:
    """Tell C where an array's fields are, if a trial shows that it finds them there.

    CPython's id() is the object's address.
    """
    header = object.__basicsize__
    known = sys.implementation.name == "cpython" and sys.maxsize == 2**63 - 1
    if not known or _ndarray.__basicsize__ < header + _ARRAY_FIELDS:
        return
    lib.amx_arrays_header(header)
    trial = np.zeros((5, 7), np.int32)[1:4, 2:5]
    trial.flags.writeable = False
    found = ffi.new("struct amx_array *")
    for array in (trial, np.zeros((3, 4), np.float32)):
        lib.amx_arrays_read(id(array), found)
        read = found.data, found.dimensions, found.flags, tuple(found.shape), tuple(found.strides)
        address = array.__array_interface__["data"][0]
        if read != (address, 2, array.flags.num, array.shape, array.strides):
            lib.amx_arrays_header(0)
            return  # what would be read next is no array's


def _product(a: object, b: object, out: Array | None, dtype: object) -> Array:
    wanted = None if dtype is None else parse(dtype)
    first, a_element = as_operand(a, wanted, "a")
    if isinstance(b, PackedMatrix):
        second, b_element = None, b.element
        b_shape = b.shape
    else:
        second, b_element = as_operand(b, wanted, "b")
        b_shape = second.shape
    op = tdp(a_element, b_element)
    if op is None:
        raise errors.DtypeError(
            f"{a_element.value} times {b_element.value}",
            cause="no AMX instruction multiplies them with each other",
            remedy="bring both operands to one type (int8 and uint8 may be mixed)",
        )
    if (
        wanted is None
        and type(a) is _ndarray
        and type(b) is _ndarray
        and a.dtype.isnative
        and b.dtype.isnative
    ):
        _instructions[a.dtype, b.dtype] = op
    if wanted is not None and first.ndim > 1 and len(b_shape) > 1:
        array, packed = (0, b.handle) if isinstance(b, PackedMatrix) else (id(second), _NULL)
        if (at_once := _at_once(op, first, array, packed, b_shape, out)) is not None:
            return at_once
    shape, batch, m, n, k = _result_shape(first.shape, b_shape)
    result_dtype = accumulator(a_element)
    if out is not None:
        _check_out(out, shape, result_dtype)
    c = None if out is None else _as_matrices(out, first.ndim, len(b_shape))
    if first.ndim == 1:
        first = first[np.newaxis, :]
    if second is not None and second.ndim == 1:
        second = second[:, np.newaxis]

    if c is not None and _can_store_into(c, first, second):
        _call(engine_for(op), op, first, second, b, c, batch, (m, n, k))
        return cast("Array", out)
    result = empty((*batch, m, n), result_dtype)
    _call(engine_for(op), op, first, second, b, result, batch, (m, n, k))
    if out is None:
        return result.reshape(shape)[()]
    out[...] = result.reshape(shape)
    return out


def _as_matrices(out: Array, a_ndim: int, b_ndim: int) -> Array:
    """A view of `out` with the dimensions M and N that vectors leave out."""
    view: Array = out[..., np.newaxis] if b_ndim == 1 else out
    return view[..., np.newaxis, :] if a_ndim == 1 else view


def _call(
    engine: int,
    op: int,
    a: Array,
    b: Array | None,
    packed: object,
    c: Array,
    batch: tuple[int, ...],
    sizes: tuple[int, int, int],
) -> None:
    m, n, k = sizes
    if c.size == 0:  # its dimensions and those of the batch may be larger than any memory
        return
    b_ndim = cast("PackedMatrix", packed).ndim if b is None else b.ndim
    if batch and b_ndim == 2 and a.shape[:-2] == batch and a.flags.c_contiguous and c.flags.c_contiguous:
        # A batch of first operands against one second operand is one taller product.
        m *= math.prod(batch)
        a, c, batch = a.reshape(m, k), c.reshape(m, n), ()
    count = math.prod(batch)
    a_offset, c_offset = _offsets(a, batch), _offsets(c, batch)
    a_row, a_column = a.strides[-2:]
    if b is None:
        matrix = cast("PackedMatrix", packed)
        error = lib.amx_gemm_packed(
            engine, op, threads.limit, m, count,
            address(a), a_row, a_column, _pointer(a_offset),
            matrix.handle, _pointer(_items(matrix.shape[:-2], batch)),
            address(c), c.strides[-2], _pointer(c_offset),
        )  # fmt: skip
    else:
        b_offset = _offsets(b, batch)
        if a_offset is not None and b_offset is not None and c_offset is not None and _is_shared(b, batch):
            order = np.argsort(b_offset, axis=None, kind="stable")
            a_offset, b_offset, c_offset = (each.ravel()[order] for each in (a_offset, b_offset, c_offset))
        b_row, b_column = b.strides[-2:]
        error = lib.amx_gemm(
            engine, op, threads.limit, m, n, k, count,
            address(a), a_row, a_column, _pointer(a_offset),
            address(b), b_row, b_column, _pointer(b_offset),
            address(c), c.strides[-2], _pointer(c_offset),
        )  # fmt: skip
    if error == -_ECANCELED:
        _call(engine_for(op, settled=True), op, a, b, packed, c, batch, (m, n, k))
        return
    _raise_for(error)


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


def _items(own: tuple[int, ...], batch: tuple[int, ...]) -> npt.NDArray[np.int64] | None:
    """Which of a packed operand's matrices belongs to each item of the batch; None: the first to all."""
    if not own:
        return None
    numbers = np.arange(int(np.prod(own, dtype=np.int64)), dtype=np.int64).reshape(own)
    return np.ascontiguousarray(np.broadcast_to(numbers, batch))


def _pointer(array: npt.NDArray[np.int64] | None) -> CData:
    return ffi.NULL if array is None else ffi.from_buffer("int64_t[]", array)


def _result_shape(
    a: tuple[int, ...], b: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], int, int, int]:
    """(shape of the result, batch, M, N, K) by numpy.matmul's rules."""
    if max(len(a), len(b)) > _MOST_DIMENSIONS:
        raise errors.ShapeError(
            f"matmul() of {len(a)} and {len(b)} dimensions",
            cause=f"NumPy broadcasts at most {_MOST_DIMENSIONS}",
            remedy="reshape the operands",
        )
    if len(a) == 0 or len(b) == 0:
        raise errors.ShapeError(
            f"matmul() of shapes {a} and {b}",
            cause="a scalar is no matrix",
            remedy="multiply by a scalar with * instead",
        )
    m, k = (1, a[0]) if len(a) == 1 else a[-2:]
    k_of_b, n = (b[0], 1) if len(b) == 1 else b[-2:]
    if k != k_of_b:
        raise _mismatch(a, b, k, k_of_b)
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise errors.ShapeError(
            f"matmul() of shapes {a} and {b}",
            cause=f"the leading dimensions {a[:-2]} and {b[:-2]} do not broadcast",
            remedy="make them equal, or 1 where they differ",
        ) from None
    shape = batch + ((m,) if len(a) > 1 else ()) + ((n,) if len(b) > 1 else ())
    return shape, batch, m, n, k


def _mismatch(a: tuple[int, ...], b: tuple[int, ...], k: int, k_of_b: int) -> errors.ShapeError:
    return errors.ShapeError(
        f"matmul() of shapes {a} and {b}",
        cause=f"a has K = {k} columns and b has {k_of_b} rows",
        remedy="transpose or cut one of them so that they agree",
    )


def _check_out(out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(out, np.ndarray):
        raise errors.DtypeError(
            f"out is a {type(out).__name__}", cause="it has to be a NumPy array", remedy="pass np.empty(...)"
        )
    if out.shape != shape:
        raise errors.ShapeError(
            f"out has shape {out.shape}",
            cause=f"the result has shape {shape}",
            remedy="make out of that shape",
        )
    if out.dtype != dtype:
        raise errors.DtypeError(
            f"out is {out.dtype}",
            cause=f"the result is {dtype}",
            remedy=f"make out of dtype {dtype}, and convert afterwards",
        )
    if not out.flags.writeable:
        raise errors.BufferReadOnlyError(
            "out is read-only", cause="its writeable flag is off", remedy="pass an array that may be written"
        )


def _can_store_into(c: Array, a: Array, b: Array | None) -> bool:
    """Whether tiles can be stored into `c`: adjacent columns, no element twice, no memory of an operand."""
    adjacent = c.strides[-1] == c.itemsize or c.shape[-1] == 1
    apart = not np.may_share_memory(c, a) and (b is None or not np.may_share_memory(c, b))
    return adjacent and apart and _is_distinct(c)


def _is_distinct(c: Array) -> bool:
    """Whether no two elements of `c` share a byte. It may say no of some that share none.

    In the order of their strides, each stride has to reach beyond what the smaller ones span.
    """
    spanned = c.itemsize
    for stride, count in sorted((abs(s), n) for s, n in zip(c.strides, c.shape, strict=True) if n > 1):
        if stride < spanned:
            return False
        spanned = stride * (count - 1) + spanned
    return True


def _raise_for(error: int) -> None:
    if error == 0:
        return
    if error == -_ENOMEM:
        raise errors.AllocationError(
            "no memory for the work space of a product",
            cause="an allocation failed",
            remedy="free memory or use fewer threads",
            errno=_ENOMEM,
        )
    raise AssertionError(f"the driver returned {error}, which the checks above exclude")


_read_arrays_in_place()
