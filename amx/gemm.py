"""Matrix products, in the shape of `numpy.matmul`.

Results are int32 modulo 2**32 for the integers, as the hardware computes them, and float32 for bfloat16 and
float16 in one defined order of operations (docs/numerics.md): the same bits on every backend, packed or
not, with any number of threads.
"""

from __future__ import annotations

import errno
from typing import Any, NoReturn, final

import numpy as np

from amx import threads
from amx._lib import CData, ffi
from amx.arrays import Array
from amx.backend import _engines
from amx.dtypes import RESULTS, empty
from amx.in_place import multiply_arrays
from amx.interrupts import raise_interrupt
from amx.operands import Operand
from amx.packing import Packed, packed_as
from amx.parts import most_bytes, multiply
from amx.product import Product, resolve
from amx.shapes import of_matrices
from amx.tensors import like, written

__all__ = ["PackedMatrix", "matmul", "pack"]

_ndarray = np.ndarray
_NULL = ffi.NULL
# By the dtypes of operands that are multiplied as they are; known once they have been multiplied.
_instructions: dict[tuple[np.dtype[Any], np.dtype[Any]], int] = {}


def matmul(a: object, b: object, out: object = None, *, dtype: object = None) -> Any:
    """Matrix product of `a` and `b` with the shapes, batches and broadcasting of `numpy.matmul`.

    Parameters
    ----------
    a: array (..., M, K) or (K,): of NumPy, a torch tensor, a JAX array, or whatever lends memory of the CPU
        by DLPack, `__array_interface__` or the buffer protocol. It is read where it lies. Without a mask.
    b: array (..., K, N) or (K,), of these kinds, or a `PackedMatrix`.
        Element types: int8 and uint8 in all four combinations; bfloat16 (of ml_dtypes, torch, JAX, DLPack);
        float16. Any strides.
    out: array of the result's shape and dtype, of these kinds but for JAX's, to write into and return. Any
        strides; it may overlap the operands.
    dtype: `"bfloat16"` (or `"bf16"`) reads uint16 as bfloat16 bits and rounds float32 operands to it (to
        nearest, ties to even); `"float16"` (or `"fp16"`) rounds float32 operands to it. Nothing else is
        converted.

    Returns
    -------
    int32 (modulo 2**32) for 8-bit integers; float32 for bfloat16 and float16, in the order docs/numerics.md
    defines. It is `out`, if given. Else it is of the kind of the first operand that is a torch.Tensor or a
    jax.Array, without a copy (but JAX copies what is under 128 KiB), and without such operands of NumPy.

    Raises
    ------
    DtypeError: types that AMX does not multiply, or `out` of another dtype than the result; tensors that
        require grad, are not on the CPU, sparse, quantised, traced by JAX, or of a subclass of torch.Tensor.
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

    Within what torch.compile() compiles, call `torch.compiler.disable(amx.matmul)`; within jax.jit(),
    jax.pure_callback().

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


def _at_once(op: int, a: Array, b: int, packed: CData, shape: tuple[int, ...], out: object) -> Array | None:
    """The product of arrays of two dimensions or more, or None where C does not take them as they are.

    `b` is the id of the second operand's array, or 0, and `shape` its shape.
    """
    engine = _engines[op]
    if engine is None:
        return None
    result = out
    if out is None:
        shape = (*a.shape[:-1], shape[-1]) if len(shape) == 2 else of_matrices(a.shape, shape)
        try:
            result = empty(shape, RESULTS[op])
        except MemoryError:  # which stands, unless the operands do not fit
            return None
    if type(result) is _ndarray and result.dtype is RESULTS[op]:
        error = multiply_arrays(engine, op, threads.limit, id(a), b, packed, id(result))
        if not error:
            return result
        if error == -errno.EINTR:  # a signal's handler raised
            raise_interrupt()
    return None


def _product(a: object, b: object, out: object, dtype: object) -> Any:
    product = resolve(a, b, out, dtype)
    if dtype is None and _is_plain(a) and _is_plain(b):
        assert isinstance(product.b, Operand)
        _instructions[product.a.array.dtype, product.b.array.dtype] = product.op
    may_be_at_once = product.conversion <= most_bytes()
    if may_be_at_once:
        product.convert()
    c = empty(product.result, RESULTS[product.op]) if product.out is None else product.out
    if not (may_be_at_once and _multiplied_at_once(product, c)):
        if product.out is not None and not product.is_apart(product.out):
            c = empty(product.result, RESULTS[product.op])
        multiply(product.op, product.a, product.b, c)
    if product.out is None:
        return like((a, b), c if product.shape == product.result else c.reshape(product.shape)[()])
    if c is not product.out:
        product.out[...] = c
    written(out)
    return out


def _multiplied_at_once(product: Product, c: Array) -> bool:
    """As `_at_once`, into `c`; whether C has taken them."""
    if isinstance(product.b, Packed):
        b, packed, shape = 0, product.b._handle, product.b._shape
    else:
        b, packed, shape = id(product.b.array), _NULL, product.b.array.shape
    return _at_once(product.op, product.a.array, b, packed, shape, c) is not None


def _is_plain(operand: object) -> bool:
    return type(operand) is _ndarray and operand.dtype.isnative


@final
class PackedMatrix(Packed):
    """The second operand of `amx.matmul`, packed by `amx.pack`. Immutable; may be shared by threads.

    `a @ packed` is `amx.matmul(a, packed)`. It is no array: NumPy's own functions refuse it.
    """

    __array_ufunc__ = None  # so that an array leaves `array @ packed` to __rmatmul__
    __slots__ = ()

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("PackedMatrix has no subclasses: what it says of its memory has to be true")

    def __rmatmul__(self, a: object) -> Any:
        return matmul(a, self)

    def __matmul__(self, b: object) -> Any:
        return matmul(self, b)  # which says why not


def pack(b: object, *, dtype: object = None) -> PackedMatrix:
    """Pack a second operand once, to multiply with it many times, on every backend.

    It can be pickled: where it is loaded, on another machine too, the same elements are packed again.

    Parameters
    ----------
    b: array (..., K, N) of int8, uint8, bfloat16, float16; or uint16 or float32 with `dtype`. Any strides,
        of the kinds that `matmul` reads; without a mask. It is copied.
    dtype: `"bfloat16"` (or `"bf16"`) reads uint16 as its bits and rounds float32 to it; `"float16"` (or
        `"fp16"`) rounds float32 to it.

    Raises
    ------
    DtypeError: an element type that AMX does not multiply.
    ShapeError: fewer than two dimensions.
    AllocationError: no memory for the packed form (for rounded elements: NumPy's MemoryError).
    KeyboardInterrupt, or whatever the handler of a signal raises that arrives meanwhile.
    """
    return packed_as(PackedMatrix, b, dtype)
