"""Products of 8-bit rows with 4-bit weights in groups, as they are defined, by every family of this CPU."""

import contextlib
import errno
from concurrent.futures import ThreadPoolExecutor

import layer_calls
import layer_model
import nibble_model
import numpy as np
import pytest
import small_caches
import vector_family

from amx._lib import ffi, lib

F = np.float32


@contextlib.contextmanager
def selected(family):
    """For a while."""
    before = ffi.string(lib.amx_nibbles_selected())
    assert lib.amx_nibbles_select(family.encode()) == 0
    try:
        yield
    finally:
        assert lib.amx_nibbles_select(before) == 0


@pytest.fixture(params=vector_family.of_nibbles())
def family(request):
    with selected(request.param):
        yield request.param


def rows(rng, m, k, dtype, extreme=False):
    """Rows and zero points of all that there are, or those that give the largest sums."""
    info = np.iinfo(dtype)
    lowest = -127 if dtype is np.int8 else 0
    if extreme:
        x = rng.choice(np.array([lowest, info.max], dtype), (m, 1)).repeat(k, 1)
        zero = np.where(x[:, 0] == lowest, info.max, lowest) if dtype is np.uint8 else np.zeros(m)
        return x, zero.astype(np.int32)
    zero = rng.integers(0, 256, m) if dtype is np.uint8 else np.zeros(m)
    return rng.integers(lowest, info.max + 1, (m, k)).astype(dtype), zero.astype(np.int32)


def weights(rng, n, k, group, *, float16, zeros, extreme=False):
    """`zeros`: "each", or one for all."""
    groups = -(-k // group)
    scales = rng.standard_normal((n, groups)).astype(np.float16).astype(F) + F(0 if float16 else 1e-7)
    scales[scales == 0] = 1
    z = rng.integers(0, 17, (n, groups)) if zeros == "each" else np.full((n, groups), zeros)
    if extreme:
        q = rng.choice(np.array([0, 15], np.uint8), (n, 1)).repeat(k, 1)
        z = np.where(q[:, :1] == 0, 16, 0).repeat(groups, 1) if zeros == "each" else z
    else:
        q = rng.integers(0, 16, (n, k)).astype(np.uint8)
    return q, scales, z.astype(np.int32)


def compare(x, zero, q, scales, zeros, group, threads=1, engine=None):
    m, n = len(x), len(q)
    packed = nibble_model.Packed(q, scales, zeros, group)
    assert packed.error == 0
    got = np.full((m, n + 3), 7, F)
    assert nibble_model.multiply(x, zero, packed, got[:, :n], threads=threads, engine=engine) == 0
    want = np.full((m, n + 3), 7, F)
    want[:, :n] = nibble_model.sums(x, zero, q, scales, zeros, group)
    about = f"{m=} {n=} k={x.shape[1]} {group=} {x.dtype} {threads=}"
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32), about)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("threads", [1, 2])
def test_random_products(family, rng, dtype, threads):
    for _ in range(40):
        m, n, group = int(rng.integers(1, 41)), int(rng.integers(1, 71)), 32 * int(rng.integers(1, 9))
        k = int(rng.integers(1, 4 * group))
        zeros = "each" if rng.random() < 0.6 else int(rng.integers(0, 17))
        one = weights(rng, n, k, group, float16=rng.random() < 0.6, zeros=zeros)
        compare(*rows(rng, m, k, dtype), *one, group, threads)


@pytest.mark.parametrize("group", range(32, 257, 32))
def test_each_number_of_rows_and_each_end_of_k(family, rng, group):
    for m in range(1, 27):
        k = group + (m * 5 + group) % (group + 3)
        one = weights(rng, 17, k, group, float16=m % 2 == 0, zeros="each" if m % 3 else 8)
        compare(*rows(rng, m, k, np.uint8 if m % 2 else np.int8), *one, group)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("group", [32, 128, 256, 1 << 19])
def test_the_largest_sums(family, rng, dtype, group):
    k = min(5 * group, 1 << 19)
    one = weights(rng, 4, k, group, float16=True, zeros="each", extreme=True)
    compare(*rows(rng, 3, k, dtype, extreme=True), *one, group)
    one = weights(rng, 4, k, group, float16=True, zeros=16, extreme=True)
    compare(*rows(rng, 3, k, dtype, extreme=True), *one, group)


def test_what_overflows_and_what_is_tiny(family, rng):
    """Scales may be any finite number, and sums are rounded with denormals."""
    one = weights(rng, 40, 320, 32, float16=False, zeros="each")
    x = rows(rng, 5, 320, np.uint8)
    for factor in (F(1e-42), F(1e-38), F(3e34), F(1e38)):
        q, scales, zeros = one
        with np.errstate(over="ignore"):
            scales = np.nan_to_num(scales * factor, posinf=3e38, neginf=-3e38)
        scales[scales == 0] = F(1e-45)
        packed = nibble_model.Packed(q, scales, zeros, 32)
        want = layer_model.finished(nibble_model.sums(*x, q, scales, zeros, 32), "float32")
        got = np.empty((5, 40), F)
        assert nibble_model.multiply(*x, packed, got) == 0
        np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_of_rows_and_columns(family, rng, threads):
    """Several blocks of rows, strips of columns, and threads with a part of both."""
    for caches in [None, *small_caches.TINY]:
        with small_caches.assumed(caches) if caches else contextlib.nullcontext():
            one = weights(rng, 300, 96, 64, float16=True, zeros="each")
            compare(*rows(rng, 65, 96, np.uint8), *one, 64, threads)
            one = weights(rng, 5, 2080, 96, float16=False, zeros=3)
            compare(*rows(rng, 301, 2080, np.int8), *one, 96, threads)


def test_the_software_tile_machine_multiplies_in_plain_c(rng):
    one = weights(rng, 40, 100, 32, float16=True, zeros="each")
    compare(*rows(rng, 9, 100, np.uint8), *one, 32, engine=lib.AMX_EMULATED)


@pytest.mark.parametrize("name", layer_calls.TYPES)
def test_results_of_a_layer(family, rng, name):
    """Row scales, bias, residual and activation, rounded: as the room makes them of the sums."""
    m, n, k = 14, 150, 200
    one, x = weights(rng, n, k, 64, float16=True, zeros="each"), rows(rng, m, k, np.uint8)
    layer = {
        "row_scale": rng.random(m).astype(F) / 100,
        "bias": rng.standard_normal(n).astype(F),
        "residual": rng.standard_normal((m, n)).astype(F),
        "activation": "gelu",
    }
    layer["row_scale"][3] = np.nan
    want = layer_model.finished(nibble_model.sums(*x, *one, 64), name, **layer)
    got = np.zeros((m, n), layer_calls.dtype_of(name))
    assert nibble_model.multiply(*x, nibble_model.Packed(*one, 64), got, name, **layer) == 0
    np.testing.assert_array_equal(layer_calls.bits(got), layer_calls.bits(want))


@pytest.mark.parametrize("shape", [(0, 5, 64), (3, 0, 64), (3, 20, 0)])
def test_nothing(family, rng, shape):
    m, n, k = shape
    one = weights(rng, n, k, 32, float16=True, zeros=8)
    operands = *rows(rng, m, k, np.uint8), *one, 32
    compare(*operands)
    with ThreadPoolExecutor(1) as thread:  # which has no buffer yet
        thread.submit(compare, *operands).result()


def test_packed_weights_take_half_a_byte_and_their_scales(rng):
    """A head; 16 columns: 256 bytes each 32 of K, 16 scales of 2 bytes or 4, 16 zeros where they differ."""
    for float16, zeros, extra in [(True, 8, 32), (False, 8, 64), (True, "each", 48)]:
        one = weights(rng, 70, 320, 64, float16=float16, zeros=zeros)
        assert nibble_model.Packed(*one, 64).nbytes == 64 + 5 * (10 * 256 + 5 * extra)


def test_values_with_any_strides(rng):
    q, scales, zeros = weights(rng, 40, 100, 32, float16=True, zeros="each")
    x = rows(rng, 3, 100, np.uint8)
    for other in (np.asfortranarray(q), np.repeat(q, 3, 1)[:, ::3], q[::-1].copy()[::-1]):
        compare(*x, other, scales, zeros, 32)


def test_groups_that_are_no_whole_units_are_refused(rng):
    one = weights(rng, 4, 100, 48, float16=True, zeros=8)
    assert nibble_model.Packed(*one, 48).error == -errno.EINVAL
    one = weights(rng, 1, (1 << 19) + 1, 1 << 20, float16=True, zeros=8)
    assert nibble_model.Packed(*one, 1 << 20).error == -errno.EINVAL


def test_one_group_may_be_of_any_length(family, rng):
    for k in (1, 31, 33, 100, 200):
        compare(*rows(rng, 3, k, np.uint8), *weights(rng, 5, k, 1000, float16=True, zeros="each"), 1000)


def test_out_may_not_overlap_the_rows(rng):
    memory = np.zeros(1000, np.uint8)
    packed = nibble_model.Packed(*weights(rng, 4, 64, 32, float16=True, zeros=8), 32)
    out = memory[60:76].view(F).reshape(1, 4)
    got = nibble_model.multiply(memory[:64].reshape(1, 64), np.zeros(1), packed, out)
    assert got == -errno.EXDEV


def test_families_are_chosen_by_name():
    assert vector_family.of_nibbles()[-1] == "plain"
    assert ffi.string(lib.amx_nibbles_selected()).decode() == vector_family.of_nibbles()[0]
    assert lib.amx_nibbles_select(b"none of them") == -errno.ENOTSUP
