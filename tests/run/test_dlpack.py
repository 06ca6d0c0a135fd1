"""Memory that objects lend by DLPack: read where it lies, checked first, and given back once."""

import gc

import ml_dtypes
import numpy as np
import pytest
from dlpack_exporter import READ_ONLY, UNVERSIONED, Exporter, OldExporter

import amx
from amx import dlpack
from amx.arrays import as_array

ONES = np.ones((16, 64), np.int8)
SEED = 71


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


def address_of(array):
    return array.__array_interface__["data"][0]


LAYOUTS = {
    "rows": lambda array: array,
    "columns": lambda array: array.T,
    "steps": lambda array: array[::2, 1::3],
    "upside down": lambda array: array[::-1, ::-1],
    "broadcast": lambda array: np.broadcast_to(array[:, :1], array.shape),
    "one row": lambda array: array[3:4],
    "three dimensions": lambda array: array.reshape(4, 3, 24).transpose(1, 0, 2),
}


@pytest.mark.parametrize("kind", [Exporter, OldExporter])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "bfloat16"])
def test_products_of_lent_memory(kind, layout, dtype):
    """NumPy's of the same numbers, which are small and make no rounding; nothing is copied."""
    rng = np.random.default_rng(SEED)
    low = 0 if dtype == "uint8" else -9
    whole = rng.integers(low, 9, (12, 24)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    a = LAYOUTS[layout](whole)
    want = np.matmul(a.astype(np.int64), a.swapaxes(-1, -2).astype(np.int64))
    lent = kind(a)
    for second in (kind(a.swapaxes(-1, -2)), amx.pack(kind(a.swapaxes(-1, -2)))):
        found = amx.matmul(lent, second)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, want)
    assert address_of(as_array(lent, "a")) == address_of(a)


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16", "?"])
def test_numbers_of_any_type_are_read(dtype):
    """NumPy reads the same of the hand-made exporter, so that its capsules are right."""
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert (np.from_dlpack(Exporter(array)) == array).all()
    found = as_array(Exporter(array), "a")
    assert found.dtype == array.dtype
    assert (found == array).all()


def test_bfloat16_is_known_by_its_type():
    """Without ml_dtypes, under a name of our own."""
    array = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    found = as_array(Exporter(array), "a")
    assert found.dtype == dlpack.BFLOAT16
    assert (found["bfloat16"] == array.view(np.uint16)).all()
    assert address_of(found) == address_of(array)


def test_no_strides_are_rows_without_gaps():
    """As versions before 1.2 allow."""
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    np.testing.assert_array_equal(as_array(Exporter(array, strides=None), "a"), array)


def test_the_step_of_one_row_is_none():
    """Whatever it is."""
    row = np.arange(8, dtype=np.int16).reshape(1, 8)
    np.testing.assert_array_equal(as_array(Exporter(row, strides=(2**62, 1)), "a"), row)


def test_a_byte_offset_is_added():
    array = np.arange(24, dtype=np.int16)
    lent = Exporter(array[:20], byte_offset=8)
    np.testing.assert_array_equal(as_array(lent, "a"), array[4:])


def test_the_version_is_negotiated():
    """The newest that is understood is named; who does not know the word is asked without."""
    lent = Exporter(ONES)
    as_array(lent, "a")
    assert lent.asked == [{"max_version": (1, 0)}]
    old = OldExporter(ONES)
    as_array(old, "a")
    assert old.asked == [{"stream": None}]


@pytest.mark.parametrize("kind", [Exporter, OldExporter])
def test_memory_is_given_back_once_with_the_last_view(kind):
    """The exporter may go before; a view of a view keeps the memory."""
    lent = kind(ONES.copy())
    array = as_array(lent, "a")
    view = array[2:, ::2][1:]
    del array
    gc.collect()
    assert lent.deleted == 0
    assert view.sum() == 13 * 32
    del view
    gc.collect()
    assert lent.deleted == 1


@pytest.mark.parametrize("kind", [Exporter, OldExporter])
def test_products_give_everything_back(kind):
    """A result is new memory; what is packed, too."""
    a, b = kind(ONES), kind(ONES.T)
    packed = amx.pack(b)
    found = amx.matmul(a, packed), amx.matmul(a, b)
    gc.collect()
    assert (a.deleted, b.deleted) == (2, 2)
    assert all((each == 64).all() for each in found)


HALVES = np.ones((4, 8), np.float16)
UNTRUE = {
    "no memory": (ONES, {"data": None}, "no memory is at 0x0"),
    "no memory, with an offset": (ONES, {"data": None, "byte_offset": 64}, "no memory is at 0x40"),
    "negative dimensions": (ONES, {"ndim": -1}, "it says -1 dimensions"),
    "65 dimensions": (ONES, {"ndim": 65}, "it says 65 dimensions"),
    "no shape": (ONES, {"shape": None}, "2 dimensions and has no shape"),
    "a negative length": (ONES, {"shape": (16, -64)}, r"no memory holds its shape \(16, -64\)"),
    "a length without end": (ONES, {"shape": (2**62, 2)}, "no memory holds its shape"),
    "bytes without end": (HALVES, {"shape": (2**31, 2**31)}, "no memory holds its shape"),
    "none of many": (ONES, {"shape": (0, 2**63 - 1)}, None),
    "none of too many": (HALVES, {"shape": (0, 2**62)}, "no memory holds its shape"),
    "a step without end": (ONES, {"strides": (2**60, 1)}, "no memory is at"),
    "bytes of a step without end": (HALVES, {"strides": (2**62, 1)}, "no memory is at"),
    "a step to before all memory": (ONES, {"strides": (-(2**60), 1)}, "no memory is at"),
    "an offset without end": (ONES, {"byte_offset": 2**64 - 1}, "no memory is at"),
    "half an element": (HALVES, {"byte_offset": 1}, "elements of 2 bytes do not begin at"),
    "two lanes": (ONES, {"lanes": 2}, "of DLPack type 0 with 8 bits and 2 lanes"),
    "no lanes": (ONES, {"lanes": 0}, "0 lanes"),
    "float8": (ONES, {"code": 10}, "DLPack type 10 with 8 bits"),
    "bfloat8": (ONES, {"code": 4}, "DLPack type 4 with 8 bits"),
    "four bits": (ONES, {"bits": 4}, "DLPack type 0 with 4 bits"),
    "another device inside": (ONES, {"device_type": 2}, "in the memory of a CUDA device"),
    "another device": (ONES, {"device": (10, 0)}, "in the memory of a ROCm device"),
    "a device of no name": (
        ONES,
        {"device": (77, 0)},
        r"in the memory of a foreign device \(DLPack type 77\)",
    ),
    "host memory of CUDA": (ONES, {"device": (3, 0)}, "CUDA host"),
    "a device that is none": (ONES, {"device": None}, "conversion raised TypeError"),
    "a newer version": (ONES, {"version": (2, 0)}, "no DLPack capsule of version 1"),
    "a used capsule": (ONES, {"name": b"used_dltensor"}, "no DLPack capsule of version 1"),
    "a capsule of something else": (ONES, {"name": b"arrow_array"}, "no DLPack capsule of version 1"),
}


@pytest.mark.parametrize("what", UNTRUE)
def test_descriptions_that_cannot_be_true_are_refused(what):
    """As an operand, to be packed, for a tile and as an output; and what was lent is given back."""
    array, fields, message = UNTRUE[what]
    lent = Exporter(array, **fields)
    if message is None:
        assert as_array(lent, "a").shape == (0, 2**63 - 1)
        return
    ways = [
        lambda: amx.matmul(lent, ONES),
        lambda: amx.matmul(ONES, lent),
        lambda: amx.pack(lent),
        lambda: amx.matmul(ONES, ONES.T, out=lent),
    ]
    for way in ways:
        with pytest.raises(
            amx.errors.DtypeError, match=r"(operand|out).* is a dlpack_exporter\.Exporter"
        ) as caught:
            way()
        if way is not ways[-1]:
            caught.match(message)
    with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles, pytest.raises(amx.errors.DtypeError):
        tiles.load(1, lent)
    del caught
    gc.collect()
    has_destructor = "name" not in fields
    assert lent.deleted == (len(lent.asked) if has_destructor else 0)


class Answers(Exporter):
    """What it is asked for comes from elsewhere."""

    def __init__(self, answer):
        super().__init__(ONES)
        self.answer = answer

    def __dlpack__(self, **options):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer", [None, 5, b"dltensor", ONES, BufferError("it is lent already"), KeyError("x")]
)
def test_what_is_no_capsule_is_named(answer):
    """Whatever it is, or is raised."""
    message = repr(type(answer).__name__)[1:-1] if isinstance(answer, Exception) else "no DLPack capsule"
    with pytest.raises(amx.errors.DtypeError, match=message):
        amx.matmul(Answers(answer), ONES)


@pytest.mark.parametrize("name", [None, UNVERSIONED])
def test_no_elements_need_no_memory(name):
    """K of 0 is a product of zeros, and M of 0 none."""
    options = {} if name is None else {"name": name}
    a, b = (
        Exporter(np.ones((3, 0), np.int8), data=None, **options),
        Exporter(np.ones((0, 4), np.int8), **options),
    )
    assert amx.matmul(a, b).tolist() == np.zeros((3, 4)).tolist()
    assert amx.matmul(Exporter(np.ones((0, 4), np.int8), data=None), ONES[:4]).shape == (0, 64)


def test_a_scalar_is_no_matrix():
    with pytest.raises(amx.errors.ShapeError, match="A scalar is no matrix"):
        amx.matmul(Exporter(np.array(1, np.int8)), ONES)


def test_outputs_are_written_where_they_lie():
    """A versioned capsule says that it may be."""
    memory = np.zeros((16, 32), np.int32)
    lent = Exporter(memory[:, ::2])
    assert amx.matmul(ONES, ONES.T, out=lent) is lent
    assert (memory[:, ::2] == 64).all()
    assert not memory[:, 1::2].any()
    with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
        tiles.zero(0)
        whole = Exporter(np.full((16, 16), 7, np.int32))
        assert tiles.store(0, whole) is whole
    assert not whole.array.any()


@pytest.mark.parametrize("lent", [
    Exporter(np.zeros((16, 16), np.int32), flags=READ_ONLY),
    OldExporter(np.zeros((16, 16), np.int32)),
], ids=["flagged", "unversioned"])  # fmt: skip
def test_outputs_that_do_not_say_that_they_may_be_written_are_not(lent):
    """Before version 1.0 nobody could say so."""
    with pytest.raises(amx.errors.BufferReadOnlyError, match="out is read-only"):
        amx.matmul(ONES, ONES.T, out=lent)
    assert not lent.array.any()
