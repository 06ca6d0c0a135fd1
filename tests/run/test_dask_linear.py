"""amx.dask.linear: a layer's own results for each row, with its weights in the graph once."""

import pickle

import numpy as np
import pytest

import amx
from amx import errors

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
tasks = pytest.importorskip("amx.dask.tasks")

pytestmark = pytest.mark.filterwarnings("ignore::amx.AmxWarning")


def floats(rng, *shape):
    return rng.standard_normal(shape, np.float32)


LAYERS = {
    "int8": lambda w: amx.Linear(w, np.arange(len(w), dtype=np.float32), activation="gelu"),
    "symmetric": lambda w: amx.Linear(w, activations="dynamic-symmetric"),
    "uint4": lambda w: amx.Linear(amx.quantize(w, "uint4", group=32, symmetric=False)),
    "bfloat16": lambda w: amx.Linear(w, dtype="bfloat16", out_dtype="bfloat16"),
    "float16": lambda w: amx.Linear(w, dtype="float16", out_dtype="float16"),
    "to uint8": lambda w: amx.Linear(w, out_dtype=(0.1, 128, "uint8")),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_rows_have_the_layers_own_results(rng, kind):
    layer, x = LAYERS[kind](floats(rng, 9, 64)), floats(rng, 3, 50, 64)
    lazy = amx.dask.linear(da.from_array(x, chunks=(2, (20, 1, 29), 64)), layer)
    assert (lazy.chunks, lazy.dtype) == (((2, 1), (20, 1, 29), (9,)), layer(x).dtype)
    assert lazy.compute().tobytes() == layer(x).tobytes()


def test_a_vector_is_a_row(rng):
    layer, x = amx.Linear(floats(rng, 9, 64)), floats(rng, 64)
    assert amx.dask.linear(da.from_array(x), layer).compute().tobytes() == layer(x).tobytes()


def test_the_number_of_rows_may_be_unknown(rng):
    layer, x = amx.Linear(floats(rng, 9, 64)), floats(rng, 50, 64)
    kept = da.from_array(x, chunks=(20, 64))
    kept = kept[kept[:, 0] > 0]
    assert amx.dask.linear(kept, layer).compute().tobytes() == layer(x[x[:, 0] > 0]).tobytes()


def test_the_partitions_of_a_dataframe_become_rows_of_float32(rng):
    pandas = pytest.importorskip("pandas")
    frames = pytest.importorskip("dask.dataframe")
    layer, x = amx.Linear(floats(rng, 9, 4)), floats(rng, 50, 4).astype(np.float64)
    frame = pandas.DataFrame(x, columns=list("abcd")).assign(c=range(50))
    lazy = amx.dask.linear(frames.from_pandas(frame, npartitions=3), layer)
    assert (lazy.shape[1], lazy.dtype, lazy.numblocks) == (9, np.float32, (3, 1))
    assert lazy.compute().tobytes() == layer(frame.to_numpy(np.float32)).tobytes()
    with pytest.raises(errors.DtypeError, match=r"column 'd' of x is .*select_dtypes"):
        amx.dask.linear(frames.from_pandas(frame.assign(d="text"), npartitions=3), layer)


def test_the_weights_are_one_task_named_by_what_they_are(rng):
    weight, x = floats(rng, 9, 64), da.from_array(floats(rng, 50, 64), chunks=(10, 64))

    def keys(w):
        graph = amx.dask.linear(x, amx.Linear(w)).__dask_graph__()
        return [key for key in graph if isinstance(key, str) and key.startswith("amx-layer-")]

    assert len(keys(weight)) == 1
    assert keys(weight) == keys(weight.copy()) != keys(weight * 2)


def test_a_layer_that_is_passed_on_is_not_made(rng, monkeypatch):
    """As by a scheduler, which loads graphs and sends parts of them on."""
    layer, x = amx.Linear(floats(rng, 9, 64)), floats(rng, 5, 64)
    sent = pickle.dumps(tasks.Sealed(layer))
    with monkeypatch.context() as patched:
        patched.setattr("amx.layer._made", lambda *_: pytest.fail("made"))
        passed_on = pickle.dumps(pickle.loads(sent))
    assert tasks.opened(pickle.loads(passed_on))(x).tobytes() == layer(x).tobytes()


def test_dask_knows_how_much_memory_a_layer_has(rng):
    layer = amx.Linear(floats(rng, 256, 256))
    assert dask.sizeof.sizeof(layer) == layer.nbytes > 256 * 256


def test_what_is_wrong_is_said_before_anything_is_computed(rng):
    layer, x = amx.Linear(floats(rng, 9, 64)), floats(rng, 50, 64)
    cut = da.from_array(x, chunks=(10, 32))
    with pytest.raises(errors.ShapeError, match=r"K of x is in 2 chunks.*x\.rechunk\(\{1: 64\}\)"):
        amx.dask.linear(cut, layer)
    with pytest.raises(errors.DtypeError, match=r"x is of float64.*astype"):
        amx.dask.linear(cut.astype(np.float64), layer)
    with pytest.raises(errors.ShapeError, match=r"rows of 64 elements"):
        amx.dask.linear(cut[:, :32], layer)
    with pytest.raises(errors.DtypeError, match="neither a dask array nor a dask dataframe"):
        amx.dask.linear(x, layer)
    with pytest.raises(errors.DtypeError, match=r"Pass an amx\.Linear"):
        amx.dask.linear(cut, x)
