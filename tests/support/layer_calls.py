"""csrc/layer/ with NumPy arrays."""

import contextlib

import layer_model
import numpy as np

from amx._lib import ffi, lib

TYPES = {
    "float32": lib.LAYER_FLOAT32,
    "bfloat16": lib.LAYER_BFLOAT16,
    "float16": lib.LAYER_FLOAT16,
    "uint8": lib.LAYER_UINT8,
    "int8": lib.LAYER_INT8,
    "uint8-symmetric": lib.LAYER_UINT8_SYMMETRIC,
    "int8-symmetric": lib.LAYER_INT8_SYMMETRIC,
}
ACTIVATIONS = {
    None: lib.LAYER_NO_ACTIVATION,
    "relu": lib.LAYER_RELU,
    "silu": lib.LAYER_SILU,
    "gelu": lib.LAYER_GELU,
    "gelu_tanh": lib.LAYER_GELU_TANH,
}
FUNCTIONS = {"exp": lib.LAYER_EXP, "tanh": lib.LAYER_TANH, "erf": lib.LAYER_ERF}
_NAMES = {np.dtype(np.float32): "float32", np.dtype(np.uint16): "bfloat16", np.dtype(np.float16): "float16"}


def widths():
    """Of this CPU, best first."""
    found = []
    while lib.layer_width(len(found)):
        found.append(ffi.string(lib.layer_width(len(found))).decode())
    return found


@contextlib.contextmanager
def selected(width):
    """For a while."""
    before = ffi.string(lib.layer_selected())
    assert lib.layer_select(width.encode()) == 0
    try:
        yield
    finally:
        assert lib.layer_select(before) == 0


def _pointer(array, kind="void *"):
    return ffi.NULL if array is None else ffi.cast(kind, array.ctypes.data)


def rows(x, name, given=None, *, q):
    """What layer_quantize_rows() takes, and its scales, zero points and sums; rows of `q` may be longer."""
    count, k = x.shape
    scale, zero, total = np.empty(count, np.float32), np.empty(count, np.int32), np.empty(count, np.int32)
    given_scale, given_zero = given or (0, 0)
    fields = {
        "x": _pointer(x), "x_row": x.strides[0], "x_type": TYPES[_NAMES[x.dtype]], "rows": count, "k": k,
        "q_type": TYPES[name], "given_scale": given_scale, "given_zero": given_zero,
        "q": _pointer(q), "q_row": q.strides[0], "q_bytes": q.shape[1],
        "scale": _pointer(scale, "float *"), "zero": _pointer(zero, "int32_t *"),
        "sum": _pointer(total, "int32_t *"),
    }  # fmt: skip
    return ffi.new("struct layer_rows *", fields), (scale, zero, total)


def quantize_rows(x, name, given=None, *, q):
    """Into the array of bytes `q`; scales, zero points and sums."""
    on, found = rows(x, name, given, q=q)
    lib.layer_quantize_rows(on)
    return found


def block(c, out, name, *, k=0, residual=None, activation=None, out_scale=1.0, out_zero=0, **parts):
    """What layer_finish() takes; `parts`: arrays of rows and columns by their names there."""
    fields = {
        "c": _pointer(c), "c_row": c.strides[0], "c_is_float": c.dtype == np.float32,
        "rows": c.shape[0], "columns": c.shape[1], "k": k,
        "residual": _pointer(residual), "residual_row": 0 if residual is None else residual.strides[0],
        "residual_type": TYPES["float32" if residual is None else _NAMES[residual.dtype]],
        "activation": ACTIVATIONS[activation],
        "out": _pointer(out), "out_row": out.strides[0], "out_type": TYPES[name],
        "out_scale": out_scale, "out_zero": out_zero,
    }  # fmt: skip
    for part, array in parts.items():
        fields[part] = _pointer(array, "float *" if array.dtype == np.float32 else "int32_t *")
    return ffi.new("struct layer_block *", fields)


def finish(c, out, name, **parts):
    """Into the array `out`, of the type named; `parts`: as of block()."""
    lib.layer_finish(block(c, out, name, **parts))


def apply(name, x):
    """A function of each element of a contiguous float32 array."""
    y = np.empty_like(x)
    lib.layer_apply(FUNCTIONS[name], _pointer(x, "float *"), _pointer(y, "float *"), x.size)
    return y


def dtype_of(name):
    """Of an array of the type named."""
    floats = layer_model.FLOATS
    return floats[name] if name in floats else np.dtype(layer_model.QUANTITIES[name].dtype)


def as_element(x, name):
    """Numbers as an array of the type named."""
    x = np.asarray(x, np.float32)
    with np.errstate(all="ignore"):
        return (
            x
            if name == "float32"
            else layer_model.to_bfloat16(x)
            if name == "bfloat16"
            else x.astype(np.float16)
        )


def bits(array):
    """The bits of its elements."""
    return array.view(f"u{array.itemsize}")
