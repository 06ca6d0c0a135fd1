"""The shortest way of a product: arrays that C reads where they lie."""

import errno

import ml_dtypes
import numpy as np
import pytest

import amx
from amx import gemm, in_place
from amx.lowlevel import ffi, lib


def call(a, packed, out):
    return lib.amx_gemm_arrays(lib.AMX_EMULATED, lib.AMX_TDPBSSD, 1, id(a), 0, packed._handle, id(out))


def arrays():
    a = np.arange(-8, 8, dtype=np.int8).reshape(2, 8)
    return a, amx.pack(np.eye(8, 3, dtype=np.int8)), np.empty((2, 3), np.int32)


def test_c_reads_arrays_where_they_lie():
    """Two C-contiguous matrices that fit are multiplied: the trial at import found the fields."""
    a, packed, out = arrays()
    assert call(a, packed, out) == 0
    np.testing.assert_array_equal(out, a[:, :3])


def test_fields_that_lie_elsewhere_are_not_read_again(monkeypatch):
    """Where the first trial finds other values, no second array is looked at, and products take long ways."""
    reads = []

    class Elsewhere:
        """Arrays whose fields are zero."""

        def __getattr__(self, name):
            return getattr(lib, name)

        def amx_arrays_read(self, array, found):
            reads.append(array)

    a, packed, out = arrays()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(in_place, "lib", Elsewhere())
            in_place.read_arrays_in_place()
        assert len(reads) == 1
        assert call(a, packed, out) == -errno.ENOSYS
        amx.set_backend("emulated")
        np.testing.assert_array_equal(amx.matmul(a, packed), a[:, :3])
    finally:
        in_place.read_arrays_in_place()
    assert call(a, packed, out) == 0


def read_only(array):
    array.flags.writeable = False
    return array


REFUSED = {
    "another K": lambda a, out: (a[:, :7].copy(), out),
    "one dimension": lambda a, out: (a.reshape(16), out),
    "three dimensions": lambda a, out: (a[None], out),
    "out of another M": lambda a, out: (a, np.empty((3, 3), np.int32)),
    "out of another N": lambda a, out: (a, np.empty((2, 4), np.int32)),
    "out with columns apart": lambda a, out: (a, np.empty((2, 6), np.int32)[:, ::2]),
    "out whose rows go up": lambda a, out: (a, out[::-1]),
    "out whose rows overlap": lambda a, out: (a, np.lib.stride_tricks.as_strided(out, (2, 3), (4, 4))),
    "out of fewer items": lambda a, out: (np.stack([a, a]), out[None]),
    "out of more items": lambda a, out: (a[None], np.stack([out, out])),
    "out of more dimensions": lambda a, out: (a, out[None]),
    "out of no dimension": lambda a, out: (a, np.empty((), np.int32)),
    "out read-only": lambda a, out: (a, read_only(out)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_c_refuses_what_does_not_fit(case):
    """Nothing is multiplied of arrays with another shape, layout or right than the shortest way is for."""
    a, packed, out = arrays()
    a, out = REFUSED[case](a, out)
    assert call(a, packed, out) == -errno.EINVAL


def test_c_refuses_an_output_in_an_operand():
    """Anywhere in the batch: each item's output may be apart from its own operands and not from others'."""
    memory = np.zeros(4096, np.uint8)
    a = memory[:96].view(np.int8).reshape(3, 4, 8)
    out = memory[48:].view(np.int32)[:36].reshape(3, 4, 3)
    packed = amx.pack(np.ones((3, 8, 3), np.int8))
    assert call(a, packed, out) == -errno.EXDEV
    assert call(a, packed, memory[96:].view(np.int32)[:36].reshape(3, 4, 3)) == 0
    a = np.lib.stride_tricks.as_strided(memory.view(np.int8), (2, 3, 4, 8), (2048, 32, 8, 1))
    packed = amx.pack(np.ones((8, 3), np.int8))
    assert call(a, packed, memory[2000:].view(np.int32)[:72].reshape(2, 3, 4, 3)) == -errno.EXDEV
    assert call(a, packed, memory[2144:].view(np.int32)[:72].reshape(2, 3, 4, 3)) == 0


def test_c_refuses_outputs_that_overlap_each_other():
    """Items of a batch whose memory is shared, or in turns, are no place for tiles."""
    a, packed = np.zeros((3, 4, 8), np.int8), amx.pack(np.ones((3, 8, 3), np.int8))
    memory = np.zeros(100, np.int32)
    for strides in ((0, 12, 4), (44, 12, 4), (12, 36, 4)):
        out = np.lib.stride_tricks.as_strided(memory, (3, 4, 3), strides)
        assert call(a, packed, out) == -errno.EINVAL
    assert call(a, packed, np.lib.stride_tricks.as_strided(memory, (3, 4, 3), (48, 12, 4))) == 0
    a, packed = np.zeros((2, 3, 4, 8), np.int8), amx.pack(np.zeros((8, 3), np.int8))
    for outer, error in ((144, -errno.EINVAL), (164, -errno.EINVAL), (168, 0), (180, 0), (200, 0)):
        out = np.lib.stride_tricks.as_strided(memory, (2, 3, 4, 3), (outer, 60, 12, 4))
        assert call(a, packed, out) == error


BATCHES = [
    ((3, 4, 70), (70, 33)),
    ((3, 4, 70), (3, 70, 33)),
    ((2, 3, 4, 70), (2, 3, 70, 33)),
    ((2, 3, 4, 70), (70, 33)),
    ((3, 4, 70), (1, 70, 33)),
    ((1, 4, 70), (3, 70, 33)),
    ((4, 70), (3, 70, 33)),
    ((4, 70), (1, 1, 70, 33)),
    ((1, 1, 4, 70), (2, 70, 33)),
    ((2, 3, 4, 70), (3, 70, 33)),
    ((3, 4, 70), (2, 1, 70, 33)),
    ((2, 3, 4, 70), (2, 1, 70, 33)),
    ((2, 1, 4, 70), (1, 3, 70, 33)),
    ((3, 1, 70), (70, 33)),
    ((2, 3, 1, 70), (2, 1, 70, 33)),
    ((1, 4, 70), (0, 70, 33)),
    ((1, 4, 70), (1, 70, 33)),
    ((0, 4, 70), (0, 70, 33)),
    ((3, 0, 70), (3, 70, 33)),
    ((3, 4, 0), (3, 0, 33)),
]


@pytest.mark.parametrize(("a_shape", "b_shape"), BATCHES)
def test_batches_are_read_in_place_too(backend, a_shape, b_shape, monkeypatch):
    """Batches of up to two axes, each operand its own, or broadcast: NumPy's products."""
    rng = np.random.default_rng(52)
    a = rng.integers(-128, 128, a_shape, dtype=np.int8)
    b = rng.integers(-128, 128, b_shape, dtype=np.int8)
    want = np.matmul(a.astype(np.int64), b.astype(np.int64))
    np.testing.assert_array_equal(amx.matmul(a, b), want)  # the first time decides the engine
    monkeypatch.setattr(gemm, "_product", lambda *_: "the long way")
    out = np.empty((*want.shape[:-1], 40), np.int32)[..., 3:36]
    assert amx.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(amx.matmul(a, b), want)
    np.testing.assert_array_equal(amx.matmul(a[..., ::-1, :], b), want[..., ::-1, :])
    np.testing.assert_array_equal(amx.matmul(a, b.swapaxes(-1, -2).copy().swapaxes(-1, -2)), want)
    np.testing.assert_array_equal(amx.matmul(a, amx.pack(b)), want)
    if a.ndim == 3:  # items in turns
        np.testing.assert_array_equal(amx.matmul(np.asfortranarray(a), np.asfortranarray(b)), want)


@pytest.mark.parametrize("operand", ["a", "b", "out"])
def test_batches_that_are_no_one_step_apart(backend, operand):
    """Two times three matrices with a gap between the threes: NumPy's products, and the gap is left alone."""
    rng = np.random.default_rng(54)
    a = rng.integers(-128, 128, (2, 3, 4, 70), dtype=np.int8)
    b = rng.integers(-128, 128, (2, 3, 70, 33), dtype=np.int8)
    want = np.matmul(a.astype(np.int64), b.astype(np.int64))
    out = np.empty(want.shape, np.int32)

    def spread(array):
        wide = np.full((2, 4, *array.shape[2:]), 77, array.dtype)
        wide[:, :3] = array
        return wide

    for _ in range(2):  # the first time may take the longer way
        arrays = {"a": a, "b": b, "out": out}
        wide = spread(arrays[operand])
        arrays[operand] = wide[:, :3]
        assert amx.matmul(arrays["a"], arrays["b"], out=arrays["out"]) is arrays["out"]
        np.testing.assert_array_equal(arrays["out"], want)
        assert (wide[:, 3] == 77).all()


def test_batches_of_more_axes_take_the_long_way(backend):
    """Three axes that make no one step together are multiplied all the same."""
    rng = np.random.default_rng(55)
    a = rng.integers(-128, 128, (2, 1, 3, 4, 70), dtype=np.int8)
    b = rng.integers(-128, 128, (5, 1, 70, 33), dtype=np.int8)
    wide = np.zeros((2, 5, 4, 5, 33), np.int32)
    out = wide[:, :, :3, :4]
    want = np.matmul(a.astype(np.int64), b.astype(np.int64))
    for second in (b, amx.pack(b)):
        out[:] = 0
        error = lib.amx_gemm_arrays(
            lib.AMX_EMULATED,
            lib.AMX_TDPBSSD,
            1,
            id(a),
            id(b),
            ffi.NULL if second is b else second._handle,
            id(out),
        )
        assert error == -errno.EINVAL
        assert amx.matmul(a, second, out=out) is out
        np.testing.assert_array_equal(out, want)
        assert (wide[:, :, 3:] == 0).all()
        assert (wide[:, :, :, 4:] == 0).all()


def test_operands_that_do_not_fit_are_named_before_memory_is(backend, monkeypatch):
    """K that differs is the error, even where there is no memory for a result of that shape."""
    a, b = np.ones((2, 3), np.int8), np.ones((4, 5), np.int8)
    amx.matmul(a, b[:3])  # from now on this is the shortest way

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(gemm, "empty", no_memory)
    with pytest.raises(amx.errors.ShapeError, match=r"K is 3, the columns of a, and 4, the rows of b"):
        amx.matmul(a, b)
    with pytest.raises(MemoryError):
        amx.matmul(a, b[:3])


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_large_results_begin_on_a_line(backend, dtype):
    """256 x 128 elements of 4 bytes, so that no row of a tile lies in two lines."""
    a = np.ones((256, 3), np.int8 if dtype is None else np.float32)
    for b in (a[:3].T, a[:128].T):
        for second in (b, amx.pack(b, dtype=dtype)):
            found = amx.matmul(a, second, dtype=dtype)
            assert (found == 3).all()
            assert found.nbytes < 1 << 17 or found.ctypes.data % 64 == 0


def test_products_take_the_shortest_way(monkeypatch):
    """All element types with arrays that carry them; what is rounded comes back to it."""
    amx.set_backend("emulated")
    for dtype in (np.int8, np.uint8, np.float16, ml_dtypes.bfloat16):
        a, b = np.ones((3, 4), dtype), np.ones((4, 5), dtype)
        amx.matmul(a, b)
        with monkeypatch.context() as patch:
            patch.setattr(gemm, "_product", lambda *_: "the long way")
            out = np.empty((3, 5), np.int32 if a.itemsize == 1 else np.float32)
            for second in (b, amx.pack(b)):
                assert amx.matmul(a, second, out=out) is out
                assert (out == 4).all()
                assert (amx.matmul(a, second) == 4).all()
                out[:] = 0
            assert amx.matmul(a, b[:, 0]) == "the long way"
            assert amx.matmul(a.astype(np.float64), b) == "the long way"


def test_other_byte_orders_are_not_read_in_place(monkeypatch):
    """A big-endian array is converted each time."""
    amx.set_backend("emulated")
    a = np.arange(12, dtype=np.float16).reshape(3, 4)
    want = amx.matmul(a, a.T)
    for _ in range(2):
        np.testing.assert_array_equal(amx.matmul(a.astype(">f2"), a.T), want)
        np.testing.assert_array_equal(amx.matmul(a.astype(">f2"), amx.pack(a.T)), want)


def test_what_is_read_is_what_numpy_says():
    """Address, shape, strides and flags of views of any layout."""
    found = ffi.new("struct amx_array *")
    base = np.arange(60, dtype=np.float32).reshape(6, 10)
    for view in (base, base[::-2, 3:], base.T, base[:0], read_only(base[1:2, ::3])):
        lib.amx_arrays_read(id(view), found)
        assert found.data == view.__array_interface__["data"][0]
        assert (found.dimensions, found.flags) == (2, view.flags.num)
        assert (tuple(found.shape), tuple(found.strides)) == (view.shape, view.strides)
