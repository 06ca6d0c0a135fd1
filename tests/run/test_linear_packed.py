"""`amx.linear`: the bits of an `amx.Linear`, with weights that are packed already."""

import ml_dtypes
import numpy as np
import pytest
from linear_cases import as_words

import amx
from amx.errors import DtypeError, LayerError, QuantizationError, ShapeError

N, K = 37, 90


def weights(rng, kind):
    """(N, K), and a scale and zero point for each row."""
    low, high = (-128, 128) if kind == "int8" else (0, 256)
    values = rng.integers(low, high, (N, K)).astype(kind)
    scale = (10.0 ** rng.uniform(-3, 0, N)).astype(np.float32)
    return values, scale, rng.integers(low, high, N).astype(np.int32)


@pytest.mark.parametrize("activations", ["dynamic", "dynamic-symmetric", (0.02, 100, "uint8")], ids=str)
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_integers_have_the_bits_of_the_layer(backend, rng, kind, activations):
    values, scale, zero = weights(rng, kind)
    x, bias = rng.standard_normal((2, 9, K)).astype("f"), rng.standard_normal(N).astype("f")
    residual = rng.standard_normal((2, 9, N)).astype("f")
    options = {"activation": "silu", "activations": activations}
    packed = amx.pack(values.T)
    for of_each, zeros in ((scale, zero), (scale, None), (scale, 3), (float(scale[0]), int(zero[0]))):
        weight = amx.Quantized(
            values, of_each, 0 if zeros is None else zeros, 0 if np.ndim(of_each) else None
        )
        want = amx.Linear(weight, bias, **options)(x, residual)
        found = amx.linear(x, packed, bias, scale=of_each, zero_point=zeros, residual=residual, **options)
        np.testing.assert_array_equal(as_words(found), as_words(want))


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_floats_have_the_bits_of_the_layer(backend, rng, kind):
    if kind == "float16" and backend == "native" and not amx.available("fp16"):
        pytest.skip("this CPU has no AMX-FP16 to run natively")
    weight = rng.standard_normal((N, K)).astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    x = rng.standard_normal((9, K)).astype("f")
    want = amx.Linear(weight, np.ones(N), dtype=kind, activation="relu", out_dtype="bfloat16")(x)
    found = amx.linear(x, amx.pack(weight.T), np.ones(N), activation="relu", out_dtype="bfloat16")
    np.testing.assert_array_equal(as_words(found), as_words(want))


def test_a_sum_by_hand(backend):
    """Rows of 0 and 255 are what they are in uint8, with the scale 1."""
    packed = amx.pack(np.array([[1, -2], [3, 4]], np.int8))
    out = np.empty((1, 2), np.float32)
    assert amx.linear(np.array([[0, 255]], "f"), packed, scale=0.5, out=out) is out
    assert out.tolist() == [[382.5, 510]]


def test_sums_of_columns_are_exact_and_taken_once(backend, rng):
    """Rows of one number each: results are that number times the sums."""
    values = rng.integers(-128, 128, (3000, 5)).astype(np.int8)
    packed = amx.pack(values)
    for _ in range(2):
        found = amx.linear(np.full((1, 3000), 255, "f"), packed, scale=1.0)
        assert found.tolist() == (255 * values.astype(np.int64).sum(axis=0)[None]).astype("f").tolist()
    assert packed._sums.tolist() == values.sum(axis=0, dtype=np.int32).tolist()


def test_results_that_are_integers(backend, rng):
    values, scale, zero = weights(rng, "int8")
    x = rng.standard_normal((9, K)).astype("f")
    out_dtype = (0.5, 3, "int8")
    want = amx.Linear(amx.Quantized(values, scale, zero, 0), out_dtype=out_dtype)(x)
    found = amx.linear(x, amx.pack(values.T), scale=scale, zero_point=zero, out_dtype=out_dtype)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, want)


X = np.ones((2, K), np.float32)


def integers():
    return amx.pack(np.ones((K, N), np.int8))


def floats():
    return amx.pack(np.ones((K, N), np.float16))


WRONG = {
    "no packed weights": (DtypeError, "packed is", (X, np.ones((K, N), np.int8)), {}),
    "two matrices": (ShapeError, r"packed has shape \(2,", (X, amx.pack(np.ones((2, K, N), np.int8))), {}),
    "no scale": (QuantizationError, "scale is missing", (X, integers()), {}),
    "a scale too many": (QuantizationError, "scale with packed", (X, floats()), {"scale": 1.0}),
    "a zero point too many": (QuantizationError, "zero_point with packed", (X, floats()), {"zero_point": 1}),
    "a scale of 0": (QuantizationError, "scale", (X, integers()), {"scale": 0.0}),
    "a scale of NaN": (QuantizationError, "scale", (X, integers()), {"scale": np.nan}),
    "a zero point beyond": (
        QuantizationError, "zero_point", (X, integers()), {"scale": 1.0, "zero_point": 128}
    ),
    "scales of another number": (ShapeError, "scale", (X, integers()), {"scale": np.ones(N + 1)}),
    "a bias of another length": (ShapeError, "bias", (X, integers(), np.ones(N - 1)), {"scale": 1.0}),
    "another K": (ShapeError, "x has shape", (X[:, 1:], integers()), {"scale": 1.0}),
    "an activation": (LayerError, "activation=", (X, integers()), {"scale": 1.0, "activation": "tanh"}),
    "rows of floats": (LayerError, "activations=", (X, floats()), {"activations": "dynamic-symmetric"}),
    "too large a K": (
        LayerError, "weight has K",
        (np.ones((1, 1 << 17), "f"), amx.pack(np.ones((1 << 17, 1), np.int8))), {"scale": 1.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_belong_together_is_an_error(kind):
    error, words, arguments, options = WRONG[kind]
    with pytest.raises(error, match=words):
        amx.linear(*arguments, **options)
