"""A packed matrix as a value: its type, its transpose, what it was packed of, and the operator @."""

import children
import ml_dtypes
import numpy as np
import operands
import pytest

import amx


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


@pytest.mark.parametrize(
    "shape", [(1, 1), (64, 32), (70, 33), (3, 129, 65), (2, 3, 5, 7), (0, 5), (5, 0), (0, 3, 4)]
)
@pytest.mark.parametrize("element", ["int8", "uint8", "bfloat16", "float16"])
def test_unpacking_gives_what_was_packed(element, shape):
    """All types and remainders, stacks and nothing: the same bits, as a new array."""
    b = operands.random_array(np.random.default_rng(90), shape, element, special=0.1)
    packed = amx.pack(b)
    found = packed.unpack()
    assert found.dtype == packed.dtype == b.dtype
    assert found.shape == shape
    assert found.tobytes() == b.tobytes()
    assert found.flags.writeable


@pytest.mark.parametrize("element", ["int8", "bfloat16"])
def test_the_transpose_is_packed_too(element):
    """T is what packing the transposed array gives; of a stack it would not be a second operand."""
    b = operands.random_array(np.random.default_rng(91), (70, 33), element)
    packed = amx.pack(b).T
    assert (packed.shape, packed.dtype) == ((33, 70), b.dtype)
    assert packed.unpack().tobytes() == b.T.tobytes()
    with pytest.raises(amx.errors.ShapeError, match=r"\(2, 3, 4\).*swapaxes"):
        _ = amx.pack(np.ones((2, 3, 4), np.int8)).T


def test_what_was_rounded_is_of_the_rounded_type():
    """float32 that was packed as bfloat16 comes back as that."""
    b = np.array([[1, 1 + 2**-9]], np.float32)
    packed = amx.pack(b, dtype="bf16")
    assert packed.dtype == ml_dtypes.bfloat16
    assert packed.unpack().astype(np.float32).tolist() == [[1, 1]]


def test_without_ml_dtypes_bfloat16_is_its_bits():
    """NumPy has no other name for them."""
    code = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np, amx
packed = amx.pack(np.ones((3, 4), np.float32), dtype="bf16")
print(packed.dtype, packed.unpack().tolist() == [[0x3F80] * 4] * 3)
"""
    result = children.run_python("-c", code)
    assert result.stdout == "uint16 True\n", result.stderr


def test_the_operator_is_the_product():
    """A @ packed is amx.matmul(a, packed), for arrays, stacks and lists."""
    rng = np.random.default_rng(92)
    a, b = rng.integers(-128, 128, (5, 8), dtype=np.int8), rng.integers(-128, 128, (8, 8), dtype=np.int8)
    want, packed = a.astype(int) @ b.astype(int), amx.pack(b)
    np.testing.assert_array_equal(a @ packed, want)
    np.testing.assert_array_equal(np.stack([a, a]) @ packed, np.stack([want, want]))
    np.testing.assert_array_equal(a[0] @ packed, want[0])
    with pytest.raises(amx.errors.DtypeError, match="operand a is int64"):
        [[1] * 8] @ packed


def test_a_packed_matrix_is_no_first_operand():
    """Neither of matmul, nor of @."""
    packed = amx.pack(np.ones((8, 8), np.int8))
    for call in (
        lambda: packed @ np.ones((8, 8), np.int8),
        lambda: amx.matmul(packed, packed),
        lambda: packed @ packed,
    ):
        with pytest.raises(
            amx.errors.DtypeError, match=r"operand a is a PackedMatrix.*second operand.*unpack\(\)"
        ):
            call()


def test_numpys_functions_refuse_a_packed_matrix():
    """They would make an array of one object of it."""
    packed = amx.pack(np.ones((8, 8), np.int8))
    for function in (np.matmul, np.add):
        with pytest.raises(TypeError, match="PackedMatrix"):
            function(np.ones((8, 8), np.int8), packed)
