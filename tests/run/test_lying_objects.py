"""What objects say of themselves, and what changes while it is looked at, moves no byte of foreign memory.

Where the code were wrong, it would write or read in the arrays of these tests, a few hundred bytes aside.
"""

import copy
import errno
import pickle
import sys

import children
import numpy as np
import pytest

import amx
from amx.lowlevel import ffi, lib

# What these tests do on purpose; NumPy 2.5 and newer would rather have a view.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")

ONES = np.ones((4, 64), np.int8)
EYE = np.eye(64, 8, dtype=np.int8)
FULL, SMALL = amx.TileConfig([(16, 64)]), amx.TileConfig([(1, 4)])


@pytest.fixture
def frame():
    """Memory whose bytes 1000-1003 are for a store."""
    return np.zeros(4096, np.uint8)


def untouched(frame):
    return not frame[:1000].any() and not frame[1004:].any()


# tiles


def assign(tiles):
    tiles.config = SMALL


CHANGES = {
    "assigning it": assign,
    "making its TileConfig anew": lambda tiles: tiles.config.__init__([(1, 4)]),
    "making the context anew": lambda tiles: tiles.__init__(SMALL),
}


@pytest.mark.parametrize("way", CHANGES)
def test_the_configuration_of_an_open_context_stays(backend, frame, way):
    with amx.TileContext(FULL) as tiles:
        tiles.load(0, np.full((16, 64), 7, np.uint8))
        with pytest.raises(AttributeError, match=r"make another one|TileContext\(config\)"):
            CHANGES[way](tiles)
        assert tiles.config == FULL
        with pytest.raises(amx.errors.BufferTooShortError):
            tiles.store(0, frame[1000:1004])
        assert (tiles.store(0) == 7).all()
    assert not frame.any()


def test_changed_shapes_of_a_configuration_do_not_reach_the_tiles(backend, frame):
    """Frozen dataclasses can be made anew in place; what a context uses is its own."""
    config = amx.TileConfig([(16, 64)])
    with amx.TileContext(config) as tiles:
        for shape in (config.tiles[0], tiles.config.tiles[0]):
            shape.__init__(1, 4)
        tiles.load(0, np.full((16, 64), 7, np.uint8))
        with pytest.raises(amx.errors.BufferTooShortError):
            tiles.store(0, frame[1000:1004])
    assert not frame.any()


class OtherBytes(amx.TileConfig):
    def to_bytes(self):
        return FULL.to_bytes()


class ShortBytes(amx.TileConfig):
    def to_bytes(self):
        return b"\1"


class OtherTiles(amx.TileConfig):
    """With the larger tile, once the smaller one has been seen."""

    answers = ()

    def __getattribute__(self, name):
        if name == "tiles" and OtherTiles.answers:
            return OtherTiles.answers.pop() if len(OtherTiles.answers) > 1 else OtherTiles.answers[0]
        return super().__getattribute__(name)


class Unchecked(amx.TileConfig):
    def validate(self, palette):
        pass


@pytest.mark.parametrize("kind", [OtherBytes, ShortBytes, OtherTiles])
def test_a_configuration_that_answers_otherwise_configures_what_it_said_once(
    backend, frame, kind, monkeypatch
):
    config = kind([(1, 4)])
    monkeypatch.setattr(OtherTiles, "answers", [FULL.tiles, SMALL.tiles])
    with amx.TileContext(config) as tiles:
        assert tiles.config == SMALL
        tiles.store(0, frame[1000:1004])
        current = ffi.new("uint8_t[64]")
        lib.amx_sttilecfg(lib.AMX_NATIVE if backend == "native" else lib.AMX_EMULATED, current)
        assert bytes(current) == SMALL.to_bytes()
    assert not frame.any()


def test_a_configuration_that_checks_nothing_is_checked(backend):
    """LDTILECFG would raise #GP, which ends the process."""
    with pytest.raises(amx.errors.TileConfigError, match="200 rows"):
        amx.TileContext(Unchecked([(200, 64)]))


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_context_has_no_copies(backend, way):
    with amx.TileContext(FULL) as tiles, pytest.raises(TypeError, match="cannot be copied or pickled"):
        way(tiles)


# packed matrices

FORGED = {
    "made of nothing": "amx.PackedMatrix((64, 8), packed.element, amx.lowlevel.ffi.NULL)",
    "made anew": "packed.__init__((64, 8), packed.element, amx.lowlevel.ffi.NULL)",
    "with a state": "packed.__setstate__((None, {'_shape': (10000, 64, 64)}))",
    "with another shape": "object.__setattr__(packed, 'shape', (10000, 64, 64))",
    "with the shape of its class": "type(packed).shape.__set__(packed, (10000, 64, 64))",
    "with another instruction": "packed.instructions.update({np.dtype('i1'): lib.AMX_TDPBF16PS})",
    "of another class": "packed.__class__ = Claims",
}


@pytest.mark.parametrize("way", FORGED)
def test_a_packed_matrix_stays_what_pack_made(way):
    """In a child, which would end by a signal."""
    code = f"""
import amx, numpy as np
from amx.lowlevel import lib
class Claims:
    __slots__ = ("_element", "_handle", "_instructions", "_shape")
packed = amx.pack(np.ones((64, 64), np.int8))
try:
    {FORGED[way]}
except (AttributeError, TypeError) as error:
    print("refused")
assert packed.shape == (64, 64)
assert (amx.matmul(np.ones((4, 64), np.int8), packed) == 64).all()
"""
    done = children.run_python("-c", code, AMX_BACKEND="emulated")
    assert (children.how_it_ended(done), done.stdout) == (0, "refused\n"), done.stderr


def test_a_packed_matrix_has_no_subclasses():
    with pytest.raises(TypeError, match="no subclasses"):
        type("Lie", (amx.PackedMatrix,), {"shape": (10000, 64, 64)})


def test_what_claims_to_be_a_packed_matrix_is_none():
    class Claims:
        __class__ = amx.PackedMatrix
        shape = (10000, 64, 8)
        element = amx.pack(EYE).element
        _shape, _element, _handle = shape, element, amx.pack(EYE)._handle

    with pytest.raises(amx.errors.DtypeError, match="operand b is "):
        amx.matmul(ONES, Claims())
    with pytest.raises(amx.errors.DtypeError, match="operand a is "):
        amx.matmul(Claims(), EYE)


def multiply(packed, n, batch, items):
    """4 x 64 ones by each of `items`, in C."""
    c = np.zeros((max(batch, 1), 4, 64), np.int32)
    steps = np.zeros(batch, np.int64)
    return lib.amx_gemm_packed(
        lib.AMX_EMULATED, lib.AMX_TDPBSSD, 1, 4, n, 64, 0, batch,
        ffi.from_buffer(ONES), 64, 1, ffi.from_buffer("int64_t[]", steps),
        packed._handle, ffi.NULL if items is None else ffi.new("int64_t[]", items),
        ffi.from_buffer(c), 256, ffi.from_buffer("int64_t[]", np.arange(batch) * c[0].nbytes),
    )  # fmt: skip


@pytest.mark.parametrize("n", [0, 7, 9, 64, -1])
def test_c_multiplies_by_as_many_columns_as_were_packed(n):
    """C is made by the caller's number of them."""
    assert multiply(amx.pack(EYE), n, 1, [0]) == -errno.EINVAL
    assert multiply(amx.pack(EYE), 8, 1, [0]) == 0


def test_c_multiplies_by_items_that_were_packed():
    packed = amx.pack(np.stack([EYE, EYE]))
    assert multiply(packed, 8, 3, [1, 0, 1]) == 0
    for items in ([0, 0, 2], [-1, 0, 0], [0, 2**62, 0]):
        assert multiply(packed, 8, 3, items) == -errno.EINVAL
    nothing = amx.pack(np.empty((0, 64, 8), np.int8))
    assert multiply(nothing, 8, 1, None) == -errno.EINVAL
    assert multiply(nothing, 8, 0, None) == 0


# arrays of other classes


class Claim:
    writeable = c_contiguous = True
    data = 8


class Odd(np.ndarray):
    """An array that says everything wrong about itself."""

    flags = ctypes = property(lambda self: Claim())
    shape = property(lambda self: (400, 400))
    strides = property(lambda self: (1, 1))
    dtype = property(lambda self: np.dtype(np.int8))
    ndim, size, nbytes, itemsize = 2, 160000, 160000, 1
    __array_interface__ = property(lambda self: {"data": (8, False), "shape": (400, 400), "typestr": "|i1"})

    def __array__(self, *_, **__):
        raise AssertionError("NumPy does not ask an array")

    def __getitem__(self, index):
        raise AssertionError("nor do we")


def test_an_output_is_what_numpy_knows_of_it(backend):
    """Its memory, shape and dtype, whatever attributes of a subclass say."""
    plain = np.zeros((4, 8), np.int32)
    odd = plain.view(Odd)
    assert amx.matmul(ONES, EYE, out=odd) is odd
    assert plain.tolist() == (ONES.astype(int) @ EYE).tolist()
    with amx.TileContext(amx.TileConfig([(4, 32)])) as tiles:
        plain[:] = 1
        assert tiles.store(0, odd) is odd
        assert not plain.any()
        tiles.load(0, np.full((4, 8), 3, np.int32).view(Odd))
        assert (tiles.store(0) == 3).all()


def test_an_output_that_says_it_is_writable_is_not_written(backend):
    plain = np.zeros((4, 8), np.int32)
    plain.flags.writeable = False
    with pytest.raises(amx.errors.BufferReadOnlyError):
        amx.matmul(ONES, EYE, out=plain.view(Odd))
    with (
        amx.TileContext(amx.TileConfig([(4, 32)])) as tiles,
        pytest.raises(amx.errors.BufferReadOnlyError),
    ):
        tiles.store(0, plain.view(Odd))
    assert not plain.any()


def test_operands_are_what_numpy_knows_of_them(backend):
    want = (ONES.astype(int) @ EYE).tolist()
    a, b = ONES.view(Odd), EYE.view(Odd)
    assert amx.matmul(a, b).tolist() == amx.matmul(a, amx.pack(b)).tolist() == want


def test_an_output_that_claims_to_be_an_array_is_named():
    """NumPy would make a new one of it, and the result be lost with that."""

    class Claims:
        __class__ = np.ndarray
        flags = Claim()

        def __array__(self, *_, **__):
            return np.zeros((4, 8), np.int32)

    with pytest.raises(amx.errors.DtypeError, match=r"out is .*Claims"):
        amx.matmul(ONES, EYE, out=Claims())


def test_an_operand_may_change_another_while_it_is_read(backend):
    """What is multiplied is what the arrays are when all have been read."""
    a, out = np.ones((2, 8), np.float16), np.zeros((4, 3), np.float32)
    views = []

    class Changes:
        def __init__(self, array, **attributes):
            self.array, self.attributes = array, attributes

        def __array__(self, *_, **__):
            for name, value in self.attributes.items():
                setattr(a, name, value)
            views.append(a.view())
            return self.array

    with pytest.raises(amx.errors.DtypeError, match="int8 times float16"):
        amx.matmul(a, Changes(np.ones((16, 3), np.float16), dtype=np.int8))
    a.dtype = np.float16
    assert amx.matmul(a, Changes(np.ones((4, 3), np.float16), shape=(4, 4)), out=out) is out
    assert (out == 4).all()
    assert views[-1].shape == (4, 4)


def masked(array):
    return np.ma.masked_array(array, mask=True)


class GivesMasked:
    def __array__(self, *_, **__):
        return masked(np.ones((4, 64), np.int8))


@pytest.mark.parametrize(
    "operand",
    [[masked(row) for row in ONES], (tuple(ONES[0]), masked(ONES[1])), [[masked(ONES)]], GivesMasked()],
    ids=["a list", "a tuple", "lists in lists", "__array__"],
)
def test_masks_within_others_are_refused(operand):
    for use in (
        lambda: amx.matmul(operand, EYE),
        lambda: amx.matmul(ONES.T, operand),
        lambda: amx.pack(operand),
    ):
        with pytest.raises(amx.errors.DtypeError, match="masked"):
            use()


# what other threads do meanwhile


class Meanwhile:
    """Does something when a function is entered, or a builtin called, as another thread might."""

    def __init__(self, name, action):
        self.name, self.action, self.done = name, action, 0

    def _look(self, frame, event, argument):
        if (event == "call" and frame.f_code.co_name == self.name) or (
            event == "c_call" and argument.__name__ == self.name
        ):
            self.done += 1
            self.action()

    def __enter__(self):
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        assert self.done == 1


def test_arrays_that_are_reshaped_while_tiles_move_are_moved_as_they_were(backend):
    """16 rows of 4 bytes, which become one row of 64: their step is no step between 16 rows."""
    memory = np.arange(4096, dtype=np.uint16).astype(np.uint8)

    def array(begin):
        return memory[begin : begin + 64].reshape(16, 4)

    def reshape(one):
        one.shape = (1, 64)

    with amx.TileContext(amx.TileConfig([(16, 4)])) as tiles:
        source, out = array(1000), array(2000)
        want, before = source.copy(), memory.copy()
        with Meanwhile("address", lambda: reshape(source)):
            tiles.load(0, source)
        with Meanwhile("address", lambda: reshape(out)):
            tiles.store(0, out)
        assert (source.shape, out.shape) == ((1, 64), (1, 64))
    before[2000:2064] = want.reshape(-1)
    np.testing.assert_array_equal(memory, before)


def test_an_array_that_is_reshaped_while_it_is_packed_is_packed_as_it_was():
    b = np.arange(128, dtype=np.int8).reshape(64, 2)
    want = b.copy()

    def reshape():
        b.shape = (2, 64)

    with Meanwhile("amx_packed_new", reshape):
        packed = amx.pack(b)
    np.testing.assert_array_equal(packed.unpack(), want)


class Exports:
    """An operand that is no array, so that the product takes no shortest way."""

    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
        self.array = array


def test_an_operand_that_is_reshaped_before_it_is_multiplied_is_multiplied_as_it_was(backend):
    """4 rows of 6, which become 6 of 4 when the result has its memory."""
    memory = np.arange(4096, dtype=np.uint16).astype(np.int8)
    a, b = memory[1000:1024].reshape(4, 6), EYE[:6, :5]

    def reshape():
        a.shape = (6, 4)

    want = a.astype(np.int32)[:, :5]
    with Meanwhile("multiply", reshape):
        found = amx.matmul(a, Exports(b))
    np.testing.assert_array_equal(found, want)


def test_an_output_that_is_reshaped_before_it_is_written_is_written_as_it_was(backend):
    """4 rows of 4, which become 2 of 8 when it is compared with the operands."""
    memory = np.zeros(1024, np.int32)
    a, out = np.arange(24, dtype=np.int8).reshape(4, 6), memory[500:516].reshape(4, 4)

    def reshape():
        out.shape = (2, 8)

    with Meanwhile("is_apart", reshape):
        assert amx.matmul(a, Exports(EYE[:6, :4]), out) is out
    np.testing.assert_array_equal(memory[500:516].reshape(4, 4), a[:, :4])
    assert not memory[:500].any()
    assert not memory[516:].any()
