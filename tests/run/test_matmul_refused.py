"""What a product refuses, by a named error with a remedy."""

import numpy as np
import pytest
from operands import ones

import amx

REFUSED = [
    (ones((2, 3)), ones((4, 2)), {}, amx.errors.ShapeError, "K is 3, the columns of a, and 4, the rows of b"),
    (ones((2, 3)), np.int8(1), {}, amx.errors.ShapeError, "scalar"),
    (ones((2, 2, 3)), ones((3, 3, 2)), {}, amx.errors.ShapeError, "do not broadcast"),
    (ones((2, 3), np.float32), ones((3, 2), np.float32), {}, amx.errors.DtypeError, "float32.*to round it"),
    (ones((2, 3), np.float64), ones((3, 2), np.float64), {}, amx.errors.DtypeError, "float64"),
    (ones((2, 3), np.uint16), ones((3, 2), np.uint16), {}, amx.errors.DtypeError, "bits of bfloat16"),
    (ones((2, 3)), ones((3, 2), np.float16), {}, amx.errors.DtypeError, "int8 times float16"),
    (ones((2, 3)), ones((3, 2)), {"dtype": "float16"}, amx.errors.DtypeError, "int8 and dtype='float16'"),
    (ones((2, 3)), ones((3, 2)), {"dtype": "float32"}, amx.errors.DtypeError, "dtype='float32'"),
    (
        ones((2, 3)),
        ones((3, 2)),
        {"out": np.empty((3, 2), np.int32)},
        amx.errors.ShapeError,
        r"shape \(3, 2\)",
    ),
    (ones((2, 3)), ones((3, 2)), {"out": np.empty((2, 2), np.int64)}, amx.errors.DtypeError, "out is int64"),
    (ones((2, 3)), ones((3, 2)), {"out": [[0, 0], [0, 0]]}, amx.errors.DtypeError, "out is a list"),
]


@pytest.mark.parametrize(("a", "b", "options", "error", "message"), REFUSED)
def test_bad_input_gets_its_named_error(a, b, options, error, message):
    """Each refusal names the value and is also a ValueError or TypeError; nothing has been written."""
    amx.set_backend("emulated")
    with pytest.raises(error, match=message) as caught:
        amx.matmul(a, b, **options)
    assert isinstance(caught.value, ValueError | TypeError)
    assert caught.value.remedy


@pytest.mark.parametrize("out", [np.zeros((2, 2), np.int32), [[0, 0], [0, 0]]], ids=["int32", "list"])
@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}], ids=["as they are", "rounded"])
def test_no_way_takes_another_out(out, options):
    """After a product of the same kind too, when C is called at once: plain and packed."""
    amx.set_backend("emulated")
    a, b = (ones(shape, np.float32 if options else np.float16) for shape in ((2, 3), (3, 2)))
    for second in (b, amx.pack(b, **options)):
        amx.matmul(a, second, **options)
        with pytest.raises(amx.errors.DtypeError, match="out is"):
            amx.matmul(a, second, out=out, **options)
        assert np.all(np.array(out) == 0)


def test_read_only_out_is_refused():
    """An output that may not be written is named before anything is computed."""
    out = np.zeros((2, 2), np.int32)
    out.flags.writeable = False
    for b in (ones((3, 2)), amx.pack(ones((3, 2)))):
        with pytest.raises(amx.errors.BufferReadOnlyError):
            amx.matmul(ones((2, 3)), b, out=out)


def test_packed_operands_are_checked_too():
    """K and types of a packed operand are refused as those of an array, on the short way and the long one."""
    packed = amx.pack(ones((4, 2)))
    with pytest.raises(amx.errors.ShapeError, match="K is 3"):
        amx.matmul(ones((2, 3)), packed)
    with pytest.raises(amx.errors.DtypeError, match="float16 times int8"):
        amx.matmul(ones((2, 4), np.float16), packed)
    with pytest.raises(amx.errors.ShapeError, match="out has shape"):
        amx.matmul(ones((2, 4)), packed, out=np.empty((2, 3), np.int32))


def test_masked_arrays_are_refused():
    """A mask would be ignored: the error says so."""
    masked, plain = np.ma.masked_array(ones((2, 2)), [[True, False], [False, False]]), ones((2, 2))
    for use in (
        lambda: amx.matmul(masked, plain),
        lambda: amx.matmul(plain, masked),
        lambda: amx.pack(masked),
    ):
        with pytest.raises(amx.errors.DtypeError, match="masked"):
            use()


@pytest.mark.parametrize("sizes", [(1, 1, 2**62), (2**63 - 1, 1, 1), (1, 2**70, 1), (-1, 1, 1)])
def test_plans_of_impossible_sizes(sizes):
    """Sizes that no array has are refused, not wrapped."""
    amx.set_backend("emulated")
    with pytest.raises(amx.errors.ShapeError, match="negative, or larger"):
        amx.plan(*sizes, "bfloat16")


def test_too_many_dimensions():
    """More dimensions than NumPy broadcasts are refused by number."""
    a = np.zeros((1,) * 35, np.int8)
    with pytest.raises(amx.errors.ShapeError, match="35"):
        amx.matmul(a, a)
