"""Random operands for matrix products: shapes, types, strides, batches, and awkward values."""

import ml_dtypes
import numpy as np
import product_model
import pytest

import amx

PAIRS = [
    ("int8", "int8"),
    ("int8", "uint8"),
    ("uint8", "int8"),
    ("uint8", "uint8"),
    ("bfloat16",) * 2,
    ("float16",) * 2,
]
SPECIAL = {
    "bfloat16": [0x0000, 0x8000, 0x0001, 0x807F, 0x7F80, 0xFF80, 0x7FC1, 0xFFA5, 0x7F7F, 0x0080, 0x3F80],
    "float16": [0x0000, 0x8000, 0x0001, 0x83FF, 0x7C00, 0xFC00, 0x7E01, 0xFD55, 0x7BFF, 0x0400, 0x3C00],
}
# Of both operands, which fit each other.
BATCHES = [((), ())] * 4 + [
    ((2,), ()), ((), (3,)), ((3,), (3,)), ((2, 1), (3,)), ((3,), (1,)), ((1,), (3,)), ((2, 3), (3,)),
    ((2, 3), (2, 1)), ((2, 1, 2), (3, 1)), ((0,), (1,)),
]  # fmt: skip


def need(backend, element):
    """Skip the test where the CPU's tiles do not have the element type."""
    if backend == "native" and element == "float16" and not amx.available("fp16"):
        pytest.skip("this CPU has no AMX-FP16 to run natively")


def pairs_of(backend):
    """The pairs of element types that a backend multiplies here."""
    missing = backend == "native" and not amx.available("fp16")
    return [pair for pair in PAIRS if not (missing and pair[0] == "float16")]


def ones(shape, dtype=np.int8):
    return np.ones(shape, dtype)


def random_array(rng, shape, element, special=0.0):
    """An array of an element type; `special`: the share of NaN, infinities, denormals and zeros in floats."""
    if element in ("int8", "uint8"):
        limits = np.iinfo(element)
        return rng.integers(limits.min, limits.max + 1, shape, dtype=element)
    dtype = ml_dtypes.bfloat16 if element == "bfloat16" else np.float16
    array = rng.standard_normal(shape).astype(np.float32).astype(dtype)
    if special:
        pattern = array.view(np.uint16)
        chosen = rng.random(shape) < special
        pattern[chosen] = rng.choice(np.array(SPECIAL[element], np.uint16), int(chosen.sum()))
    return array


def random_strides(rng, array):
    """The same values in another memory layout."""
    kind = rng.integers(5)
    if kind == 0 or array.ndim < 2:
        return array
    if kind == 1:
        return np.asfortranarray(array)
    if kind == 2:
        return np.ascontiguousarray(array[..., ::-1, :])[..., ::-1, :]
    if kind == 3:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    wide = np.zeros((*array.shape[:-2], array.shape[-2] * 2 + 1, array.shape[-1] * 3 + 2), array.dtype)
    view = wide[..., 1::2, 2::3]
    view[...] = array
    return view


def expected(a, b, element):
    """The result by the oracle, as int32 or as the bits of float32."""
    if a.dtype.itemsize == 1:
        return product_model.integer_product(a, b)
    a, b = a.view(np.uint16), b.view(np.uint16)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
    result = np.empty((*batch, a.shape[-2], b.shape[-1]), np.uint32)
    for index in np.ndindex(batch):
        result[index] = product_model.float_product(a[index], b[index], element)
    return result


def as_bits(result):
    """What to compare exactly: float32 by its bits."""
    return result.view(np.uint32) if result.dtype == np.float32 else result
