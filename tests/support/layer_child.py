"""Child process: csrc/layer/ in awkward floating-point environments, and on arrays beside forbidden pages.

Usage: layer_child.py environment|guarded|too-far; the last reads one element too far, to show that it ends.
Prints "right" where every width has given the same bytes.
"""

import ctypes
import sys

import layer_calls
import numpy as np
from guard_pages import Guarded

from amx._lib import lib

MASKED, FLAGS, DAZ, FTZ, UP, TO_ZERO = 0x1F80, 0x3F, 0x40, 0x8000, 0x4000, 0x6000
ENVIRONMENTS = [MASKED, MASKED | FLAGS, 0, UP, TO_ZERO | MASKED, DAZ | FTZ | UP, FTZ | MASKED]
libm, environment = ctypes.CDLL(None), (ctypes.c_uint32 * 8)()


def exchange_mxcsr(value):
    """The last word of glibc's and musl's fenv_t."""
    libm.fegetenv(environment)
    before, environment[7] = environment[7], value
    libm.fesetenv(environment)
    return before


def within(mxcsr, function, on):
    found = exchange_mxcsr(mxcsr)
    function(on)
    left = exchange_mxcsr(found)
    assert left == mxcsr, (hex(mxcsr), hex(left))


def written(keep, columns, mxcsr=MASKED):
    """All bytes that are written, with arrays as `keep` returns them."""
    rng = np.random.default_rng(columns)
    x = keep((rng.standard_normal((3, columns)) * 1e-39).astype(np.float32))
    q, out = keep(np.zeros((3, columns), np.uint8)), keep(np.zeros((3, columns), np.float16))
    on, (scale, zero, total) = layer_calls.rows(x, "uint8", q=q)
    within(mxcsr, lib.layer_quantize_rows, on)
    parts = {
        "row_zero": keep(zero), "row_sum": keep(total), "row_scale": keep(scale),
        "column_zero": keep(rng.integers(-9, 9, columns).astype(np.int32)),
        "column_sum": keep(rng.integers(-9, 9, columns).astype(np.int32)),
        "column_scale": keep(rng.random(columns).astype(np.float32)),
        "bias": keep(rng.random(columns).astype(np.float32)),
        "residual": keep(rng.random((3, columns)).astype(np.float16)),
    }  # fmt: skip
    c = keep(rng.integers(-999, 999, (3, columns)).astype(np.int32))
    within(mxcsr, lib.layer_finish, layer_calls.block(c, out, "float16", k=3, activation="gelu", **parts))
    within(mxcsr, lib.layer_finish, layer_calls.block(x, x, "float32", activation="silu"))
    return b"".join(each.tobytes() for each in (q, scale, zero, total, out, x))


def at_page(array, at_end):
    there = Guarded(array.nbytes, at_end).memory.view(array.dtype).reshape(array.shape)
    there[...] = array
    return there


def main(what):
    if what == "too-far":
        x = at_page(np.ones((1, 64), np.float32), True)
        longer = np.lib.stride_tricks.as_strided(x, (1, 65), x.strides)
        layer_calls.quantize_rows(longer, "uint8", q=np.empty((1, 65), np.uint8))
    want = {columns: written(np.copy, columns) for columns in (1, 3, 4, 15, 16, 31, 64, 70, 133)}
    for width in layer_calls.widths():
        with layer_calls.selected(width):
            for columns, right in want.items():
                if what == "environment":
                    for mxcsr in ENVIRONMENTS:
                        assert written(np.copy, columns, mxcsr) == right, (width, columns, hex(mxcsr))
                else:
                    for at_end in (False, True):
                        found = written(lambda array, end=at_end: at_page(array, end), columns)
                        assert found == right, (width, columns, at_end)
    print("right")


if __name__ == "__main__":
    main(sys.argv[1])
