"""Rows of floats quantised to 8 bits (csrc/layer/): the bits that docs/numerics.md gives, at every width."""

import layer_calls
import layer_model
import numpy as np
import pytest
from layer_model import QUANTITIES

import amx

FLOATS = sorted(layer_model.FLOATS)


@pytest.fixture(params=layer_calls.widths(), autouse=True)
def width(request):
    with layer_calls.selected(request.param):
        yield request.param


def quantized(x, name, given=None):
    """q, scales, zero points and sums of rows that are padded to whole 64 bytes, and the padding is zero."""
    rows, k = x.shape
    memory = np.full((rows, -(-k // 64) * 64 + 5), 77, layer_calls.dtype_of(name))
    q = memory[:, :-5]
    found = layer_calls.quantize_rows(x, name, given, q=q)
    assert (memory[:, -5:] == 77).all()
    assert not q[:, k:].any()
    return q[:, :k].copy(), *found


def check(x, name, given=None):
    want = layer_model.quantize_rows(x, QUANTITIES[name], given)
    for found, right in zip(quantized(x, name, given), want, strict=True):
        np.testing.assert_array_equal(layer_calls.bits(found), layer_calls.bits(right))


@pytest.mark.parametrize(
    ("name", "row", "q", "zero"),
    [
        ("uint8", [-1, 0, 3, 4], [0, 51, 204, 255], 51),
        ("int8", [-1, 0, 3, 4], [-128, -77, 76, 127], -77),
        ("int8-symmetric", [-127, 0, 2.5, 3.5], [-127, 0, 2, 4], 0),
        ("uint8-symmetric", [-127, 0, 2.5, 3.5], [1, 128, 130, 132], 128),
    ],
)
def test_a_row(name, row, q, zero):
    found, scales, zeros, sums = quantized(np.array([row], np.float32), name)
    assert (q, zero, sum(q)) == (found[0].tolist(), zeros[0], sums[0])
    assert np.float32(5 / 255 if zero in (51, -77) else 1) == scales[0]


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("element", FLOATS)
def test_random_rows_of_every_length(rng, name, element):
    for k in [*range(1, 71), *rng.integers(71, 700, 8)]:
        x = rng.standard_normal((5, int(k) + 3)) * 10.0 ** rng.integers(-4, 5, (5, 1))
        x = layer_calls.as_element(x + rng.choice([0, 0, 3, -3]), element)
        check(x[:, int(rng.integers(4)) :][:, : int(k)], name)


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("element", FLOATS)
def test_any_bits(rng, name, element):
    """Most rows hold a NaN or an infinity somewhere, others are of all magnitudes."""
    for k in (1, 2, 3, 40, 64, 130):
        words = rng.integers(0, 1 << 32, (40, k), np.uint32)
        x = words.view(np.float32) if element == "float32" else words.astype(np.uint16)
        check(x.view(np.float16) if element == "float16" else x, name)


EXTREMES = {
    "nothing but zeros of both signs": [0.0, -0.0, 0.0],
    "the whole range, whose length overflows": [-3.4028235e38, 3.4028235e38, 1e30],
    "no positive ones": [-3.0, -1.0, -2.0],
    "no negative ones": [3.0, 1.0, 2.0],
    "denormal numbers alone": [1e-45, -1e-40, 3e-42],
    "steps that would be denormal": [1e-37, -1e-38, 1.1754944e-38],
}


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("row", EXTREMES.values(), ids=EXTREMES)
def test_extremes(name, row):
    check(np.array([row, row[::-1]], np.float32), name)


def test_the_least_scale_is_the_least_normal_number():
    _, scales, _, _ = quantized(np.array([[1e-45, 0], [0, 0]], np.float32), "uint8")
    assert scales.tolist() == [2.0**-126, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_spoils_its_row_wherever_it_is(bad):
    x = np.ones((150, 150), np.float32)
    np.fill_diagonal(x, bad)
    x[7, 7] = 1
    q, scales, zeros, sums = quantized(x, "uint8")
    assert np.flatnonzero(~np.isnan(scales)).tolist() == [7]
    assert (layer_calls.bits(scales[:7]) == 0x7FC00000).all()
    assert not zeros.any()
    assert not q[:7].any()
    assert (sums[7], sums[8]) == (255 * 150, 0)


@pytest.mark.parametrize("given", [(0.013, 3), (2.0**-126, 0), (1e30, 7)])
@pytest.mark.parametrize("name", ["uint8", "int8", "int8-symmetric"])
def test_a_given_scale_clips(rng, name, given):
    scale, zero = np.float32(given[0]), given[1] if name != "int8-symmetric" else 0
    x = (rng.standard_normal((6, 101)) * 10.0 ** rng.integers(-2, 38, (6, 1))).astype(np.float32)
    x[1, 50], x[2, 100] = np.nan, np.inf
    check(x, name, (scale, zero))


@pytest.mark.parametrize(
    ("name", "symmetric"), [("uint8", False), ("int8", False), ("uint8", True), ("int8", True)]
)
def test_rows_are_what_quantize_makes_of_them(rng, name, symmetric):
    x = (rng.standard_normal((60, 77)) * 10.0 ** rng.integers(-44, 38, (60, 1))).astype(np.float32)
    want = amx.quantize(x, name, axis=0, symmetric=symmetric)
    q, scales, zeros, _ = quantized(x, f"{name}-symmetric" if symmetric else name)
    np.testing.assert_array_equal(q, want.values)
    np.testing.assert_array_equal(scales, want.scale)
    np.testing.assert_array_equal(zeros, want.zero_point)


def test_no_rows():
    q, scales, _, _ = quantized(np.empty((0, 5), np.float32), "int8")
    assert q.size == scales.size == 0
