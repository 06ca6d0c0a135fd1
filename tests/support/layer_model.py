"""Layers as docs/numerics.md defines them, in NumPy: float32 an operation at a time, int64 where it is exact.

It shares no text with csrc/layer/. Numbers of bfloat16 are uint16, their bits.
"""

from dataclasses import dataclass

import numpy as np

F = np.float32
NAN = np.uint32(0x7FC00000).view(F)
SMALLEST = F(2.0**-126)
FLOATS = {"float32": np.dtype(F), "bfloat16": np.dtype(np.uint16), "float16": np.dtype(np.float16)}


@dataclass(frozen=True)
class Quantity:
    """A type of 8-bit numbers: its dtype, what it holds, and the zero point where it is symmetric."""

    dtype: type
    lowest: int
    highest: int
    zero: int | None = None


QUANTITIES = {
    "uint8": Quantity(np.uint8, 0, 255),
    "int8": Quantity(np.int8, -128, 127),
    "uint8-symmetric": Quantity(np.uint8, 1, 255, 128),
    "int8-symmetric": Quantity(np.int8, -127, 127, 0),
}

# docs/numerics.md, "Layers": innermost first.
CONSTANTS = {
    "log2e": "0x1.715476p+0",
    "ln2 upper": "0x1.62e4p-1",
    "ln2 lower": "0x1.7f7d1cp-20",
    "exp": "0x1.fffffcp-2 0x1.555492p-3 0x1.5558f2p-5 0x1.1239f2p-7 0x1.6a2416p-10",
    "tanh": "-0x1.555534p-2 0x1.110768p-3 -0x1.b84448p-5 0x1.5256d8p-6 -0x1.76ac1cp-8",
    "erf": "0x1.06eba8p-3 -0x1.81273ep-2 0x1.ce2d2p-4 -0x1.b7fbb4p-6 0x1.5419f6p-8 -0x1.a485eep-11 "
    "0x1.4ae4d4p-14",
    "erf above 1": "0x1.0bcc6ap-2 -0x1.27cb78p-2 0x1.961478p-4 0x1.c48c06p-8 -0x1.9160dcp-7 0x1.8f2bd6p-10 "
    "0x1.91e49p-11 -0x1.6c584ap-13 -0x1.334fccp-16",
}


def _numbers(name):
    return [F(float.fromhex(word)) for word in CONSTANTS[name].split()]


def quietly(function):
    """Overflow, NaN and underflow are results here."""
    return np.errstate(all="ignore")(function)


def _polynomial(x, name):
    *rest, total = _numbers(name)
    for c in reversed(rest):
        total = total * x + c
    return total


@quietly
def exp(x):
    x = np.clip(F(x), F(-105), F(89))  # keeps NaN
    (log2e,), (upper,), (lower,) = map(_numbers, ("log2e", "ln2 upper", "ln2 lower"))
    n = np.rint(x * log2e)
    r = (x - n * upper) - n * lower
    p = F(1) + (r + (r * r) * _polynomial(r, "exp"))
    return np.ldexp(p, np.where(np.isnan(n), 0, n).astype(np.int32))


@quietly
def tanh(x):
    x = F(x)
    z = x * x
    small = x + (x * z) * _polynomial(z, "tanh")
    large = F(1) - F(2) / (F(1) + exp(np.abs(x) + np.abs(x)))
    return np.copysign(np.where(np.abs(x) < F(0.625), small, large), x)


@quietly
def erf(x):
    x = F(x)
    small = x + x * _polynomial(x * x, "erf")
    root = _polynomial(np.minimum(np.abs(x), F(4)) - F(2), "erf above 1")
    square = root * root
    return np.copysign(np.where(np.abs(x) < F(1), small, F(1) - square * square), x)


@quietly
def activated(y, activation):
    """`activation`: None, or a name."""
    if activation == "relu":
        return np.where(np.isnan(y), y, np.where(y > 0, y, F(0)))
    if activation == "silu":
        return y / (F(1) + exp(-y))
    if activation == "gelu":
        return (F(0.5) * y) * (F(1) + erf(y * F(0.70710677)))
    if activation == "gelu_tanh":
        cubed = ((F(0.044715) * y) * y) * y
        return (F(0.5) * y) * (F(1) + tanh(F(0.7978846) * (y + cubed)))
    assert activation is None
    return y


def widened(x):
    """An array of floats as float32."""
    return (x.astype(np.uint32) << 16).view(F) if x.dtype == np.uint16 else x.astype(F)


@quietly
def to_bfloat16(y):
    """The bits; a NaN is 0x7FC0."""
    word = y.view(np.uint32).astype(np.uint64)
    rounded = (word + 0x7FFF + (word >> 16 & 1)) >> 16
    return np.where(np.isnan(y), 0x7FC0, rounded).astype(np.uint16)


@quietly
def scale_of(low, high, quantity):
    """Scale and zero point of a slice with these extremes, which are finite and around 0."""
    if quantity.zero is not None:
        span, steps = max(high, -low), F(quantity.highest - quantity.zero)
    else:
        span, steps = high - low, F(quantity.highest - quantity.lowest)
    scale = span / steps
    if np.isinf(span):
        scale = (high / F(2) - low / F(2)) / (steps / F(2))
    scale = F(1) if span == 0 else max(scale, SMALLEST)
    if quantity.zero is not None:
        return scale, quantity.zero
    zero = quantity.lowest + int(np.rint(-low * (F(1) / scale)))
    return scale, min(max(zero, quantity.lowest), quantity.highest)


@quietly
def quantized(x, scale, zero, quantity):
    """Each float32 number as an 8-bit one, in float64, which holds all sums exactly; NaN is the lowest."""
    q = np.rint(x * (F(1) / F(scale))).astype(np.float64) + zero
    return np.nan_to_num(np.clip(q, quantity.lowest, quantity.highest), nan=quantity.lowest).astype(
        quantity.dtype
    )


def quantize_rows(x, quantity, given=None):
    """Q of every row of floats, with scale, zero point and sum; `given`: scale and zero point of all."""
    x = widened(x)
    q = np.zeros(x.shape, quantity.dtype)
    scales, zeros = np.full(len(x), NAN), np.zeros(len(x), np.int32)
    for r, row in enumerate(x):
        if np.isfinite(row).all():
            low, high = min(F(0), row.min(initial=F(0))), max(F(0), row.max(initial=F(0)))
            scales[r], zeros[r] = given or scale_of(low, high, quantity)
            q[r] = quantized(row, scales[r], zeros[r], quantity)
    return q, scales, zeros, q.astype(np.int64).sum(1).astype(np.int32)


@quietly
def finished(c, out, *, k=0, residual=None, activation=None, out_scale=1.0, out_zero=0, **parts):
    """Results of the type named `out` (bfloat16: the bits) from products, int32 or float32.

    `parts`: row_zero, row_sum, row_scale, column_zero, column_sum, column_scale and bias, each or not.
    """
    y = c
    if c.dtype == np.int32:
        zx, sums = (_column(parts, name, len(c)) for name in ("row_zero", "row_sum"))
        zw, sumw = (_column(parts, name, c.shape[1]).T for name in ("column_zero", "column_sum"))
        y = _int32(c - zx * sumw - _int32(sums - k * zx) * zw).astype(F)
    if "row_scale" in parts:
        y = y * parts["row_scale"][:, None]
    if "column_scale" in parts:
        y = y * parts["column_scale"]
    if "bias" in parts:
        y = y + parts["bias"]
    if residual is not None:
        y = y + widened(residual)
    y = activated(y, activation)
    y = np.where(np.isnan(y), NAN, y)
    assert y.dtype == F
    if out in QUANTITIES:
        return quantized(y, out_scale, out_zero, QUANTITIES[out])
    return {"float32": y, "bfloat16": to_bfloat16(y), "float16": y.astype(np.float16)}[out]


def _column(parts, name, count):
    return parts[name].astype(np.int64)[:, None] if name in parts else np.zeros((count, 1), np.int64)


def _int32(x):
    """Modulo 2**32, in int64."""
    return x.astype(np.uint32).astype(np.int32).astype(np.int64)
