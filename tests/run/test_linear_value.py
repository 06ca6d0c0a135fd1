"""A layer as a value: what it says of itself, that it stays so, copies, threads, and arrays of others."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import children
import ml_dtypes
import numpy as np
import pytest
from linear_cases import as_words

import amx

RNG = np.random.default_rng(140)
WEIGHT = RNG.standard_normal((33, 70)).astype(np.float32)
BIAS = RNG.standard_normal(33).astype(np.float32)
X = RNG.standard_normal((5, 70)).astype(np.float32)
LAYERS = {
    "int8": lambda: amx.Linear(WEIGHT, BIAS, activation="gelu"),
    "int8 without bias": lambda: amx.Linear(WEIGHT, activations="dynamic-symmetric"),
    "uint8": lambda: amx.Linear(amx.quantize(WEIGHT, "uint8", symmetric=False), BIAS),
    "of each row": lambda: amx.Linear(amx.quantize(WEIGHT, axis=0, symmetric=False), BIAS),
    "static": lambda: amx.Linear(WEIGHT, activations=(0.1, 100, "uint8"), out_dtype=(0.25, -3, "int8")),
    "bfloat16": lambda: amx.Linear(WEIGHT, BIAS, dtype="bf16", out_dtype="bf16"),
    "float16": lambda: amx.Linear(WEIGHT, dtype="float16", activation="relu"),
}


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


def test_it_says_what_it_is():
    said = repr(amx.Linear(WEIGHT, BIAS, activation="gelu"))
    nbytes = 2 * 2 * 2048 + 3 * 4 * 33  # panels of 32 columns, of 64 bytes of K; scales, sums and bias
    assert said == (
        "Linear(in_features=70, out_features=33, bias=True, dtype=int8, activation=gelu, "
        f"activations=dynamic, out_dtype=float32, nbytes={nbytes})"
    )
    said = repr(amx.Linear(WEIGHT, dtype="bf16", out_dtype=(0.5, 3, "uint8")))
    assert said == (
        "Linear(in_features=70, out_features=33, bias=False, dtype=bfloat16, out_dtype=(0.5, 3, 'uint8'), "
        f"nbytes={2 * 3 * 2048})"
    )


def test_what_it_was_made_of():
    layer = amx.Linear(WEIGHT, BIAS, activation="silu", activations=(0.5, 3, np.uint8), out_dtype=np.float16)
    assert (layer.in_features, layer.out_features, layer.dtype) == (70, 33, "int8")
    assert (layer.activation, layer.activations, layer.out_dtype) == ("silu", (0.5, 3, "uint8"), "float16")
    assert layer.bias.tolist() == BIAS.tolist()
    want = amx.quantize(WEIGHT, axis=0)
    for name in ("values", "scale", "zero_point", "axis", "dtype"):
        np.testing.assert_array_equal(getattr(layer.weight, name), getattr(want, name))
    rounded = amx.Linear(WEIGHT, dtype="bfloat16")
    assert rounded.weight.dtype == np.float32
    np.testing.assert_array_equal(rounded.weight, WEIGHT.astype(ml_dtypes.bfloat16).astype(np.float32))
    assert (rounded.activations, rounded.bias) == (None, None)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantised_weights_come_back_as_they_were(dtype, axis):
    given = amx.quantize(WEIGHT, dtype, axis=axis, symmetric=False)
    found = amx.Linear(given).weight
    for name in ("values", "scale", "zero_point", "axis", "group", "dtype", "order"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))


def test_a_quantized_sample_is_a_static_scale():
    sample = amx.quantize(X, "uint8", symmetric=False)
    layer = amx.Linear(WEIGHT, activations=sample, out_dtype=amx.quantize(X))
    assert layer.activations == (float(sample.scale), int(sample.zero_point), "uint8")
    assert layer.out_dtype == (float(amx.quantize(X).scale), 0, "int8")
    assert layer(X).dtype == np.int8


def test_it_does_not_change(layer):
    for name in ("bias", "weight", "activation", "anything"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(layer, name, None)
    with pytest.raises(AttributeError, match="immutable"):
        del layer._steps
    with pytest.raises(AttributeError, match="make another one"):
        layer.__init__(np.ones((2, 3)))
    assert copy.copy(layer) is layer
    assert copy.deepcopy(layer) is layer


def test_what_it_was_made_of_may_change():
    weight, bias = WEIGHT.copy(), BIAS.copy()
    layers = [amx.Linear(weight, bias, dtype=dtype) for dtype in ("int8", "bf16")]
    layers.append(amx.Linear(amx.Quantized(values := np.ones((33, 70), np.int8), 1.0, 0), bias))
    before = [layer(X).tobytes() for layer in layers]
    weight[:], bias[:], values[:] = 0, 0, 0
    assert [layer(X).tobytes() for layer in layers] == before
    assert not layers[0].bias.flags.writeable


def test_a_pickled_one_is_the_same(layer):
    again = pickle.loads(pickle.dumps(layer))
    assert repr(again) == repr(layer)
    assert again(X).tobytes() == layer(X).tobytes()


def test_nan_of_weights_are_pickled_as_they_are():
    weight = np.array([[0x7F81, 0xFFC5]], np.uint16)
    again = pickle.loads(pickle.dumps(amx.Linear(weight, dtype="bf16")))
    assert again.weight.view(np.uint32).tolist() == [[0x7F810000, 0xFFC50000]]


def test_another_process_has_the_same_results(tmp_path, layer):
    """By its own engine, and without ml_dtypes."""
    (tmp_path / "layer").write_bytes(pickle.dumps(layer))
    np.save(tmp_path / "x.npy", X)
    code = f"""
import sys
sys.modules["ml_dtypes"] = None
import pickle, numpy as np, amx
amx.set_backend("vector")
layer = pickle.load(open({str(tmp_path / "layer")!r}, "rb"))
print(layer(np.load({str(tmp_path / "x.npy")!r})).tobytes().hex())
"""
    done = children.run_python("-c", code)
    assert bytes.fromhex(done.stdout) == layer(X).tobytes(), done.stderr


def test_threads_may_share_it(layer):
    want = layer(X).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: layer(X).tobytes(), range(40))) == {want}


def test_results_are_of_numpy_for_all_but_tensors():
    """Memory that is lent by DLPack or the buffer protocol too."""

    class Lends:
        def __init__(self, array):
            self.__array_interface__, self.array = array.__array_interface__, array

    layer = amx.Linear(WEIGHT, BIAS)
    want = layer(X)
    assert type(want) is np.ndarray
    for x in (Lends(X), memoryview(X)):
        np.testing.assert_array_equal(as_words(layer(x)), as_words(want))


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
@pytest.mark.parametrize("out_dtype", ["float32", "bfloat16", "float16", (0.1, 3, "uint8")])
def test_tensors_of_torch(dtype, out_dtype):
    """Weight, bias, x, residual and out; the result is a tensor where x is one."""
    torch = pytest.importorskip("torch")
    layer = amx.Linear(WEIGHT, BIAS, dtype=dtype, out_dtype=out_dtype)
    of_torch = amx.Linear(torch.from_numpy(WEIGHT), torch.from_numpy(BIAS), dtype=dtype, out_dtype=out_dtype)
    name = out_dtype[2] if isinstance(out_dtype, tuple) else out_dtype
    x, residual = torch.from_numpy(X), torch.ones((5, 33), dtype=torch.bfloat16)
    for rows in (x, x.bfloat16()):
        array = X if rows is x else X.astype(ml_dtypes.bfloat16)
        want = layer(array, np.ones((5, 33), ml_dtypes.bfloat16))
        out = torch.empty((5, 33), dtype=getattr(torch, name))
        assert of_torch(rows, residual, out) is out
        for found in (of_torch(rows, residual), out):
            assert found.dtype is getattr(torch, name)
            words = found.view(torch.uint16) if name == "bfloat16" else found
            np.testing.assert_array_equal(as_words(words.numpy()), as_words(want))
    assert type(of_torch(X)) is np.ndarray
    with pytest.raises(
        amx.errors.DtypeError, match=r"weight is a torch\.Parameter that requires grad.*detach"
    ):
        amx.Linear(torch.nn.Linear(2, 3).weight)


def test_arrays_of_jax():
    jax = pytest.importorskip("jax")
    for out_dtype in ("float32", "bfloat16", "float16", (0.1, 3, "uint8")):
        layer = amx.Linear(jax.numpy.asarray(WEIGHT), BIAS, out_dtype=out_dtype)
        found = layer(jax.numpy.asarray(X))
        assert isinstance(found, jax.Array)
        np.testing.assert_array_equal(as_words(np.asarray(found)), as_words(layer(X)))
