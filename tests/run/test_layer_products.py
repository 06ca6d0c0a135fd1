"""Products whose blocks become a layer's results at once: as the product, and then the room, make them."""

import errno
import os

import layer_calls
import numpy as np
import pytest
import small_caches
from layer_calls import as_element, bits

import amx
from amx._lib import ffi, lib
from amx.backend import engine_for

pytestmark = pytest.mark.every_family
OPS = {"int8": lib.AMX_TDPBUSD, "bfloat16": lib.AMX_TDPBF16PS, "float16": lib.AMX_TDPFP16PS}


def operands(rng, kind, m, n, k):
    """A and B: uint8 by int8, or floats as their bits."""
    if kind == "int8":
        return rng.integers(0, 256, (m, k), np.uint8), rng.integers(-128, 128, (k, n), np.int8)
    return tuple(as_element(rng.standard_normal(shape), kind) for shape in ((m, k), (k, n)))


def parts(rng, kind, m, n):
    """What a layer has of rows and columns."""
    residual = as_element(rng.standard_normal((m, n)), str(rng.choice(["float32", "bfloat16", "float16"])))
    found = {
        "bias": rng.standard_normal(n).astype(np.float32),
        "residual": residual if rng.random() < 0.5 else None,
        "activation": str(rng.choice(["relu", "silu", "gelu", "gelu_tanh"])) if rng.random() < 0.5 else None,
    }
    if kind == "int8":
        found |= {
            "row_scale": rng.random(m).astype(np.float32),
            "row_zero": rng.integers(0, 256, m).astype(np.int32),
            "row_sum": rng.integers(-1000, 1000, m).astype(np.int32),
            "column_scale": rng.random(n).astype(np.float32),
            "column_zero": rng.integers(-128, 128, n).astype(np.int32),
            "column_sum": rng.integers(-1000, 1000, n).astype(np.int32),
        }
    return found


def fused(kind, a, b, out, name, threads, **layer):
    """Into `out`, or the error."""
    packed = amx.pack(b, dtype="bfloat16" if kind == "bfloat16" else None)
    nothing = np.empty((0, b.shape[1]), np.float32)
    block = layer_calls.block(nothing, out, name, **layer)
    op = OPS[kind]
    block.c_is_float = kind != "int8"
    pointer = ffi.cast("void *", a.ctypes.data)
    return lib.amx_gemm_layer(
        engine_for(op), op, threads, len(a), a.shape[1], pointer, a.strides[0], packed._handle, block
    )


def compare(rng, kind, m, n, k, threads):
    a, b = operands(rng, kind, m, n, k)
    name, layer = str(rng.choice(list(layer_calls.TYPES))), parts(rng, kind, m, n)
    want, got = (np.zeros((m, n + 5), layer_calls.dtype_of(name)) for _ in range(2))
    c = amx.matmul(a, b, dtype="bfloat16" if kind == "bfloat16" else None)
    layer_calls.finish(c, want[:, :n], name, k=k, **layer)
    assert fused(kind, a, b, got[:, :n], name, threads, **layer) == 0
    np.testing.assert_array_equal(bits(got), bits(want), f"{kind} {m} {n} {k} {name} {layer['activation']}")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", OPS)
def test_random_layers(backend, rng, kind, threads):
    for _ in range(12):
        m, n, k = (int(x) for x in rng.integers(1, [80, 100, 200]))
        compare(rng, kind, m, n, k, threads)


@pytest.mark.parametrize("kind", OPS)
@pytest.mark.parametrize("shape", [(1, 300, 2000), (150, 200, 900), (33, 70, 3000)])
def test_blocks_of_k(backend, rng, kind, shape):
    """Where K is cut, only the last sums are finished."""
    for caches in small_caches.TINY:
        with small_caches.assumed(caches):
            compare(rng, kind, *shape, threads=1)


@pytest.mark.parametrize("kind", OPS)
def test_a_sum_of_nothing_is_finished_too(backend, rng, kind):
    compare(rng, kind, 3, 70, 0, threads=1)


def test_sums_that_would_rest_in_c_are_refused():
    """Tiles alone, whose rows of A are packed a part of K at a time, would have them there."""
    a, b = np.zeros((64, 1 << 20), np.uint8), np.zeros((1 << 20, 1), np.int8)
    out = np.full((64, 1), 7, np.float32)
    amx.set_backend("emulated")
    try:
        assert (fused("int8", a, b, out, "float32", 1), out.min()) == (-errno.E2BIG, 7)
    finally:
        amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


def test_out_may_not_overlap_a(backend):
    memory = np.zeros(1000, np.uint8)
    a, b = memory[:64].reshape(1, 64), np.zeros((64, 4), np.int8)
    out = memory[60:76].view(np.float32).reshape(1, 4)
    assert fused("int8", a, b, out, "float32", 1) == -errno.EXDEV
