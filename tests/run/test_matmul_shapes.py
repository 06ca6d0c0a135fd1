"""Shapes of products: vectors, batches and broadcasting as in NumPy, nothing, and what no memory holds."""

import numpy as np
import operands
import pytest

import amx

SHAPES = [
    ((5,), (5,)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((0, 5), (5, 3)),
    ((4, 0), (0, 3)),
    ((4, 5), (5, 0)),
    ((2, 4, 5), (5, 3)),
    ((4, 5), (2, 5, 3)),
    ((2, 4, 5), (2, 5, 3)),
    ((2, 1, 4, 5), (3, 5, 3)),
    ((2, 3, 4, 5), (5,)),
    ((5,), (2, 3, 5, 4)),
    ((1, 1, 1), (7, 1, 1)),
    ((0, 4, 5), (5, 3)),
    ((0, 4, 5), (1, 5, 3)),
    ((3, 4, 0), (0, 2)),
]


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_shapes_follow_numpy(backend, a_shape, b_shape):
    """Vectors, batches, broadcasting and empty dimensions give the shape and values of numpy.matmul."""
    rng = np.random.default_rng(15)
    a, b = operands.random_array(rng, a_shape, "int8"), operands.random_array(rng, b_shape, "uint8")
    want = np.matmul(a.astype(np.int64), b.astype(np.int64))
    result = amx.matmul(a, b)
    assert np.shape(result) == np.shape(want)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, want)
    if b.ndim >= 2:
        np.testing.assert_array_equal(amx.matmul(a, amx.pack(b)), want)


def test_results_larger_than_any_memory(backend):
    """Operands may be small all the same, where they are broadcast."""
    a = np.broadcast_to(np.int8(1), (2**33, 1))
    for first, second in ((a, a.T), (a[:0], np.broadcast_to(np.int8(1), (1, 2**62)))):
        with pytest.raises(MemoryError, match="larger than any memory"):
            amx.matmul(first, second)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_shapes_of_what_is_rounded_follow_numpy(backend, a_shape, b_shape, dtype):
    """float32 of either byte order, which is rounded; whole numbers stay what they are."""
    operands.need(backend, dtype)
    rng = np.random.default_rng(16)
    a, b = (rng.integers(-8, 8, shape).astype(np.float32) for shape in (a_shape, b_shape))
    want = np.matmul(a, b)
    seconds = [b, b.astype(">f4")] + ([amx.pack(b, dtype=dtype)] if b.ndim >= 2 else [])
    for first in (a, a.astype(">f4")):
        for second in seconds:
            result = amx.matmul(first, second, dtype=dtype)
            assert np.shape(result) == np.shape(want)
            assert result.dtype == np.float32
            np.testing.assert_array_equal(result, want)


def test_broadcast_views_without_memory_of_their_own(backend):
    """Operands with zero strides, in rows, columns and batches."""
    rng = np.random.default_rng(16)
    a = np.broadcast_to(operands.random_array(rng, (1, 70), "int8"), (3, 20, 70))
    b = np.broadcast_to(operands.random_array(rng, (70, 1), "int8"), (70, 40))
    np.testing.assert_array_equal(amx.matmul(a, b), a.astype(np.int64) @ b.astype(np.int64))


VAST = [
    ((2**50, 4), (4, 0)),
    ((0, 4), (4, 2**50)),
    ((2**50, 2, 4), (4, 0)),
    ((2**50, 2, 4), (2**50, 4, 0)),
    ((2**30, 2**20, 0, 4), (2**30, 1, 4, 5)),
]


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize(("a_shape", "b_shape"), VAST)
def test_vast_products_without_elements(backend, a_shape, b_shape, dtype):
    """Results without elements, however large their dimensions are, in place and converted."""
    one = np.int8(1) if dtype is None else np.uint16(0x3F80)
    a, b = np.broadcast_to(one, a_shape), np.broadcast_to(one, b_shape)
    assert amx.matmul(a, b, dtype=dtype).shape == (*a_shape[:-1], b_shape[-1])


@pytest.mark.parametrize("shape", [((1, 2**50), (2**50, 1)), ((2**50,), (2**50,))])
def test_a_k_beyond_all_memory(backend, shape):
    """It has no work space: an error of the kind that one that does not fit this machine's has."""
    a, b = (np.broadcast_to(np.int8(1), each) for each in shape)
    with pytest.raises(amx.errors.AllocationError, match="no memory"):
        amx.matmul(a, b)
