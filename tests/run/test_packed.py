"""A packed matrix as a value: its type and size, its transpose, what it was packed of, and the operator @."""

import copy
import pickle

import children
import ml_dtypes
import numpy as np
import operands
import pytest

import amx


@pytest.fixture(autouse=True)
def _on(backend):
    """On every engine: all take what was packed once."""


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


def test_pack_refuses_vectors_and_other_types():
    """pack() wants at least a matrix, of a type that AMX multiplies."""
    with pytest.raises(amx.errors.ShapeError, match=r"\(5,\)"):
        amx.pack(np.ones(5, np.int8))
    with pytest.raises(amx.errors.DtypeError, match="complex128"):
        amx.pack(np.ones((2, 2), np.complex128))


@pytest.mark.parametrize("shape", [(0, 2**50), (2**50, 0), (2**40, 0, 7)])
def test_nothing_is_packed_at_once(shape):
    """However large the dimensions of an array without elements are."""
    packed = amx.pack(np.empty(shape, np.int8))
    assert (packed.shape, packed.nbytes) == (shape, 0)


def test_packed_matrix_describes_itself():
    """Shape, type and size are there to see; the padded size is at least the data's."""
    packed = amx.pack(np.ones((2, 100, 33), np.uint8))
    assert packed.shape == (2, 100, 33)
    assert packed.ndim == 3
    assert (
        packed.nbytes == 2 * 2 * 2 * 2048
    )  # 2 items, 2 panels of 32 columns, 2 chunks of 64, two tiles each
    assert "uint8" in repr(packed)


def test_packed_matrices_cannot_be_changed():
    """No attribute can be set or deleted; a copy is the same object."""
    packed = amx.pack(np.ones((64, 64), np.int8))
    for name in ("n", "k", "shape", "handle", "new"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(packed, name, 32)
    with pytest.raises(AttributeError, match="immutable"):
        del packed.handle
    assert copy.deepcopy(packed) is packed
    assert copy.copy(packed) is packed


@pytest.mark.parametrize("element", ["int8", "uint8", "bfloat16", "float16"])
def test_a_pickled_one_is_packed_again(element):
    """Of any shape, for another process and whatever engine it has."""
    b = operands.random_array(np.random.default_rng(92), (2, 70, 33), element, special=0.1)
    packed = amx.pack(b)
    again = pickle.loads(pickle.dumps(packed))
    assert type(again) is amx.PackedMatrix
    assert (again.shape, again.dtype, again.nbytes) == (packed.shape, packed.dtype, packed.nbytes)
    assert again.unpack().tobytes() == b.tobytes()


def test_another_process_multiplies_by_what_was_pickled(tmp_path):
    """By its own engine, and without ml_dtypes: the same bits."""
    b = operands.random_array(np.random.default_rng(93), (70, 33), "bfloat16")
    a = operands.random_array(np.random.default_rng(94), (5, 70), "bfloat16")
    (tmp_path / "b").write_bytes(pickle.dumps(amx.pack(b)))
    np.save(tmp_path / "a.npy", a.view(np.uint16))
    code = f"""
import sys
sys.modules["ml_dtypes"] = None
import pickle, numpy as np, amx
amx.set_backend("emulated")
packed = pickle.load(open({str(tmp_path / "b")!r}, "rb"))
print(amx.matmul(np.load({str(tmp_path / "a.npy")!r}), packed, dtype="bfloat16").tobytes().hex())
"""
    found = bytes.fromhex(children.run_python("-c", code).stdout)
    assert found == operands.expected(a, b, "bfloat16").tobytes()


WHILE_IMPORTED = """
import sys, types
import numpy as np
import amx
sys.modules["ml_dtypes"] = types.ModuleType("ml_dtypes")
print(amx.matmul(np.ones((2, 3), np.int8), amx.pack(np.ones((3, 2), np.int8))).tolist())
"""


def test_it_is_packed_while_another_thread_imports_ml_dtypes():
    """Which is in sys.modules before NumPy knows its bfloat16."""
    child = children.run_python("-c", WHILE_IMPORTED, PYTHONWARNINGS="ignore")
    assert (child.stdout, child.returncode) == ("[[3, 3], [3, 3]]\n", 0), child.stderr
