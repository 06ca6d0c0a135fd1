"""amx.dask.matmul: the products of chunks, summed in one order, lazily and with the right meta."""

import collections
import threading
import tracemalloc

import numpy as np
import pytest
from product_model import integer_product

import amx
from amx import errors

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dask_cases = pytest.importorskip("dask_cases")
tasks = pytest.importorskip("amx.dask.tasks")

pytestmark = pytest.mark.filterwarnings("ignore::amx.AmxWarning")


def integers(rng, *shape, dtype=np.int8):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape, dtype)


def bits(values):
    """Integers of few bits as those of bfloat16."""
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("_", range(10))
def test_random_products_are_the_definitions(rng, scheduler, _):
    for _ in range(25):
        lazy, a, b, of_k, dtype = dask_cases.product(rng)
        print(lazy, a.shape, b.shape, of_k, dtype)
        dask_cases.check(lazy.compute(scheduler=scheduler), dask_cases.expected(a, b, of_k, dtype), lazy)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_floats_over_one_chunk_of_k_are_amx_matmuls(rng, dtype):
    a, b = rng.standard_normal((30, 100), np.float32), rng.standard_normal((100, 20), np.float32)
    lazy = amx.dask.matmul(da.from_array(a, chunks=(7, 100)), da.from_array(b, chunks=(100, 6)), dtype=dtype)
    assert lazy.compute().tobytes() == amx.matmul(a, b, dtype=dtype).tobytes()


def test_floats_are_added_from_the_first_chunk_of_k_to_the_last():
    a, b = bits([[256, 1, 1, -256]]), bits([[65536], [1], [1], [65536]])
    lazy = amx.dask.matmul(da.from_array(a, chunks=1), da.from_array(b, chunks=1), dtype="bfloat16")
    assert lazy.compute().tolist() == [
        [0.0]
    ]  # ((2**24 + 1) + 1) - 2**24; from the last on it would be 2 or 1


def test_integers_wrap_over_chunks_of_k_without_a_word():
    a = np.full((2, 70_000), 255, np.uint8)
    lazy = amx.dask.matmul(da.from_array(a, chunks=(1, 30_000)), a[0])
    assert lazy.compute().tolist() == [255 * 255 * 70_000 - 2**32] * 2


def test_dasks_own_product_of_int8_overflows_in_each_chunk_and_this_does_not():
    a = da.full((4, 50), 100, dtype="int8", chunks=(2, 25))
    assert amx.dask.matmul(a, a.T).compute().tolist() == [[500_000] * 4] * 4
    assert da.matmul(a, a.T).compute()[0, 0] != 500_000


def test_ml_dtypes_bfloat16_is_taken_as_it_is(rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    a, b = rng.standard_normal((9, 40)).astype(bfloat16), rng.standard_normal((40, 5)).astype(bfloat16)
    for second in (b, amx.pack(b), da.from_array(b, chunks=(40, 2))):
        lazy = amx.dask.matmul(da.from_array(a, chunks=(4, 40)), second)
        assert lazy.compute().tobytes() == amx.matmul(a, b).tobytes()


def test_an_axis_without_elements(rng):
    for m, k, n in ((0, 3, 4), (3, 0, 4), (3, 4, 0)):
        lazy = amx.dask.matmul(da.zeros((m, k), dtype="int8", chunks=2), np.zeros((k, n), np.int8))
        assert lazy.compute().tolist() == np.zeros((m, n)).tolist()


def never(*_):
    raise AssertionError("computed")


def test_nothing_is_computed_until_it_is_asked_for():
    a = da.ones((4, 6), dtype="int8", chunks=3).map_blocks(
        never, dtype="int8", meta=np.empty((0, 0), np.int8)
    )
    lazy = amx.dask.matmul(a, a.T)
    assert (lazy.chunks, lazy.dtype) == (((3, 1), (3, 1)), np.int32)


def test_the_same_operands_have_the_same_keys_and_others_have_others(rng):
    a, b = integers(rng, 8, 6), integers(rng, 6, 4)

    def name(second, **options):
        return amx.dask.matmul(da.from_array(a, chunks=3), second, **options).name

    assert name(b) == name(b.copy())
    assert name(amx.pack(b)) == name(amx.pack(b))
    assert len({name(b), name(b + 1), name(amx.pack(b).unpack().view(np.uint8))}) == 3
    half = da.ones((4, 4), dtype="float32", chunks=2)
    assert amx.dask.matmul(half, half, dtype="bf16").name != amx.dask.matmul(half, half, dtype="fp16").name


@pytest.fixture
def packed(monkeypatch):
    """How often each chunk was packed, by its bytes."""
    counts, lock, real = collections.Counter(), threading.Lock(), tasks.pack_matrix

    def counting(b, dtype=None):
        with lock:
            counts[np.ascontiguousarray(b).tobytes()] += 1
        return real(b, dtype=dtype)

    monkeypatch.setattr(tasks, "pack_matrix", counting)
    return counts


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_each_chunk_that_meets_several_is_packed_once(rng, packed, scheduler):
    a, b = integers(rng, 40, 30), integers(rng, 30, 20)
    lazy = amx.dask.matmul(da.from_array(a, chunks=(4, 10)), da.from_array(b, chunks=(10, 5)))
    assert np.array_equal(lazy.compute(scheduler=scheduler), integer_product(a, b))
    assert (len(packed), set(packed.values())) == (3 * 4, {1})


def test_what_meets_one_chunk_alone_and_what_is_packed_is_not_packed(rng, packed):
    a, b = integers(rng, 4, 30), integers(rng, 30, 20)
    amx.dask.matmul(a, da.from_array(b, chunks=(10, 5))).compute()
    amx.dask.matmul(da.from_array(a, chunks=(1, 30)), amx.pack(b)).compute()
    assert not packed


def test_a_long_k_is_streamed():
    """In order, one chunk of each operand and two sums; else it would be 64 MiB."""
    k, each = 128 * 4096, 4096
    a = da.ones((64, k), dtype="int8", chunks=(64, each)).map_blocks(np.copy, dtype="int8")
    lazy = amx.dask.matmul(a, a.T)
    with dask.config.set(scheduler="synchronous"):
        lazy[:1].compute()  # what is loaded once
        tracemalloc.start()
        assert (lazy.compute() == k).all()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20


def test_from_a_memmap(rng, tmp_path):
    a = np.memmap(tmp_path / "a", np.int8, "w+", shape=(60, 50))
    a[:] = integers(rng, 60, 50)
    lazy = amx.dask.matmul(da.from_array(a, chunks=(20, 25)), integers(rng, 50, 3))
    assert lazy.compute().shape == (60, 3)
    again = amx.dask.matmul(da.from_array(a, chunks=(20, 25)), a.T)
    assert np.array_equal(again.compute(), integer_product(np.asarray(a), np.asarray(a).T))


def test_from_zarr_to_zarr(rng, tmp_path):
    zarr = pytest.importorskip("zarr")
    a, b = integers(rng, 60, 50), integers(rng, 50, 30)
    store = zarr.create_array(str(tmp_path / "a"), shape=a.shape, chunks=(20, 25), dtype=a.dtype)
    store[:] = a
    amx.dask.matmul(da.from_zarr(str(tmp_path / "a")), b).to_zarr(str(tmp_path / "c"))
    assert np.array_equal(zarr.open_array(str(tmp_path / "c"), mode="r")[:], integer_product(a, b))


ONES = np.ones((6, 4), np.int8)


def of_ones(*chunks, dtype="int8"):
    return da.ones((6, 4), dtype=dtype, chunks=chunks)


def test_mismatched_chunks_of_k_say_what_to_rechunk():
    with pytest.raises(errors.ShapeError, match=r"a\.rechunk\(\{1: 3\}\) or b\.rechunk\(\{0: 2\}\)"):
        amx.dask.matmul(of_ones(6, 2), of_ones(3, 4).T.rechunk((3, 6)))
    with pytest.raises(errors.ShapeError, match=r"a\.rechunk\(\{1: \(1, 3\)\}\) or b\.rechunk\(\{0: 2\}\)"):
        amx.dask.matmul(of_ones(6, 2), of_ones(6, 4).T.rechunk(((1, 3), 6)))


def test_chunks_of_unknown_size_are_named():
    a = of_ones(3, 4)
    with pytest.raises(errors.ShapeError, match=r"chunks of a along axis 0 .* a\.compute_chunk_sizes\(\)"):
        amx.dask.matmul(a[a[:, 0] > 0], ONES.T)
    with pytest.raises(errors.ShapeError, match=r"chunks of b along axis 1"):
        amx.dask.matmul(ONES, a[a[:, 0] > 0].T)


def foreign(kind, module, dtype="int8", **methods):
    """A dask array whose meta is of another library's class, without that library."""
    array = of_ones(3, 4, dtype=dtype)
    array._meta = type(kind, (), {"__module__": module, "dtype": np.dtype(dtype), "ndim": 2, **methods})()
    return array


def test_chunks_of_other_libraries_are_named():
    cupy = foreign("ndarray", "cupy", get=never)
    with pytest.raises(errors.DtypeError, match=r"chunks of a are of cupy\.ndarray.*chunk\.get\(\)"):
        amx.dask.matmul(cupy, ONES.T)
    sparse = foreign("COO", "sparse.numba_backend", todense=never)
    with pytest.raises(errors.DtypeError, match=r"chunks of b are of sparse\.COO.*chunk\.todense\(\)"):
        amx.dask.matmul(ONES.T, sparse)


def test_other_collections_of_dask_are_named():
    with pytest.raises(errors.DtypeError, match=r"a is a dask\.Delayed.*to_dask_array"):
        amx.dask.matmul(dask.delayed(ONES), of_ones(3, 4).T)


def test_masked_chunks_are_refused():
    masked = da.ma.masked_equal(of_ones(3, 4), 2)
    with pytest.raises(errors.DtypeError, match=r"MaskedArray.*chunk\.filled\(0\)"):
        amx.dask.matmul(masked, ONES.T)


@pytest.mark.parametrize(
    ("a", "b", "error", "words"),
    [
        (of_ones(3, 4, dtype="float32"), ONES.T, errors.DtypeError, 'dtype="bfloat16"'),
        (of_ones(3, 4, dtype="int64"), ONES.T, errors.DtypeError, "operand a is int64"),
        (of_ones(3, 4), ONES.T.astype(np.float16), errors.DtypeError, "int8 times float16"),
        (of_ones(3, 4), ONES, errors.ShapeError, "K is 4"),
        (of_ones(3, 4), da.ones((), dtype="int8"), errors.ShapeError, "scalar is no matrix"),
        (ONES, ONES.T, errors.DtypeError, "Neither is a dask array"),
        (of_ones(3, 4), [[1, 2], [3]], errors.ShapeError, "not of one length"),
        (amx.pack(ONES), of_ones(3, 4).T, errors.DtypeError, "operand a is a PackedMatrix"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(a, b, error, words):
    with pytest.raises(error, match=words):
        amx.dask.matmul(a, b)


def test_dask_knows_how_much_memory_a_packed_matrix_has(rng):
    packed = amx.pack(integers(rng, 256, 256))
    assert dask.sizeof.sizeof(packed) == packed.nbytes == 256 * 256
