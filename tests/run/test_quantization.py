"""`amx.quantize` against its definition in exact fractions, and what it refuses."""

import os
import time
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import quantization_model as model

import amx

TYPES = ["int8", "uint8", "uint4"]
HUGE = np.float32(3.4e38)
TINY = np.float32(2**-149)


def check(x, dtype, axis=None, group=None, symmetric=True):
    """Scale, zero point, values, and the numbers that they stand for, are the definition's."""
    found = amx.quantize(x, dtype, axis, group, symmetric)
    where = f"{dtype}, axis {axis}, group {group}, symmetric {symmetric}, of {x.dtype} {x.tolist()}"
    assert (found.shape, found.dtype) == (x.shape, dtype), where
    real = found.dequantize()
    assert real.dtype == np.float32
    slices = model.slices(x.shape, axis, group)
    assert found.scale.size == found.zero_point.size == len(slices)
    for key, places in slices.items():
        numbers = [model.rounded(Fraction(float(x[place]))) for place in places]
        scale, zero, values = model.slice_of(numbers, dtype, symmetric)
        assert (scale, zero) == (Fraction(float(found.scale[key])), int(found.zero_point[key])), where
        assert values == [int(found.values[place]) for place in places], where
        for place, value in zip(places, values, strict=True):
            got = Fraction(float(real[place])) if np.isfinite(real[place]) else model.INFINITY
            assert model.real_of(value, zero, scale) == got, where


def numbers(rng, shape):
    """Finite float32 of a kind that is drawn."""
    normal = rng.standard_normal(shape)
    kinds = [
        lambda: normal,
        lambda: normal * 10.0 ** rng.integers(-44, 38),
        lambda: normal * 10.0 ** rng.integers(-44, 38, shape),
        lambda: (
            (rng.integers(-127, 128, shape) + 0.5) * 2.0 ** rng.integers(-140, 120)
        ),  # ties, by a scale of 2**e
        lambda: rng.choice([-127, 127, 0.5, 1.5, -2.5, 63.5, -0.5], shape) * 2.0 ** rng.integers(-140, 120),
        lambda: rng.choice([-8, 8, 0.5, -7.5, 1.5, 3.5, 0], shape) * 2.0 ** rng.integers(-145, 120),
        lambda: rng.integers(-200, 200, shape) * 2.0**-149,
        lambda: rng.choice([HUGE, -HUGE, 1, 0, 1e30], shape),
        lambda: rng.uniform(-1, 1, shape) * HUGE,
        lambda: np.abs(normal) + rng.integers(0, 3),
        lambda: -np.abs(normal) - rng.integers(0, 3),
        lambda: np.full(shape, rng.standard_normal()),
        lambda: np.zeros(shape),
        lambda: rng.choice([-0.0, 0.0, 2.0**-149, -(2.0**-149), 2.0**-126], shape),
    ]
    limit = float(np.finfo(np.float32).max)
    return np.clip(kinds[rng.integers(len(kinds))](), -limit, limit).astype(np.float32)


def test_random_numbers():
    """400 arrays of all kinds, types, slices and element types; AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(400):
        shape = tuple(rng.integers(0, 7, rng.integers(0, 4)))
        axis = None if not shape or rng.random() < 0.4 else int(rng.integers(len(shape)))
        group = None
        if len(shape) == 2 and rng.random() < 0.6:
            axis, group = 0, int(rng.integers(1, 9))
        x = numbers(rng, shape)
        kind = rng.choice(["float32", "float32", "float64", "float16", "bfloat16"])
        with np.errstate(over="ignore"):
            as_kind = x.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
        if not np.isfinite(as_kind.astype(np.float32)).all():
            continue  # beyond float16
        if kind == "float64":  # between float32 numbers
            as_kind = as_kind * (1 + rng.uniform(-1e-8, 0, shape))
        check(np.asarray(as_kind), rng.choice(TYPES), axis, group, bool(rng.random() < 0.5))


@pytest.mark.parametrize(
    ("values", "scale", "zero", "x", "arguments"),
    [
        ([-64, 0, 32, 127], 2 / 127, 0, [-1, 0, 0.5, 2], {}),
        ([64, 128, 160, 255], 2 / 127, 128, [-1, 0, 0.5, 2], {"dtype": "uint8"}),
        ([0, 85, 127, 255], 3 / 255, 85, [-1, 0, 0.5, 2], {"dtype": "uint8", "symmetric": False}),
        ([-128, -43, -1, 127], 3 / 255, -43, [-1, 0, 0.5, 2], {"symmetric": False}),
        ([12, 8, 6, 0], -1 / 4, 8, [-1, 0, 0.5, 2], {"dtype": "uint4"}),
        ([0, 5, 8, 15], 1638 / 8192, 5, [-1, 0, 0.5, 2], {"dtype": "uint4", "symmetric": False}),
        ([0, 14], 1311 / 32768, 7, [-0.3, 0.3], {"dtype": "uint4", "symmetric": False}),
        ([0, 15], 1 / 4, 8, [-2, 2], {"dtype": "uint4"}),
        ([0, 15], -1 / 4, 8, [2, -2], {"dtype": "uint4"}),
        ([0, 2, 2, 4, -127], 1, 0, [0.5, 1.5, 2.5, 3.5, -127], {}),
        ([0, 0], 1, 0, [0, -0.0], {"dtype": "uint8", "symmetric": False}),
        ([255, 255], 3 / 255, 0, [3, 3], {"dtype": "uint8", "symmetric": False}),
        ([0, 0], 3 / 255, 255, [-3, -3], {"dtype": "uint8", "symmetric": False}),
        ([-128, -128], 1, -128, [0, 0], {"symmetric": False}),
        ([127, 127], 3 / 127, 0, [3, 3], {}),
        ([0, 1], 2.0**-126, 0, [2.0**-149, 2.0**-126], {}),
        ([0, 255], 2 * 3e38 / 255, 128, [-3e38, 3e38], {"dtype": "uint8", "symmetric": False}),
        ([], 1, 0, [], {}),
    ],
)
def test_some_by_hand(values, scale, zero, x, arguments):
    """Ties go to even, ranges have 0 in them; in 4 bits the first of two largest counts, by scales of 16."""
    found = amx.quantize(np.array(x, np.float32), **arguments)
    assert found.values.tolist() == values
    assert found.scale == pytest.approx(scale, rel=3e-7)
    assert found.zero_point == zero
    check(np.array(x, np.float32), **{"dtype": "int8", **arguments})


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_corners_of_float32(dtype, symmetric):
    """The largest and smallest numbers, alone and together."""
    most, least = np.finfo(np.float32).max, np.finfo(np.float32).tiny
    for x in [
        [most],
        [-most],
        [most, -most],
        [-most, most, 0],
        [TINY],
        [-TINY, TINY],
        [least, -TINY],
        [-3.4e38, 3.05e38],  # whose halves round otherwise than what 255 and 15 divide each into
        [most, TINY],
        [-most, 1],
        [least * 127, least / 2],
        [least * 8, -least * 4, least / 2],
    ]:
        check(np.array(x, np.float32), dtype, symmetric=symmetric)


def test_the_reciprocal_is_what_numbers_are_multiplied_by():
    """Dividing by the scale gives other values close to ties: here are some, and they round as defined."""
    ties = (np.arange(-127, 127, dtype=np.float32) + np.float32(0.5)) * np.float32(0.3)
    found = amx.quantize(np.append(ties, np.float32(127 * 0.3)))
    divided = np.rint(ties / found.scale)
    assert np.count_nonzero(divided != found.values[:-1]) > 5
    check(np.append(ties, np.float32(127 * 0.3)), "int8")


def test_a_negative_axis_counts_from_the_end():
    x = np.random.default_rng(5).standard_normal((3, 4, 5))
    for axis in (-1, -2, -3):
        found = amx.quantize(x, axis=axis)
        assert (found.axis, found.scale.shape) == (3 + axis, (x.shape[axis],))
        np.testing.assert_array_equal(found.values, amx.quantize(x, axis=3 + axis).values)


def test_groups_are_of_axis_0_and_the_last_may_be_shorter():
    x = np.random.default_rng(6).standard_normal((3, 10))
    for axis in (None, 0, -2):
        found = amx.quantize(x, "uint4", axis, group=4)
        assert (found.axis, found.group, found.scale.shape, found.zero_point.shape) == (0, 4, (3, 3), (3, 3))
    alone = amx.quantize(x[:, 8:], "uint4", axis=0)
    np.testing.assert_array_equal(found.scale[:, 2], alone.scale)
    np.testing.assert_array_equal(found.values[:, 8:], alone.values)
    assert found.values.flags.c_contiguous


def test_any_array_of_numbers_is_taken():
    """Lists, other byte orders, strides, broadcast and read-only arrays."""
    x = np.random.default_rng(7).standard_normal((6, 8)).astype(np.float32)
    want = amx.quantize(x, axis=0)
    frozen = x.copy()
    frozen.flags.writeable = False
    padded = np.zeros((12, 16), np.float32)
    padded[::2, ::2] = x
    for same in (x.tolist(), x.astype(">f4"), np.asfortranarray(x), frozen, padded[::2, ::2]):
        found = amx.quantize(same, axis=0)
        np.testing.assert_array_equal(found.values, want.values)
        np.testing.assert_array_equal(found.scale, want.scale)
        assert found.values.flags.c_contiguous
    assert amx.quantize(np.broadcast_to(np.float32(2), (3, 3))).values.tolist() == [[127] * 3] * 3


def test_bfloat16_may_be_its_bits_in_a_field():
    """As tensors of bfloat16 are read, with ml_dtypes and without."""
    x = np.random.default_rng(8).standard_normal((4, 6)).astype(ml_dtypes.bfloat16)
    x[1, 2] = -0.0
    x[0, 0] = TINY
    in_field = x.view(np.uint16).view([("bfloat16", np.uint16)])
    found, want = amx.quantize(in_field, axis=0), amx.quantize(x, axis=0)
    np.testing.assert_array_equal(found.values, want.values)
    np.testing.assert_array_equal(found.scale, want.scale)
    x[3, 1] = np.nan
    with pytest.raises(amx.errors.QuantizationError, match=r"x\[3, 1\] is nan"):
        amx.quantize(in_field)


def test_the_callers_settings_of_numpy_do_not_matter():
    """Nothing is raised where NumPy is told to raise at what the definition has: overflow, tiny numbers."""
    with np.errstate(all="raise"):
        for x in ([-HUGE, HUGE], [TINY, 2 * TINY], [HUGE, TINY]):
            for dtype in TYPES:
                amx.quantize(np.array(x), dtype, symmetric=False).dequantize()
                amx.quantize(np.array(x), dtype).dequantize()


@pytest.mark.parametrize(
    ("said", "place", "value", "dtype"),
    [
        ("x[1, 2] is nan", (1, 2), np.nan, np.float32),
        ("x[0, 1] is inf", (0, 1), np.inf, np.float32),
        ("x[1, 0] is -inf", (1, 0), -np.inf, np.float16),
        ("x[1, 0] is nan", (1, 0), np.nan, ml_dtypes.bfloat16),
        ("x[0, 0] is 1e+39", (0, 0), 1e39, np.float64),
    ],
)
@pytest.mark.parametrize("arguments", [{}, {"axis": 1}, {"dtype": "uint4", "group": 2, "symmetric": False}])
def test_what_has_no_scale_is_named(said, place, value, dtype, arguments):
    """The first place, and what is there; a later one does not matter."""
    x = np.ones((2, 3), dtype)
    x[place] = value
    x[1, 2] = np.nan
    with pytest.raises(amx.errors.QuantizationError) as caught:
        amx.quantize(x, **arguments)
    assert caught.value.what == said
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("error", "said", "x", "arguments"),
    [
        ("DtypeError", r"x is an array of int64.*np.asarray\(x, np.float32\)", [1, 2], {}),
        ("DtypeError", "x is an array of complex64", np.ones(2, np.complex64), {}),
        ("DtypeError", "x is an array of uint16.*bfloat16", np.ones(2, np.uint16), {}),
        ("DtypeError", "x is a set", {1.0}, {}),
        ("DtypeError", "dtype='int4'.*int8, uint8 or uint4", [1.0], {"dtype": "int4"}),
        ("DtypeError", "dtype=None", [1.0], {"dtype": None}),
        ("DtypeError", "dtype=float32", [1.0], {"dtype": np.dtype(np.float32)}),
        ("DtypeError", "axis=0.5", [1.0], {"axis": 0.5}),
        ("DtypeError", "group='2'", [[1.0]], {"group": "2"}),
        ("ShapeError", r"axis=1 of shape \(1,\)", [1.0], {"axis": 1}),
        ("ShapeError", r"axis=-2 of shape \(1,\)", [1.0], {"axis": -2}),
        ("ShapeError", r"axis=0 of shape \(\)", 1.0, {"axis": 0}),
        ("ShapeError", r"group=2 of shape \(2,\)", [1.0, 2.0], {"group": 2}),
        ("ShapeError", "group=2 of shape.*axis=1", [[1.0, 2.0]], {"group": 2, "axis": 1}),
        ("ShapeError", "group=0", [[1.0]], {"group": 0}),
        ("ShapeError", "group=-1", [[1.0]], {"group": -1}),
    ],
)
def test_what_cannot_be_quantised_is_refused(error, said, x, arguments):
    with pytest.raises(getattr(amx.errors, error), match=said):
        amx.quantize(x, **arguments)


def test_a_type_may_be_numpys():
    for dtype in (np.int8, np.dtype(np.uint8)):
        assert amx.quantize([1.0], dtype).values.dtype == dtype


@pytest.mark.parametrize("symmetric", [True, False])
def test_scales_of_4_bits_are_of_16(symmetric):
    """Around the ends of what float16 has as normal numbers, each half a step from the next."""
    ends = [2.0**-14, 65504.0, 65520.0]
    scales = [end * (1 + i * 2.0**-12) for end in ends for i in (-2, -1.5, -1, -0.5, 0, 0.5, 1)]
    for scale in scales:
        x = np.array([-8 * scale, 7 * scale, scale / 2], np.float32)
        check(x, "uint4", symmetric=symmetric)
        found = amx.quantize(x, "uint4", symmetric=symmetric).scale
        assert not 2.0**-14 <= abs(found) < 65520 or np.float16(found) == found
