"""Random layers, what they are called with, and the results by the models in NumPy."""

import math
from dataclasses import dataclass, field

import layer_model
import ml_dtypes
import numpy as np
import operands
import product_model
from layer_model import QUANTITIES

ACTIVATIONS = [None, "relu", "gelu", "gelu_tanh", "silu"]
FLOATS = ["float32", "bfloat16", "float16"]
_DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


@dataclass
class Case:
    """Arguments of a layer and of a call."""

    dtype: str
    weight: np.ndarray
    x: np.ndarray
    bias: np.ndarray | None = None
    residual: np.ndarray | None = None
    scale: np.ndarray | None = None  # with zero: weight is of integers
    zero: np.ndarray | None = None
    options: dict = field(default_factory=dict)

    def __str__(self):
        arrays = {name: getattr(self, name) for name in ("weight", "x", "bias", "residual", "scale", "zero")}
        shown = {name: f"{a.dtype}{a.shape}{a.strides}" for name, a in arrays.items() if a is not None}
        return f"{self.dtype} {self.options} {shown}"


def bits(array):
    """Of its elements; bfloat16 as the model has it."""
    return array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array


def as_words(array):
    """To be compared."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def floats(rng, shape, name, special=0.0):
    """Numbers of a type, some of them NaN, infinities and denormals."""
    array = (rng.standard_normal(shape) * 10.0 ** rng.integers(-2, 3)).astype(np.float32)
    array = array + np.float32(rng.choice([0, 0, 2, -30]))
    array = np.where(rng.random(shape) < special, rng.choice([np.nan, np.inf, -np.inf, 1e-42], shape), array)
    return array.astype(np.float32).astype(_DTYPES[name])


def given(rng, name):
    """A scale and zero point for a type of 8 bits."""
    quantity = QUANTITIES[name]
    zero = int(rng.integers(quantity.lowest, quantity.highest + 1))
    return float(np.float32(10.0 ** rng.uniform(-2, 0))), zero, name


def random_case(rng, largest, dtypes=("int8", "int8", "bfloat16", "float16")):
    """Of any kind."""
    n, k = (int((largest + 1) * rng.random() ** 1.5) for _ in range(2))
    rows = int((largest + 1) * rng.random() ** 1.5)
    lead = [(), (rows,), (rows,), (rows,), (3, rows // 3), (2, 1, rows // 2), (rows // 4, 2, 2)][
        rng.integers(7)
    ]
    dtype = dtypes[rng.integers(len(dtypes))]
    special = [0.0, 0.0, 0.0, 0.003, 0.05][rng.integers(5)]
    out = [*FLOATS, given(rng, "int8"), given(rng, "uint8")][rng.integers(5)]
    special = 0.0 if isinstance(out, tuple) else special
    x_types = FLOATS if dtype == "int8" else ["float32", dtype]
    case = Case(
        dtype,
        floats(rng, (n, k), FLOATS[rng.integers(3)], 0.0 if dtype == "int8" else special),
        operands.random_strides(rng, floats(rng, (*lead, k), x_types[rng.integers(len(x_types))], special)),
        options={"activation": ACTIVATIONS[rng.integers(5)], "out_dtype": out},
    )
    if len(lead) > 1 and rng.random() < 0.5:
        case.x = case.x.swapaxes(0, 1)
        lead = case.x.shape[:-1]
    if rng.random() < 0.6:
        case.bias = floats(rng, n, FLOATS[rng.integers(3)], special)
    if rng.random() < 0.5:
        case.residual = operands.random_strides(
            rng, floats(rng, (*lead, n), FLOATS[rng.integers(3)], special)
        )
    if dtype == "int8":
        named = ["dynamic", "dynamic", "dynamic-symmetric", given(rng, "int8"), given(rng, "uint8")]
        case.options["activations"] = named[rng.integers(5)]
        if rng.random() < 0.4:
            _quantize(rng, case)
    case.weight = operands.random_strides(rng, case.weight)
    return case


def _quantize(rng, case):
    """Weights of integers: any numbers, of any scale and zero point, one or one for each output."""
    name = ["int8", "uint8"][rng.integers(2)]
    low, high = QUANTITIES[name].lowest, QUANTITIES[name].highest
    shape = () if rng.random() < 0.3 else case.weight.shape[:1]
    case.weight = rng.integers(low, high, case.weight.shape, dtype=name, endpoint=True)
    case.scale = np.asarray(10.0 ** rng.uniform(-3, 0, shape), np.float32)
    middle = QUANTITIES[f"{name}-symmetric"].zero
    zeros = np.full(shape, middle) if rng.random() < 0.5 else rng.integers(low, high, shape, endpoint=True)
    case.zero = np.asarray(zeros, np.int32)


def expected(case):
    """The results by the models: floats of 32 or 16 bits (bfloat16 by its bits), or integers."""
    out = case.options.get("out_dtype", "float32")
    lead, n = case.x.shape[:-1], len(case.weight)
    rows = math.prod(lead)
    x = bits(case.x).reshape(rows, case.x.shape[-1])
    parts = {}
    if case.dtype == "int8":
        c, parts = _integer_product(case, x)
    else:
        a, b = _rounded(x, case.dtype), _rounded(bits(case.weight), case.dtype)
        c = product_model.float_product(a, np.ascontiguousarray(b.T), case.dtype).view(np.float32)
    if case.bias is not None:
        parts["bias"] = layer_model.widened(bits(case.bias))
    if case.residual is not None:
        parts["residual"] = bits(case.residual).reshape(rows, n)
    if isinstance(out, tuple):
        parts["out_scale"], parts["out_zero"], out = out
    found = layer_model.finished(c, out, activation=case.options.get("activation"), **parts)
    return found.reshape(*lead, n)


def _integer_product(case, x):
    activations = case.options.get("activations", "dynamic")
    if isinstance(activations, tuple):
        scale, zero, name = activations
        quantity, fixed = QUANTITIES[name], (np.float32(scale), zero)
    else:
        quantity, fixed = QUANTITIES["uint8" if activations == "dynamic" else "int8-symmetric"], None
    q, row_scale, row_zero, _ = layer_model.quantize_rows(x, quantity, fixed)
    if case.scale is None:
        w, column_scale, column_zero, _ = layer_model.quantize_rows(
            layer_model.widened(bits(case.weight)), QUANTITIES["int8-symmetric"]
        )
    else:
        w, n = case.weight, len(case.weight)
        column_scale, column_zero = np.broadcast_to(case.scale, n), np.broadcast_to(case.zero, n)
    exact = (q.astype(np.int64) - row_zero[:, None]) @ (w.astype(np.int64) - column_zero[:, None]).T
    c = exact.astype(np.int32)
    assert (c == exact).all()
    return c, {"row_scale": row_scale, "column_scale": column_scale}


def _rounded(x, dtype):
    """Bits of 16-bit floats."""
    wide = layer_model.widened(x)
    if dtype == "bfloat16":
        return x if x.dtype == np.uint16 else layer_model.to_bfloat16(wide)
    with np.errstate(all="ignore"):
        return wide.astype(np.float16).view(np.uint16)
