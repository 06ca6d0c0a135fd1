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
from amx.arrays import Array, as_array, as_output
from amx.backend import _engines, engine_for
from amx.dtypes import Element, accumulator, address, element_for, empty, parse, tdp
from amx.interrupts import raise_interrupt
from amx.operands import Operand, part_of, ranges
from amx.packing import PackedMatrix

__all__ = ["matmul", "raise_for"]

_EXDEV = 18  # the C side's word for an output that overlaps an operand
_ENOMEM = 12
_EINTR = 4  # a signal's handler raised
_ECHILD = 10  # a signal's handler forked, and in the child the sums that C added to are lost
_ECANCELED = 125  # the C side's word for tiles that went away after the engine was looked up
_MOST_DIMENSIONS = 32
# What Python may take a thread, beside C's 16 MiB of B, 8 MiB of A and some more: bytes of what is converted
# and what is not stored where it belongs at once. Parts smaller than this would mostly move their results.
_MOST_BYTES = 32 << 20
_LEAST_K = 1024
_OF_AN_ITEM = 64  # bytes of what lists an item of a batch for C
_ARRAY_FIELDS = 60  # bytes of what C reads of an array object
_ndarray = np.ndarray
_of_arrays = lib.amx_gemm_arrays
_NULL = ffi.NULL
_INT32, _FLOAT32 = np.dtype(np.int32), np.dtype(np.float32)
_RESULTS = [_INT32, _INT32, _INT32, _INT32, _FLOAT32, _FLOAT32]  # by instruction
# By the dtypes of operands that are multiplied as they are; known once they have been multiplied.
_instructions: dict[tuple[np.dtype[Any], np.dtype[Any]], int] = {}


def matmul(a: object, b: object, out: Array | None = None, *, dtype: object = None) -> Array:
    """Matrix product of `a` and `b` with the shapes, batches and broadcasting of `numpy.matmul`.

    Parameters
    ----------
    a: array (..., M, K) or (K,), of any kind that NumPy reads; without a mask.
    b: array (..., K, N) or (K,), or a `PackedMatrix`.
        Element types: int8 and uint8 in all four combinations; bfloat16 (ml_dtypes); float16. Any strides.
    out: NumPy array of the result's shape and dtype to write into and return. Any strides; it may overlap the
        operands.
    dtype: `"bfloat16"` (or `"bf16"`) reads uint16 as bfloat16 bits and rounds float32 operands to it (to
        nearest, ties to even); `"float16"` (or `"fp16"`) rounds float32 operands to it. Nothing else is
        converted.

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
    KeyboardInterrupt, or whatever the handler of a signal raises that arrives meanwhile (in Python's main
        thread, as always): the product stops within milliseconds, and `out` is undefined.

    Notes
    -----
    Other Python threads run meanwhile: none of them may resize or reshape these arrays in place. Nor may the
    handler of a signal, which runs meanwhile too, and may multiply.

    Beside operands and result a product takes at most 64 MiB for each of its threads; where `out` overlaps an
    operand, or itself, it takes the size of the result besides.
    """
    # The least that a call can cost. What is not as C wants it, `_product` converts, does, or says.
    if type(a) is _ndarray and dtype is None:
        op = None
        if type(b) is PackedMatrix:
            op, array, packed, shape = b._instructions.get(a.dtype), 0, b._handle, b._shape
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
        except MemoryError:  # which stands, unless the operands do not fit
            return None
    if type(result) is _ndarray and result.dtype is _RESULTS[op]:
        error = _of_arrays(engine, op, threads.limit, id(a), b, packed, id(result))
        if not error:
            return result
        if error == -_EINTR:
            raise_interrupt()
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
    if type(a) is PackedMatrix:
        raise errors.DtypeError(
            "operand a is a PackedMatrix",
            cause="It is packed as a second operand, and tiles take the first one in another layout",
            remedy="Pass the array that was packed, or its unpack()",
        )
    # Reading an object may run code of its library, which may change the arrays that were read before:
    # nothing of these is looked at until all are read.
    left = as_array(a, "operand a")
    right = b if type(b) is PackedMatrix else as_array(b, "operand b")
    plain_out = None if out is None else as_output(out, "out")
    first = Operand(left, element_for(left.dtype, wanted, "a"))
    second = (
        right if isinstance(right, PackedMatrix) else Operand(right, element_for(right.dtype, wanted, "b"))
    )
    b_shape = second._shape if isinstance(second, PackedMatrix) else second.array.shape
    op = _instruction(first.element, second.element)
    if wanted is None and _is_plain(a) and _is_plain(b):
        _instructions[first.array.dtype, cast("Array", b).dtype] = op
    a_ndim, b_ndim = first.array.ndim, len(b_shape)
    has_vector = a_ndim == 1 or b_ndim == 1
    if (wanted is not None or has_vector) and _conversion(first) + _conversion(second) <= _most_bytes():
        first = Operand(first.converted(), first.element)
        if isinstance(second, Operand):
            second = Operand(second.converted(), second.element)
        if a_ndim > 0 and b_ndim > 0 and not (has_vector and out is not None):
            at_once = _converted_at_once(op, first.array, second, out)
            if at_once is not None:
                return at_once
    shape, batch, m, n, _ = _result_shape(first.array.shape, b_shape)
    result_dtype = accumulator(first.element)
    if plain_out is not None:
        _check_out(plain_out, shape, result_dtype)
    if a_ndim == 1:
        first = Operand(first.array[np.newaxis, :], first.element)
    if isinstance(second, Operand) and b_ndim == 1:
        second = Operand(second.array[:, np.newaxis], second.element)

    if plain_out is not None:
        c = _as_matrices(plain_out, a_ndim, b_ndim)
        if _is_apart(c, first, second):
            _multiply(op, first, second, _items(second, batch), c)
            return cast("Array", out)
    result = empty((*batch, m, n), result_dtype)
    _multiply(op, first, second, _items(second, batch), result)
    if plain_out is None:
        return result.reshape(shape)[()]
    plain_out[...] = result.reshape(shape)
    return cast("Array", out)


def _converted_at_once(op: int, a: Array, second: Operand | PackedMatrix, out: Array | None) -> Array | None:
    """As `_at_once`, of operands that are converted, or without `out` also of vectors."""
    row = a[np.newaxis] if a.ndim == 1 else a
    if isinstance(second, PackedMatrix):
        column, shape = None, second._shape
        result = _at_once(op, row, 0, second._handle, shape, out)
    else:
        column = second.array if second.array.ndim > 1 else second.array[:, np.newaxis]
        shape = second.array.shape
        result = _at_once(op, row, id(column), _NULL, column.shape, out)
    if result is None or (row is a and len(shape) > 1):
        return result
    *batch, m, n = result.shape
    return result.reshape((*batch, *([m] if row is a else []), *([n] if len(shape) > 1 else [])))[()]


def _instruction(a: Element, b: Element) -> int:
    op = tdp(a, b)
    if op is None:
        raise errors.DtypeError(
            f"{a.value} times {b.value}",
            cause="no AMX instruction multiplies them with each other",
            remedy="bring both operands to one type (int8 and uint8 may be mixed)",
        )
    return op


def _is_plain(operand: object) -> bool:
    return type(operand) is _ndarray and operand.dtype.isnative


def _conversion(operand: Operand | PackedMatrix) -> int:
    return operand.conversion if isinstance(operand, Operand) else 0


def _most_bytes() -> int:
    return _MOST_BYTES * threads.get_num_threads()


def _as_matrices(out: Array, a_ndim: int, b_ndim: int) -> Array:
    """A view of `out` with the dimensions M and N that vectors leave out."""
    view: Array = out[..., np.newaxis] if b_ndim == 1 else out
    return view[..., np.newaxis, :] if a_ndim == 1 else view


def _multiply(
    op: int, a: Operand, b: Operand | PackedMatrix, items: npt.NDArray[np.int64] | None, c: Array
) -> None:
    """The product into c: at once, or in parts where converting operands or storing elsewhere takes too much.

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
    converting = a.conversion + _conversion(b)
    elsewhere = 0 if _can_store_into(c) else c.nbytes
    most = _most_bytes()
    listed = _OF_AN_ITEM * math.prod(batch) if batch else 0
    if converting + elsewhere + listed <= most:
        result = empty(c.shape, c.dtype) if elsewhere else c
        second = b if isinstance(b, PackedMatrix) else b.converted()
        _call(engine, op, a.converted(), second, items, result)
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


def _is_one_matrix(a: Array, b: Operand | PackedMatrix, c: Array) -> bool:
    b_ndim = b.ndim if isinstance(b, PackedMatrix) else b.array.ndim
    return b_ndim == 2 and a.shape[:-2] == c.shape[:-2] and a.flags.c_contiguous and c.flags.c_contiguous


def _axis_to_halve(a: Operand, b: Operand | PackedMatrix, c: Array, most: int) -> int | None:
    """The largest of the batch's; or that of c which lets enough of K be multiplied at once; or none."""
    batch = c.shape[:-2]
    if math.prod(batch) > 1:
        return batch.index(max(batch)) - c.ndim
    m, n = c.shape[-2:]
    converting = a.conversion + _conversion(b)
    k = max(1, a.array.shape[-1])
    of_k = converting // k * min(k, _LEAST_K)
    if of_k + (0 if _can_store_into(c) else c.nbytes) <= most:
        return None
    by_columns = n > m and isinstance(b, Operand)
    return -1 if by_columns else -2 if m > 1 else None


def _multiply_by_k(
    op: int,
    a: Operand,
    b: Operand | PackedMatrix,
    items: npt.NDArray[np.int64] | None,
    c: Array,
    most: int,
) -> None:
    """The product of one item, a part of K after the other."""
    result = c if _can_store_into(c) else empty(c.shape, c.dtype)
    k = a.array.shape[-1]
    converting = a.conversion + _conversion(b)
    chunk = 64 // a.element.size
    step = max(1, most * k // converting // chunk) * chunk if converting else k

    def is_added(part: slice) -> bool:
        second = b if isinstance(b, PackedMatrix) else b.part(-2, part).converted()
        return _call(engine_for(op), op, a.part(-1, part).converted(), second, items, result, part.start)

    while not all(is_added(part) for part in (ranges(k, step) if k > step else [slice(0, k)])):
        pass  # from the beginning
    if result is not c:
        c[...] = result


def _call(
    engine: int,
    op: int,
    a: Array,
    b: Array | PackedMatrix,
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
    if isinstance(b, PackedMatrix):
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
    if error == -_ECANCELED:
        return _call(engine_for(op, settled=True), op, a, b, items, c, before)
    if error == -_ECHILD:
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


def _items(b: Operand | PackedMatrix, batch: tuple[int, ...]) -> npt.NDArray[np.int64] | None:
    """Which of a packed operand's matrices belongs to each item of the batch; None: the first to all."""
    if isinstance(b, Operand) or b.ndim == 2:
        return None
    own = b.shape[:-2]
    numbers = np.arange(math.prod(own), dtype=np.int64).reshape(own)
    return np.broadcast_to(numbers, batch)


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
        cause=f"K is {k}, the columns of a, and {k_of_b}, the rows of b",
        remedy="transpose or cut one of them so that they agree",
    )


def _check_out(out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
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


def _is_apart(c: Array, a: Operand, b: Operand | PackedMatrix) -> bool:
    """Whether elements of `c` can be written in any order: none twice, none in the memory of an operand."""
    arrays = [each.array for each in (a, b) if isinstance(each, Operand)]
    return _is_distinct(c) and not any(np.may_share_memory(c, array) for array in arrays)


def _can_store_into(c: Array) -> bool:
    """Whether tiles can be stored into `c`, whose elements are distinct: adjacent columns."""
    return c.strides[-1] == c.itemsize or c.shape[-1] == 1


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


def raise_for(error: int) -> None:
    """The error that a product of C's returned, unless it is 0."""
    if error == 0:
        return
    if error == -_EINTR:
        raise_interrupt()
    if error == -_ENOMEM:
        raise errors.AllocationError(
            "no memory for the work space of a product",
            cause="an allocation failed",
            remedy="free memory or use fewer threads",
            errno=_ENOMEM,
        )
    raise AssertionError(f"the driver returned {error}, which the checks above exclude")


_read_arrays_in_place()
