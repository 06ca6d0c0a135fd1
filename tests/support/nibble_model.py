"""Products with 4-bit weights as docs/numerics.md defines them, "4 bits", in NumPy; calls of the C ones."""

import layer_calls
import numpy as np

from amx._lib import ffi, lib

F = np.float32


def sums(x, zero, q, scales, zeros, group):
    """S, (M, N) of float32: rows `x` (M, K), weights `q` (N, K), `scales` and `zeros` (N, groups)."""
    total = np.zeros((len(x), len(q)), F)
    moved = x.astype(np.int64) - zero[:, None]
    with np.errstate(all="ignore"):
        for g in range(scales.shape[1]):
            part = slice(g * group, (g + 1) * group)
            d = moved[:, part] @ (q[:, part].astype(np.int64) - zeros[:, g : g + 1]).T
            total = total + d.astype(F) * scales[:, g]
    return total


class Packed:
    """What amx_nibbles_new() makes."""

    def __init__(self, q, scales, zeros, group):
        self.shape = q.shape
        made = ffi.new("struct amx_nibbles **")
        arrays = np.ascontiguousarray(scales, F), np.ascontiguousarray(zeros, np.int32)
        self.error = lib.amx_nibbles_new(
            *q.shape, group, ffi.cast("uint8_t *", q.ctypes.data), *q.strides,
            ffi.cast("float *", arrays[0].ctypes.data), ffi.cast("int32_t *", arrays[1].ctypes.data), made,
        )  # fmt: skip
        self.handle = ffi.gc(made[0], lib.amx_nibbles_free) if self.error == 0 else None

    @property
    def nbytes(self):
        return lib.amx_nibbles_bytes(self.handle)


def multiply(x, zero, packed, out, name="float32", threads=1, engine=None, **layer):
    """Into `out`, of the type named; 0 or the error. `layer`: as of layer_calls.block()."""
    nothing = np.empty((0, packed.shape[0]), F)
    layer.setdefault("row_zero", np.ascontiguousarray(zero, np.int32))
    block = layer_calls.block(nothing, out, name, **layer)
    return lib.amx_nibbles_layer(
        lib.AMX_VECTOR if engine is None else engine, threads, len(x), int(x.dtype == np.uint8),
        ffi.cast("void *", x.ctypes.data), x.strides[0], packed.handle, block,
    )  # fmt: skip
