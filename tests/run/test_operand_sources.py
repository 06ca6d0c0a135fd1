"""Arrays of all kinds at every way in: what is read, and what is refused with its type, cause and remedy."""

import array
import ctypes
import re
import sys

import children
import ml_dtypes
import numpy as np
import pytest
from dlpack_exporter import Exporter

import amx
from amx import dtypes

ONES = np.ones((16, 64), np.int8)
CONFIG = amx.TileConfig.for_product("int8")


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


def load(source):
    with amx.TileContext(CONFIG) as tiles:
        tiles.load(1, source)
        return tiles.store(1)


WAYS_IN = {
    "first operand": lambda source: amx.matmul(source, ONES.T),
    "second operand": lambda source: amx.matmul(ONES.T, source),
    "packed": amx.pack,
    "first by a packed one": lambda source: amx.matmul(source, amx.pack(ONES.T)),
    "tile": load,
}


class NoDlpackHere(Exporter):
    """One whose memory is on another device, as it says when it is asked for it."""

    def __dlpack__(self, **options):
        raise BufferError("it lies on cuda:0")


class Lends:
    """Memory by NumPy's own protocol, of an object that is no array."""

    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
        self.array = array


class Copies:
    """Makes a new array each time."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array.copy()


class Sparse:
    """As SciPy's sparse matrices."""

    def toarray(self):
        """What it names."""


class Unfriendly:
    """Whatever it is asked for, its error is another than AttributeError."""

    def __getattr__(self, name):
        raise KeyError(name)


Sparse.__module__ = "scipy.sparse._csr"
MASKED = np.ma.masked_array(ONES, np.eye(16, 64, dtype=bool))

REFUSED = {
    "masked": (MASKED, "masked array.*filled"),
    "None": (None, "is None"),
    "set": ({1, 2}, "is a set"),
    "generator": ((i for i in range(3)), "is a generator"),
    "dict": ({1: 2}, "is a dict"),
    "function": (len, "is a builtin_function_or_method"),
    "object array": (np.full((16, 64), None), "rray of .*astype"),
    "structured": (np.zeros((16, 64), [("x", "i1"), ("y", "i1")]), "'x'"),
    "DLPack elsewhere": (NoDlpackHere(ONES), "NoDlpackHere.*BufferError: it lies on cuda:0"),
    "unfriendly": (Unfriendly(), "Unfriendly"),
    "sparse": (Sparse(), r"a scipy\.Sparse.*toarray\(\)"),
    "packed": (amx.pack(ONES), r"PackedMatrix.*unpack\(\)"),
    "text": (np.array([["a", "b"]]), "text|dtype"),
    "complex": (np.ones((16, 8), np.complex64), "complex64"),
    "bool": (np.ones((16, 64), bool), "bool"),
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_operand_is_named(what, way):
    """A TypeError of ours that says what it is, why not, and what to pass instead."""
    source, message = REFUSED[what]
    if what == "packed" and way == "second operand":
        return  # which it is
    with pytest.raises(TypeError) as caught:
        WAYS_IN[way](source)
    assert isinstance(caught.value, amx.AmxError)
    if what in ("structured", "text", "complex", "bool") and way == "tile":
        assert caught.value.remedy  # a tile takes bytes of any number, and says so of these
        return
    assert_matches(message, str(caught.value))


def assert_matches(message, text):
    assert re.search(message, text, re.DOTALL), text


@pytest.mark.parametrize("way", WAYS_IN)
def test_lists_of_unequal_length_are_named(way):
    """They make no array: NumPy's own error does not say whose they are."""
    with pytest.raises((amx.errors.ShapeError, amx.errors.TileDtypeError), match="is a list"):
        WAYS_IN[way]([[1, 2], [3]])


@pytest.mark.parametrize(("dtype", "message"), [
    ("V2", r"view\(np\.uint16\) and dtype=\"bfloat16\""),
    (np.int16, "If its values fit, convert a to int8 or uint8"),
    (np.uint64, "If its values fit, convert a to int8 or uint8"),
    (np.float64, "float32 and pass dtype"),
    (np.complex64, "imaginary"),
    (bool, "View a as uint8"),
    ("S3", "text"),
    (">i4", "int32"),
    (np.longdouble, "Convert it to one"),
    ("M8[s]", "datetime64"),
])  # fmt: skip
def test_element_types_that_amx_does_not_multiply(dtype, message):
    """Each with what can be done."""
    a = np.zeros((2, 3), dtype)
    with pytest.raises(amx.errors.DtypeError, match=message):
        amx.matmul(a, a.T)


def test_a_npy_file_of_bfloat16_is_two_anonymous_bytes(tmp_path):
    """What np.save makes of ml_dtypes' bfloat16, and what the error says helps."""
    a = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "a.npy", a)
    back = np.load(tmp_path / "a.npy")
    with pytest.raises(amx.errors.DtypeError, match=r"\|V2"):
        amx.matmul(back, back.T)
    bits = back.view(np.uint16)
    np.testing.assert_array_equal(amx.matmul(bits, bits.T, dtype="bfloat16"), amx.matmul(a, a.T))


@pytest.mark.parametrize("way", WAYS_IN)
def test_memory_of_other_libraries_is_read(way):
    """DLPack without any other protocol, lists and subclasses of arrays: as the array itself."""
    want = WAYS_IN[way](ONES)
    both = NoDlpackHere(ONES)
    both.__array_interface__ = ONES.__array_interface__
    sources = [Exporter(ONES), Lends(ONES), both, ONES.view(np.matrix)]
    for source in sources:
        found = WAYS_IN[way](source)
        if way == "packed":
            found, want = found.unpack(), ONES
        np.testing.assert_array_equal(found, want)


def test_tiles_load_bytes_of_any_buffer():
    """Flat buffers that are no arrays."""
    data = bytes(range(256)) * 4
    want = np.frombuffer(data, np.int8).reshape(16, 64).view(np.int32)
    sources = [data, bytearray(data), memoryview(data), array.array("b", want.tobytes())]
    sources.append((ctypes.c_char * 1024).from_buffer_copy(data))
    for source in sources:
        np.testing.assert_array_equal(load(source).view(np.int32), want)


@pytest.mark.parametrize("out", [
    np.ma.masked_array(np.zeros((16, 16), np.int32), False),
    None,
    [[0] * 16] * 16,
    Copies(np.zeros((16, 16), np.int32)),
    memoryview(np.full((16, 8), None)),
    amx.pack(ONES),
    Lends(np.full((16, 16), None)),
], ids=["masked", "None", "list", "copies", "references", "packed", "lent references"])  # fmt: skip
def test_outputs_lend_memory_without_masks(out):
    """Of products and tiles; None is a new array."""
    with amx.TileContext(CONFIG) as tiles:
        tiles.zero(0)
        if out is None:
            assert tiles.store(0, out).shape == (16, 16)
            return
        with pytest.raises(TypeError) as of_tiles:
            tiles.store(0, out)
    with pytest.raises(TypeError) as of_products:
        amx.matmul(ONES, ONES.T, out)
    for caught in (of_tiles, of_products):
        assert isinstance(caught.value, amx.AmxError)
        assert caught.value.what.startswith("out is a")
        assert caught.value.remedy


def test_read_only_outputs_are_named():
    """Arrays and buffers."""
    out = np.zeros((16, 16), np.int32)
    out.flags.writeable = False
    with amx.TileContext(CONFIG) as tiles:
        tiles.zero(0)
        for each in (out, Lends(out), bytes(1024)):
            with pytest.raises(amx.errors.BufferReadOnlyError, match=r"out is .*read-only"):
                tiles.store(0, each)
    for each in (out, Lends(out), memoryview(out)):
        with pytest.raises(amx.errors.BufferReadOnlyError):
            amx.matmul(ONES, ONES.T, each)


@pytest.mark.parametrize("way", [Lends, memoryview])
def test_outputs_are_written_where_they_lie(way):
    """Objects with NumPy's protocol, and buffers with two dimensions."""
    memory = np.zeros((16, 32), np.int32)
    out = way(memory[:, 5:21])
    assert amx.matmul(ONES, ONES.T, out=out) is out
    assert (memory[:, 5:21] == 64).all()
    assert np.count_nonzero(memory) == 256


def test_a_subclass_is_written_as_an_array():
    """A np.matrix as out of a product of vectors, whose own indexing keeps two dimensions."""
    out = np.zeros((16, 16), np.int32).view(np.matrix)
    assert amx.matmul(ONES, ONES.T, out) is out
    assert (np.asarray(out) == 64).all()


def test_out_by_position_as_numpy_takes_it():
    """The third argument is out."""
    out = np.empty((16, 16), np.int32)
    assert amx.matmul(ONES, ONES.T, out) is out
    assert (out == 64).all()


def test_images_of_a_configuration_have_no_masks():
    """Masked bytes would be loaded."""
    image = np.frombuffer(CONFIG.to_bytes(), np.uint8)
    assert amx.TileConfig.from_bytes(image) == CONFIG
    with pytest.raises(amx.errors.DtypeError, match="masked"):
        amx.TileConfig.from_bytes(np.ma.masked_array(image, False))
    with pytest.raises(amx.errors.TileConfigError, match="two integers"):
        amx.TileConfig(np.ma.masked_array([[16, 64]], [[True, False]]))


def test_every_name_of_a_type_is_known_everywhere():
    """bf16 and fp16 where a dtype is named; one table has them."""
    from amx.bench.grid import parse_case

    assert dtypes.NAMES["bf16"] is dtypes.NAMES["bfloat16"] is dtypes.parse(ml_dtypes.bfloat16)
    assert dtypes.NAMES["fp16"] is dtypes.NAMES["float16"] is dtypes.parse(np.float16)
    a = np.ones((16, 32), np.float32)
    for name, element in dtypes.NAMES.items():
        assert dtypes.parse(name) is element
        assert amx.TileConfig.for_product(name) == amx.TileConfig.for_product(element)
        assert amx.plan(16, 16, 16, name).element is element
        if element.size == 2:
            assert (amx.matmul(a, amx.pack(a.T, dtype=name), dtype=name) == 32).all()
            assert parse_case(f"1x1x1:{name}", ())[0].dtype.element is element
    with amx.TileContext(amx.TileConfig.for_product("bf16")) as tiles:
        tiles.load(1, np.zeros((16, 32), np.uint16), dtype="bf16")


@pytest.mark.parametrize(
    "dtype",
    ["bfloat", "float32", object(), np.float32, "V2", [("x", "i1")], 3, "int16", Unfriendly()],
    ids=lambda dtype: type(dtype).__name__,
)
def test_other_types_are_refused_by_name(dtype):
    """Whatever it is."""
    with pytest.raises(amx.errors.DtypeError, match=r"dtype=.*bf16"):
        amx.matmul(ONES, ONES.T, dtype=dtype)


def test_the_package_runs_as_a_module(tmp_path):
    """Python -m amx is amx."""
    command = [sys.executable, "-m", "amx", "--version"]
    result = children.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.stdout, result.returncode) == (f"linux-amx {amx.__version__}\n", 0)


def test_libraries_of_tensors_are_not_imported():
    """Who passes one has imported it; ml_dtypes is not needed either."""
    code = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np, amx
from dlpack_exporter import Exporter
from amx.dlpack import BFLOAT16
a = np.ones((4, 8), np.int8)
amx.matmul(a, amx.pack(memoryview(a.T)), out=np.empty((4, 4), np.int32))
bits = np.full((4, 8), 0x3F80, np.uint16)
a = Exporter(bits, code=4)
assert (amx.matmul(a, Exporter(bits.T, code=4)) == 8).all()
assert (a @ amx.pack(Exporter(bits.T, code=4)) == 8).all()
print({"torch", "jax"} & set(sys.modules))
"""
    done = children.run_python("-c", code, AMX_BACKEND="emulated")
    assert (done.stdout, done.returncode) == ("set()\n", 0), done.stderr
