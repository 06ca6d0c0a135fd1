"""What a layer refuses, in making it and in calling it: a named error, before anything is touched."""

import ml_dtypes
import numpy as np
import pytest

import amx
from amx import errors

ONES = np.ones((3, 4), np.float32)
GROUPED = amx.quantize(ONES, axis=None, group=2)
WITH_NAN = np.array([[1, 2], [np.nan, 1]], np.float32)


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


@pytest.mark.parametrize(
    ("weight", "options", "error", "message"),
    [
        (ONES[0], {}, errors.ShapeError, r"weight has shape \(4,\)"),
        (ONES[None], {}, errors.ShapeError, r"weight has shape \(1, 3, 4\)"),
        (ONES.astype(np.int8), {}, errors.DtypeError, r"array of int8.*no scale.*amx\.Quantized"),
        (ONES.astype(np.int64), {}, errors.DtypeError, r"weight is an array of int64"),
        (ONES.astype(np.uint16), {}, errors.DtypeError, r"weight is an array of uint16.*ml_dtypes"),
        (ONES.astype(np.uint16), {"dtype": "float16"}, errors.DtypeError, r"weight is an array of uint16"),
        (None, {}, errors.DtypeError, "weight is None"),
        ([["1"]], {}, errors.DtypeError, "weight is an array of <U1"),
        (WITH_NAN, {}, errors.QuantizationError, r"weight\[1, 0\] is nan"),
        (np.array([[1e39]]), {}, errors.QuantizationError, r"weight\[0, 0\] is 1e\+39"),
        (amx.quantize(ONES, "uint4", group=2), {}, errors.ShapeError, "groups of 2 of K"),
        (ONES, {"dtype": "uint4"}, errors.DtypeError, "For 4 bits pass amx.quantize"),
        (GROUPED, {}, errors.ShapeError, r"group=2.*one scale.*axis=0"),
        (amx.quantize(ONES, axis=1), {}, errors.ShapeError, r"Quantized with axis=1.*axis=0"),
        (amx.quantize(ONES[0]), {}, errors.ShapeError, r"weight has shape \(4,\)"),
        (
            amx.quantize(ONES),
            {"dtype": "bf16"},
            errors.DtypeError,
            r"Quantized, and dtype='bfloat16'.*dequantize",
        ),
        (ONES, {"dtype": "float32"}, errors.DtypeError, "dtype='float32'.*int8, bfloat16, float16"),
        (ONES, {"dtype": "uint8"}, errors.DtypeError, "dtype='uint8'"),
        (ONES, {"dtype": None}, errors.DtypeError, "dtype=None"),
        (ONES, {"bias": np.ones(4)}, errors.ShapeError, r"bias has shape \(4,\).*\(3,\)"),
        (ONES, {"bias": 1.0}, errors.ShapeError, r"bias has shape \(\)"),
        (ONES, {"bias": np.ones(3, int)}, errors.DtypeError, "bias is an array of int64"),
        (ONES, {"activation": "tanh"}, errors.LayerError, "activation='tanh'.*relu, gelu, gelu_tanh, silu"),
        (ONES, {"activation": np.tanh}, errors.LayerError, "activation=<ufunc 'tanh'>"),
        (ONES, {"activations": "static"}, errors.LayerError, "activations='static'.*'dynamic-symmetric'"),
        (ONES, {"activations": None}, errors.LayerError, "activations=None"),
        (ONES, {"activations": (1.0, 0)}, errors.LayerError, "activations is a tuple of 2"),
        (ONES, {"activations": (0.0, 0, "int8")}, errors.QuantizationError, "activations: scale is 0.0"),
        (ONES, {"activations": (-1.0, 0, "int8")}, errors.QuantizationError, "activations: scale is -1.0"),
        (ONES, {"activations": (np.nan, 0, "int8")}, errors.QuantizationError, "scale is nan"),
        (ONES, {"activations": (10**400, 0, "int8")}, errors.QuantizationError, "scale is inf"),
        (ONES, {"activations": (1e39, 0, "int8")}, errors.QuantizationError, r"scale is 1e\+39"),
        (ONES, {"activations": (1e-39, 0, "int8")}, errors.QuantizationError, r"scale is .*e-39.*2\*\*-126"),
        (ONES, {"activations": (1.0, 128, "int8")}, errors.QuantizationError, "zero_point is 128"),
        (ONES, {"activations": (1.0, -1, "uint8")}, errors.QuantizationError, "zero_point is -1"),
        (
            ONES,
            {"activations": (1.0, 0.5, "uint8")},
            errors.DtypeError,
            "activations: zero_point is of float64",
        ),
        (ONES, {"activations": (1.0, 0, "uint4")}, errors.QuantizationError, "activations is of uint4"),
        (ONES, {"activations": (1.0, 0, "int16")}, errors.DtypeError, "activations: dtype='int16'"),
        (
            ONES,
            {"activations": (ONES, 0, "int8")},
            errors.ShapeError,
            r"activations: scale has shape \(3, 4\)",
        ),
        (
            ONES,
            {"activations": amx.quantize(ONES, axis=0)},
            errors.QuantizationError,
            r"scales of shape \(3,\)",
        ),
        (
            ONES,
            {"activations": (1.0, 0, "int8"), "dtype": "bf16"},
            errors.LayerError,
            "dtype='bfloat16'.*8 bits only",
        ),
        (
            ONES,
            {"out_dtype": "int8"},
            errors.DtypeError,
            r"out_dtype='int8'.*\(scale, zero_point, \"int8\"\)",
        ),
        (ONES, {"out_dtype": "float64"}, errors.DtypeError, "out_dtype='float64'"),
        (ONES, {"out_dtype": None}, errors.DtypeError, "out_dtype=None"),
        (ONES, {"out_dtype": (0.0, 0, "uint8")}, errors.QuantizationError, "out_dtype: scale is 0.0"),
        (
            ONES,
            {"out_dtype": (1.0, 0, "int8"), "bias": [0, np.inf, 1.0]},
            errors.QuantizationError,
            r"bias\[1\] is inf",
        ),
        (
            WITH_NAN,
            {"out_dtype": (1.0, 0, "int8"), "dtype": "bf16"},
            errors.QuantizationError,
            r"weight\[1\] has a NaN",
        ),
    ],
)
def test_a_layer_that_cannot_be(weight, options, error, message):
    options = dict(options)
    with pytest.raises(error, match=f"(?s){message}") as caught:
        amx.Linear(weight, options.pop("bias", None), **options)
    assert caught.value.cause
    assert caught.value.remedy
    assert isinstance(caught.value, ValueError | TypeError)


@pytest.mark.parametrize(
    ("activations", "of_rows"),
    [("dynamic", 255), ("dynamic-symmetric", 127), ((1.0, 100, "uint8"), 155), ((1.0, -128, "int8"), 255)],
)
@pytest.mark.parametrize(("values", "zero", "of_weights"), [(127, 0, 127), (1, 0, 1), (-128, 127, 255)])
def test_k_whose_sums_could_leave_int32(activations, of_rows, values, zero, of_weights):
    """One more than fits is refused by its number; one column of other weights decides."""
    most = (2**31 - 1) // (of_rows * of_weights)
    for k in (most, most + 1):
        weight = np.full((2, k), zero, np.int8)
        weight[1, -1] = values
        weight = amx.Quantized(weight, 1.0, zero)
        if k == most:
            assert amx.Linear(weight, activations=activations).in_features == most
            continue
        with pytest.raises(errors.LayerError, match=rf"K = {k}\b.*{of_rows} \* {of_weights}.*up to {most} "):
            amx.Linear(weight, activations=activations)


X = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("options", "x", "residual", "error", "message"),
    [
        ({}, X[:, :3], None, errors.ShapeError, r"x has shape \(2, 3\).*rows of 4"),
        ({}, np.float32(1), None, errors.ShapeError, r"x has shape \(\)"),
        ({}, X.astype(np.float64), None, errors.DtypeError, "x is of float64.*float32, bfloat16 or float16"),
        ({}, X.tolist(), None, errors.DtypeError, "x is of float64"),
        ({}, X.astype(np.int8), None, errors.DtypeError, "x is of int8"),
        ({}, X.astype(np.uint16), None, errors.DtypeError, r"x is of uint16.*view\(ml_dtypes.bfloat16\)"),
        ({"dtype": "bf16"}, X.astype(np.float16), None, errors.DtypeError, "x is of float16.*bfloat16"),
        (
            {"dtype": "fp16"},
            X.astype(ml_dtypes.bfloat16),
            None,
            errors.DtypeError,
            "x is of bfloat16.*float16",
        ),
        ({}, np.ma.masked_array(X), None, errors.DtypeError, "x is a masked array"),
        ({}, None, None, errors.DtypeError, "x is None"),
        ({}, X, X, errors.ShapeError, r"residual has shape \(2, 4\).*\(2, 3\)"),
        ({}, X, np.ones(3, np.float32), errors.ShapeError, r"residual has shape \(3,\)"),
        ({}, X, np.ones((2, 3)), errors.DtypeError, "residual is of float64"),
        ({"dtype": "fp16"}, X, np.ones((2, 3), np.uint16), errors.DtypeError, "residual is of uint16"),
    ],
)
def test_a_call_that_does_not_fit(options, x, residual, error, message):
    out = np.full((2, 3), 7, np.float32)
    with pytest.raises(error, match=f"(?s){message}") as caught:
        amx.Linear(ONES, **options)(x, residual, out)
    assert caught.value.remedy
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("out_dtype", "out", "error", "message"),
    [
        ("float32", np.empty((3, 2), np.float32), errors.ShapeError, r"out has shape \(3, 2\).*\(2, 3\)"),
        ("float32", np.empty((2, 3)), errors.DtypeError, "out is of float64.*results.*float32"),
        ("float32", np.empty((2, 3), ">f4"), errors.DtypeError, "out is of float32|>f4"),
        ("float32", np.empty((2, 3), np.int32), errors.DtypeError, "out is of int32"),
        ("bfloat16", np.empty((2, 3), np.float16), errors.DtypeError, "out is of float16.*bfloat16"),
        ("float16", np.empty((2, 3), ml_dtypes.bfloat16), errors.DtypeError, "out is of bfloat16.*float16"),
        ((1.0, 0, "int8"), np.empty((2, 3), np.uint8), errors.DtypeError, "out is of uint8.*int8"),
        ("float32", [[0.0] * 3] * 2, errors.DtypeError, "out is a list"),
        ("float32", np.broadcast_to(np.float32(0), (2, 3)), errors.BufferReadOnlyError, "out is read-only"),
    ],
)
def test_an_out_that_does_not_fit(out_dtype, out, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        amx.Linear(ONES, out_dtype=out_dtype)(X, out=out)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float16"])
@pytest.mark.parametrize("element", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_integers_are_no_results_of_a_row_with_a_nan(dtype, element, bad, monkeypatch):
    """Neither in x nor in a residual; the row is named, and nothing is written."""
    monkeypatch.setattr("amx.layer_call._MOST_BYTES", 40)  # looked at at a time
    layer = amx.Linear(ONES, dtype=dtype, out_dtype=(1.0, 0, "int8"))
    element = element if dtype == "int8" or element == np.float32 else layer.weight.dtype
    out = np.full((5, 6, 3), 7, np.int8)
    x, residual = np.zeros((6, 5, 4), element).swapaxes(0, 1), np.zeros((5, 6, 3), np.float16)
    assert (layer(x, residual, out.copy()) == 0).all()
    x[3, 2, 1] = bad
    with pytest.raises(errors.QuantizationError, match=r"x\[3, 2\] has a NaN or an infinity"):
        layer(x, residual, out)
    residual[4, 5, 2] = bad
    with pytest.raises(errors.QuantizationError, match=r"residual\[4, 5\] has"):
        layer(np.zeros((5, 6, 4), np.float32), residual, out)
    assert (out == 7).all()
    with pytest.raises(errors.QuantizationError, match=r"x has a NaN"):
        layer(x[3, 2])
