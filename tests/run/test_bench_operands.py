"""The data that `amx bench` multiplies: dense, repeatable, aligned, rows apart where that is asked for."""

import ml_dtypes
import numpy as np
import pytest
from benching import case

from amx.bench.grid import Case, Dtype, Shape
from amx.bench.operands import aligned, make_operands
from amx.bench.ours import Kernel


@pytest.mark.parametrize("dtype", Dtype)
def test_operands_are_dense_and_the_same_for_a_seed(dtype):
    product = Case(Shape(40, 30, 50, 3), dtype)
    one, again, other = (make_operands(product, seed) for seed in (1, 1, 2))
    assert one.a.shape == (3, 40, 50)
    assert one.b.shape == (3, 50, 30)
    assert (one.a_float32 != 0).all()
    assert (one.b_float32 != 0).all()
    np.testing.assert_array_equal(one.a, again.a)
    assert (one.a != other.a).any()
    assert (one.b_float32 < 0).any()


@pytest.mark.parametrize("dtype", Dtype)
def test_rows_lie_a_leading_dimension_apart(dtype):
    """Those of both operands, and of the kernel's result; what lies between is dense too."""
    operands = make_operands(Case(Shape(4, 3, 5, batch=2, ld=8), dtype), 1)
    kernel = Kernel.of(operands, 1)
    for array, rows, columns in ((operands.a, 4, 5), (operands.b, 5, 3), (kernel.result, 4, 3)):
        assert array.shape == (2, rows, columns)
        assert array.strides == (rows * 8 * array.itemsize, 8 * array.itemsize, array.itemsize)
    assert np.count_nonzero(operands.a.base) == operands.a.base.size


def test_an_int8_first_operand_is_the_same_numbers_as_uint8():
    a = make_operands(case("40x30x50"), 1).a
    np.testing.assert_array_equal(a, a.view(np.uint8))


def test_bfloat16_bits_are_read_as_their_values():
    operands = make_operands(case("4x3x5:bf16"), 1)
    np.testing.assert_array_equal(operands.a_float32, operands.a.view(ml_dtypes.bfloat16).astype(np.float32))


def test_aligned_memory_is_aligned():
    assert all(aligned(size).ctypes.data % 64 == 0 for size in (1, 64, 100, 4096))
