"""TileContext: moving data, multiplying, and everything it refuses."""

import gc
import os
import sys
import threading
import warnings

import children
import ml_dtypes
import numpy as np
import operands
import pytest

import amx
from amx import errors, lowlevel, tile_scope
from amx.tile_config import TileConfig
from amx.tiles import TileContext

pytestmark = pytest.mark.of_tiles
INT8 = TileConfig.for_product("int8")


def vnni(b):
    """B (K, N) as rows of 4 bytes of K: b[k/g][n][k%g]."""
    g = 4 // b.itemsize
    k, n = b.shape
    return np.ascontiguousarray(b.reshape(k // g, g, n).transpose(0, 2, 1))


def bytes_of(rows=16, colsb=64, seed=1):
    return np.random.default_rng(seed).integers(-128, 128, (rows, colsb), dtype=np.int8)


PRODUCTS = [
    ("dpbssd", "int8", "int8"),
    ("dpbsud", "int8", "uint8"),
    ("dpbusd", "uint8", "int8"),
    ("dpbuud", "uint8", "uint8"),
    ("dpbf16ps", "bfloat16", "bfloat16"),
    ("dpfp16ps", "float16", "float16"),
]


@pytest.mark.parametrize(("insn", "a_element", "b_element"), PRODUCTS)
@pytest.mark.parametrize(("m", "n"), [(16, 16), (5, 3), (1, 1)])
def test_a_product_of_tiles_is_the_product_of_matrices(backend, insn, a_element, b_element, m, n):
    """Load, zero, multiply, store: every instruction, full and partial tiles."""
    operands.need(backend, a_element)
    rng = np.random.default_rng(2)
    k = 12
    a = operands.random_array(rng, (m, k), a_element, special=0.05)
    b = operands.random_array(rng, (k, n), b_element, special=0.05)
    with TileContext(TileConfig.for_product(a_element, m, n, k)) as tiles:
        tiles.load(1, a)
        tiles.load(2, vnni(b))
        tiles.zero(0)
        getattr(tiles, insn)(0, 1, 2)
        result = tiles.store(0)
    assert result.shape == (m, n)
    np.testing.assert_array_equal(operands.as_bits(result), operands.expected(a, b, a_element))


def test_products_accumulate(backend):
    """A second product adds to the first; a loaded accumulator too."""
    a, b = np.ones((16, 64), np.int8), np.ones((16, 16, 4), np.int8)
    with TileContext(INT8) as tiles:
        tiles.load(1, a)
        tiles.load(2, b)
        tiles.load(0, np.full((16, 16), 1000, np.int32))
        tiles.dpbssd(0, 1, 2)
        tiles.dpbssd(0, 1, 2)
        assert (tiles.store(0) == 1128).all()


VIEWS = {
    "contiguous": lambda x: x.copy(),
    "rows apart": lambda x: np.repeat(x, 3, axis=0)[::3],
    "reversed": lambda x: x[::-1].copy()[::-1],
    "columns of a wider array": lambda x: np.hstack([x, x, x])[:, 64:128],
    "three dimensions": lambda x: x.reshape(16, 16, 4),
    "words": lambda x: x.view(np.int32),
}


@pytest.mark.parametrize("layout", VIEWS)
@pytest.mark.parametrize("method", ["load", "loadt1"])
def test_loads_from_any_rows_of_adjacent_bytes(backend, layout, method):
    """Slices, steps and reversed rows go through one base and one stride."""
    data = bytes_of()
    with TileContext(INT8) as tiles:
        getattr(tiles, method)(1, VIEWS[layout](data))
        np.testing.assert_array_equal(tiles.store(1).view(np.int8).reshape(16, 64), data)


def test_one_row_for_all(backend):
    """A stride of zero: a broadcast row fills the tile."""
    row = bytes_of(1)
    with TileContext(INT8) as tiles:
        tiles.load(1, np.broadcast_to(row, (16, 64)))
        np.testing.assert_array_equal(tiles.store(1), np.broadcast_to(row, (16, 64)))


def test_fortran_order_where_a_stride_expresses_it(backend):
    """One element a row, or one row, is the same in Fortran order; more is refused with the remedy."""
    with TileContext(TileConfig([(16, 4), (1, 64)])) as tiles:
        column = np.asfortranarray(np.arange(16, dtype=np.int32).reshape(16, 1))
        tiles.load(0, column)
        np.testing.assert_array_equal(tiles.store(0), column)
        row = np.asfortranarray(bytes_of(1))
        tiles.load(1, row)
        np.testing.assert_array_equal(tiles.store(1), row)
    with TileContext(INT8) as tiles, pytest.raises(errors.BufferLayoutError, match=r"ascontiguousarray"):
        tiles.load(1, np.asfortranarray(bytes_of()))


def test_flat_buffers_with_offset_and_stride(backend):
    """bytes, bytearray and memoryview are read at offset + row * stride; a negative stride runs backwards."""
    memory = bytes(range(256)) * 8
    with TileContext(INT8) as tiles:
        tiles.load(1, memory, offset=3, stride=70)
        want = np.array([[memory[3 + 70 * r + c] for c in range(64)] for r in range(16)], np.uint8)
        out = bytearray(16 * 100)
        assert tiles.store(1, memoryview(out), offset=15 * 100, stride=-100) is not None
        got = np.frombuffer(out, np.uint8).reshape(16, 100)[::-1]
        np.testing.assert_array_equal(got[:, :64], want)
        assert not got[:, 64:].any()


def test_store_into_views(backend):
    """A store writes its rows and nothing between them."""
    data, frame = bytes_of(), np.full((33, 70), 9, np.int8)
    with TileContext(INT8) as tiles:
        tiles.load(1, data)
        assert tiles.store(1, frame[1::2, 3:67]) is not None
    np.testing.assert_array_equal(frame[1::2, 3:67], data)
    frame[1::2, 3:67] = 9
    assert (frame == 9).all()


def test_tiles_come_up_zero_and_typed(backend):
    """Entering zeroes all tiles; store() gives int32 until something else was loaded, bfloat16 as uint16."""
    with TileContext(INT8) as tiles:
        fresh = tiles.store(0)
        assert fresh.dtype == np.int32
        assert not fresh.any()
        tiles.load(1, np.ones((16, 32), ml_dtypes.bfloat16))
        assert tiles.store(1).dtype == np.uint16


@pytest.mark.parametrize("tile", [-1, 8, 3, 1.0, "1", None, True])
def test_a_wrong_tile_number_is_named(tile):
    """Numbers outside 0-7, tiles that are not configured, and what is no number."""
    amx.set_backend("emulated")
    with TileContext(INT8) as tiles:
        for use in (
            tiles.zero,
            tiles.store,
            lambda t: tiles.load(t, bytes_of()),
            lambda t: tiles.dpbssd(0, t, 2),
        ):
            with pytest.raises(errors.TileIndexError, match="0, 1, 2"):
                use(tile)


def refused(error, message, use, config=INT8):
    amx.set_backend("emulated")
    with TileContext(config) as tiles:
        with pytest.raises(error, match=message) as caught:
            use(tiles)
        assert isinstance(caught.value, ValueError | TypeError)
        assert caught.value.remedy
        for tile, shape in enumerate(config.tiles):
            assert shape is None or shape.colsb % 4 or not np.frombuffer(tiles.store(tile), np.uint8).any(), (
                "something was touched"
            )


def test_shapes_must_fit_the_configuration():
    """An array of other rows or bytes than the tile's is refused with both shapes."""
    refused(
        errors.TileShapeError, "15 rows of 64 bytes.*16 rows x 64 bytes", lambda t: t.load(1, bytes_of(15))
    )
    refused(errors.TileShapeError, "rows of 60 bytes", lambda t: t.load(1, bytes_of(16, 60)))
    refused(errors.TileShapeError, "rows of 128 bytes", lambda t: t.store(1, np.zeros((16, 32), np.int32)))


def test_products_must_fit_the_configuration():
    """M, N and K of the three tiles have to agree, and rows be whole 4-byte groups."""
    config = TileConfig([(16, 64), (8, 64), (16, 64), (16, 32), (7, 64), (16, 6)])
    refused(errors.TileShapeError, r"rows \(M\)", lambda t: t.dpbssd(0, 1, 2), config)
    refused(errors.TileShapeError, r"length \(N\)", lambda t: t.dpbssd(0, 2, 3), config)
    refused(errors.TileShapeError, r"\(K\)", lambda t: t.dpbssd(0, 2, 4), config)
    amx.set_backend("emulated")
    with (
        TileContext(config) as tiles,
        pytest.raises(errors.TileShapeError, match="TMM5 are no multiple of 4"),
    ):
        tiles.dpbssd(5, 0, 2)


def test_loads_and_stores_of_odd_rows_are_refused(backend):
    """Rows that are no multiple of 4 bytes cannot be moved: the CPU raises #UD for them."""
    with TileContext(TileConfig([(2, 6)])) as tiles:
        with pytest.raises(errors.TileShapeError, match="multiple of 4"):
            tiles.load(0, np.zeros((2, 6), np.int8))
        with pytest.raises(errors.TileShapeError, match="multiple of 4"):
            tiles.store(0)
        tiles.zero(0)


def test_types_must_fit_the_instruction():
    """Signedness and float formats are checked against what was loaded."""

    def load_then(use, a, b):
        def run(tiles):
            tiles.load(1, a)
            tiles.load(2, b)
            try:
                use(tiles)
            finally:
                tiles.zero(1)
                tiles.zero(2)

        return run

    signed, unsigned = bytes_of(), bytes_of().view(np.uint8)
    half = np.zeros((16, 32), np.float16)
    refused(
        errors.TileDtypeError, "uint8 in TMM1.*int8", load_then(lambda t: t.dpbssd(0, 1, 2), unsigned, signed)
    )
    refused(
        errors.TileDtypeError, "int8 in TMM2.*uint8", load_then(lambda t: t.dpbuud(0, 1, 2), unsigned, signed)
    )
    refused(errors.TileDtypeError, "float16 in TMM1", load_then(lambda t: t.dpbf16ps(0, 1, 2), half, half))
    refused(errors.TileDtypeError, "int8 in TMM1", load_then(lambda t: t.dpfp16ps(0, 1, 2), signed, half))

    def mixed_accumulator(tiles):
        tiles.load(1, signed)
        tiles.load(2, signed)
        tiles.load(0, np.zeros((16, 16), np.float32))
        try:
            tiles.dpbssd(0, 1, 2)
        finally:
            tiles.zero(1)
            tiles.zero(2)

    refused(errors.TileDtypeError, "float32 in TMM0.*int32", mixed_accumulator)


def test_uint16_is_bfloat16_only_where_said(backend):
    """uint16 multiplies after load(dtype="bfloat16"), and is refused without."""
    a = np.full((16, 32), 0x3F80, np.uint16)
    with TileContext(INT8) as tiles:
        tiles.load(1, a)
        tiles.load(2, a, dtype="bfloat16")
        with pytest.raises(errors.TileDtypeError, match=r'uint16 in TMM1.*Say dtype="bfloat16" when'):
            tiles.dpbf16ps(0, 1, 2)
        tiles.load(1, a, dtype="bfloat16")
        tiles.dpbf16ps(0, 1, 2)
        assert (tiles.store(0) == 32.0).all()


def test_three_distinct_tiles():
    """The same tile twice in a product is refused, as the CPU would with #UD."""
    for d, a, b in [(0, 0, 2), (0, 1, 0), (0, 1, 1), (2, 2, 2)]:
        refused(errors.TileOperandError, f"TMM{d}, TMM{a}, TMM{b}", lambda t, o=(d, a, b): t.dpbssd(*o))


def test_buffers_too_short():
    """A flat buffer must hold the last row and the first, whichever way the stride runs."""
    refused(errors.BufferTooShortError, "to byte 1024.*1023 bytes", lambda t: t.load(1, bytes(1023)))
    refused(errors.BufferTooShortError, "from byte -960", lambda t: t.load(1, bytes(4096), stride=-64))
    refused(errors.BufferTooShortError, "byte -1 ", lambda t: t.load(1, bytes(4096), offset=-1))
    refused(errors.BufferTooShortError, "2000 bytes", lambda t: t.store(1, bytearray(2000), stride=1000))


def test_arrays_have_strides_of_their_own():
    """offset= and stride= with an array of two dimensions are refused."""
    refused(errors.BufferLayoutError, "stride=64", lambda t: t.load(1, bytes_of(), stride=64))
    refused(errors.BufferLayoutError, "flat", lambda t: t.load(1, np.zeros(4096, np.int8)[::2]))


def test_read_only_outputs():
    """bytes, read-only memoryviews and read-only arrays are refused before anything is stored."""
    locked = np.zeros((16, 16), np.int32)
    locked.flags.writeable = False
    for out in (bytes(1024), memoryview(bytes(1024)), locked, locked.reshape(-1)):
        refused(errors.BufferReadOnlyError, "read-only", lambda t, o=out: t.store(0, o))


def test_outputs_of_another_type():
    """A float32 output for an int32 accumulator is refused; flat bytes take anything."""
    amx.set_backend("emulated")
    with TileContext(INT8) as tiles:
        tiles.load(1, bytes_of())
        tiles.load(2, bytes_of())
        tiles.dpbssd(0, 1, 2)
        with pytest.raises(errors.TileDtypeError, match="TMM0 holds int32"):
            tiles.store(0, np.zeros((16, 16), np.float32))
        assert isinstance(tiles.store(0, bytearray(1024)), bytearray)
        with pytest.raises(TypeError):
            tiles.store(0, object())


def test_closed_contexts(backend):
    """Before its with statement and after it a context refuses everything."""
    tiles = TileContext(INT8)
    for _ in range(2):
        for use in (lambda: tiles.zero(0), lambda: tiles.store(0), lambda: tiles.load(1, bytes_of())):
            with pytest.raises(errors.ContextClosedError):
                use()
        with tiles:
            tiles.zero(0)


def test_nesting_is_refused_and_leaves_the_outer_context_alone(backend):
    """A second context on the thread is an error; the first keeps its data."""
    data = bytes_of()
    with TileContext(INT8) as outer:
        outer.load(1, data)
        with pytest.raises(errors.ContextNestedError), TileContext(INT8):
            pass
        np.testing.assert_array_equal(outer.store(1), data)


def test_other_threads_have_their_own_tiles(backend):
    """A context refuses other threads, which may open their own meanwhile."""
    seen = []

    def elsewhere(tiles):
        try:
            tiles.zero(0)
        except errors.ContextThreadError as error:
            seen.append(error)
        with TileContext(INT8) as own:
            own.load(1, bytes_of(seed=2))
            seen.append(own.store(1))

    with TileContext(INT8) as tiles:
        tiles.load(1, bytes_of())
        thread = threading.Thread(target=elsewhere, args=(tiles,))
        thread.start()
        thread.join()
        np.testing.assert_array_equal(tiles.store(1), bytes_of())
    assert isinstance(seen[0], errors.ContextThreadError)
    np.testing.assert_array_equal(seen[1], bytes_of(seed=2))


def engine_of(tiles):
    return lowlevel.lib.AMX_NATIVE if tiles.backend is amx.Backend.NATIVE else lowlevel.lib.AMX_EMULATED


def test_a_foreign_configuration_is_noticed(backend):
    """When other code reconfigures or releases the tiles, the next use says so and executes nothing."""
    foreign = lowlevel.ffi.from_buffer("uint8_t[]", TileConfig([(3, 12)]).to_bytes())
    for disturb, what in [
        (lambda engine: lowlevel.lib.amx_ldtilecfg(engine, foreign), "TMM0: 3 rows x 12 bytes"),
        (lambda engine: lowlevel.lib.amx_tilerelease(engine), "released"),
    ]:
        with TileContext(INT8) as tiles:
            disturb(engine_of(tiles))
            out = np.full((16, 16), 5, np.int32)
            for use in (
                lambda t, out=out: t.store(0, out),
                lambda t: t.zero(0),
                lambda t: t.load(1, bytes_of()),
                lambda t: t.dpbssd(0, 1, 2),
            ):
                with pytest.raises(errors.ConfigurationChangedError, match=what):
                    use(tiles)
            assert (out == 5).all()


def test_a_foreign_configuration_comes_back_on_exit(backend):
    """What was configured before the context is configured after it; else the tiles are released."""
    image = TileConfig([(3, 12), None, (1, 4)]).to_bytes()
    amx.matmul(np.ones((1, 1), np.int8), np.ones((1, 1), np.int8))
    engine = lowlevel.lib.AMX_NATIVE if amx.get_backend() is amx.Backend.NATIVE else lowlevel.lib.AMX_EMULATED
    now = lowlevel.ffi.new("uint8_t[64]")
    try:
        lowlevel.lib.amx_ldtilecfg(engine, lowlevel.ffi.from_buffer("uint8_t[]", image))
        with TileContext(INT8) as tiles:
            tiles.zero(0)
        lowlevel.lib.amx_sttilecfg(engine, now)
        assert bytes(now) == image
    finally:
        lowlevel.lib.amx_tilerelease(engine)
    with pytest.raises(ZeroDivisionError), TileContext(INT8):
        raise ZeroDivisionError
    lowlevel.lib.amx_sttilecfg(engine, now)
    assert bytes(now) == bytes(64)


@pytest.mark.parametrize("packed", [False, True])
def test_matmul_inside_leaves_the_tiles_alone(backend, packed):
    """A product inside an open context gives back configuration and data, on one thread and on two."""
    data = [bytes_of(seed=seed) for seed in range(3)]
    a = np.ones((300, 300), np.int8)
    with TileContext(INT8) as tiles:
        for tile in range(3):
            tiles.load(tile, data[tile])
        for _ in range(2):
            assert (amx.matmul(a, amx.pack(a) if packed else a) == 300).all()
            assert (amx.matmul(a[:5, :7], a[:7, :9]) == 7).all()
        for tile in range(3):
            np.testing.assert_array_equal(tiles.store(tile), data[tile])


def test_a_forked_child_is_told_that_the_data_is_gone(backend):
    """In the child the context refuses with the reason, leaving it is harmless, and a new one works."""
    read, write = os.pipe()
    with TileContext(INT8) as tiles:
        tiles.load(1, bytes_of())
        child = children.fork()
        if child == 0:
            code = 1
            try:
                try:
                    tiles.store(1)
                except errors.ContextForkedError as error:
                    os.write(write, str(error).encode())
                tiles.__exit__(None, None, None)
                with TileContext(INT8) as own:
                    own.load(1, bytes_of(seed=5))
                    code = 0 if (own.store(1) == bytes_of(seed=5)).all() else 2
            finally:
                os._exit(code)
        os.close(write)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        np.testing.assert_array_equal(tiles.store(1), bytes_of())
    with os.fdopen(read) as message:
        assert "none of its tile data" in message.read()


def test_the_same_context_in_two_threads(backend):
    """While a context is open on one thread it cannot be entered on another, and goes on undisturbed."""
    context, seen = TileContext(INT8), []

    def elsewhere():
        try:
            context.__enter__()
        except errors.ContextThreadError as error:
            seen.append(error)

    with context as tiles:
        tiles.load(1, bytes_of())
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        np.testing.assert_array_equal(tiles.store(1), bytes_of())
    assert len(seen) == 1


def test_two_threads_enter_the_same_context_at_once(backend, monkeypatch):
    """The first of them has it, and the other is refused, though nothing is configured yet."""
    context, seen, find = TileContext(INT8), [], tile_scope.tile_engine

    def elsewhere():
        try:
            context.__enter__()
        except errors.ContextThreadError as error:
            seen.append(error)

    def find_later(**options):
        monkeypatch.undo()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return find(**options)

    monkeypatch.setattr(tile_scope, "tile_engine", find_later)
    with context as tiles:
        tiles.load(1, bytes_of())
        np.testing.assert_array_equal(tiles.store(1), bytes_of())
    assert len(seen) == 1


def test_a_context_left_by_another_thread_is_taken_back(backend):
    """When another thread ends a generator that holds a context, the owner's next context still works."""

    def hold():
        with TileContext(INT8) as tiles:
            yield tiles

    generator, seen = hold(), []
    next(generator)

    def elsewhere():
        try:
            generator.close()
        except errors.ContextThreadError as error:
            seen.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(seen) == 1
    with TileContext(INT8) as tiles:
        tiles.load(1, bytes_of())
        np.testing.assert_array_equal(tiles.store(1), bytes_of())


def test_only_plain_numbers_go_through_tiles():
    """References, records, text and foreign byte orders are refused both ways: no crash, no wrong number."""
    others = [np.zeros((16, 8), object), np.zeros((16, 16), ">i4"), np.zeros((16, 32), ">f2")]
    others += [np.zeros((16, 1), "V64"), np.zeros((16, 16), "S4"), np.zeros((16, 16), "U1")]
    others += [np.zeros((16, 16), [("x", "i4")]), np.zeros((16, 8), "M8[s]"), np.zeros((16, 64), bool)]
    for other in others:
        refused(errors.TileDtypeError, "convert nothing", lambda t, o=other: t.load(1, o))
        refused(errors.TileDtypeError, "convert nothing", lambda t, o=other: t.store(1, o))


def test_offsets_of_numpy_integers_do_not_wrap():
    """NumPy's narrow integers as offset and stride are checked by their value."""
    for stride in (np.uint16(4370), np.int16(2185), np.uint8(80)):
        out = bytearray(1100)
        refused(errors.BufferTooShortError, "1100 bytes", lambda t, s=stride, o=out: t.store(0, o, stride=s))
    with TileContext(INT8) as tiles, pytest.raises(TypeError):
        tiles.load(1, bytes(2048), offset=1.0)


def test_outputs_must_be_memory_of_their_own():
    """An object that only makes copies of itself as arrays cannot be written to."""

    class Copies:
        def __array__(self, dtype=None, copy=None):
            return np.zeros((16, 16), np.int32)

    amx.set_backend("emulated")
    with TileContext(INT8) as tiles, pytest.raises(TypeError):
        tiles.store(0, Copies())


def test_flat_arrays_of_any_number(backend):
    """One-dimensional arrays are flat buffers, bfloat16 too, which exports no buffer of its own."""
    flat = np.arange(512).astype(ml_dtypes.bfloat16)
    with TileContext(INT8) as tiles:
        tiles.load(1, flat)
        np.testing.assert_array_equal(tiles.store(1).reshape(-1), flat.view(np.uint16))
        out = np.zeros(512, ml_dtypes.bfloat16)
        assert tiles.store(1, out) is out
        np.testing.assert_array_equal(out, flat)


def test_a_config_is_needed():
    """TileContext of anything but a TileConfig is a TypeError that names it."""
    with pytest.raises(TypeError, match="NoneType"):
        TileContext(None)


def test_start_row_is_for_debuggers():
    """A configuration with start_row would make the first load skip rows: refused."""
    with pytest.raises(errors.TileConfigError, match="start_row=3"):
        TileContext(TileConfig([(16, 64)], start_row=3))


@pytest.mark.parametrize(("insn", "group"), [("dpbssd", "int8"), ("dpbf16ps", "bf16"), ("dpfp16ps", "fp16")])
def test_products_need_their_bit_natively(backend, monkeypatch, insn, group):
    """On the CPU's tiles a product that the CPU does not announce raises FeatureError, naming the leaf."""
    hidden = {amx.cpu.Feature(f"amx_{group}")}
    monkeypatch.setattr(amx.cpu, "features", lambda: frozenset(amx.cpu.Feature) - hidden)
    amx.set_backend(backend)
    with warnings.catch_warnings(), TileContext(INT8) as tiles:
        warnings.simplefilter("error")
        if backend == "emulated":
            getattr(tiles, insn)(0, 1, 2)
        else:
            with pytest.raises(errors.FeatureError, match=r"\[\d+\]"):
                getattr(tiles, insn)(0, 1, 2)


def test_contexts_leak_nothing(backend):
    """A thousand contexts leave no reference to theirs behind."""
    config = TileConfig([(1, 4)])
    before = sys.getrefcount(config)
    for _ in range(1000):
        with TileContext(config) as tiles:
            tiles.zero(0)
    del tiles
    gc.collect()
    assert sys.getrefcount(config) == before
