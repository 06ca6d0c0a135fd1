"""`amx.Quantized` as a value: what it keeps, what its numbers are, and what it refuses."""

import copy
import dataclasses
import pickle

import ml_dtypes
import numpy as np
import pytest

import amx

VALUES = np.array([[0, 1, 2, 3, 4], [11, 12, 13, 14, 15]], np.uint8)
SCALE = np.array([[1, 0.5, -2], [4, 8, 0.25]], np.float32)
ZERO = np.array([[0, 2, 16], [1, 8, 15]])
REAL = [[0, 1, 0, 0.5, 24], [40, 44, 40, 48, 0]]


def grouped(**changes):
    fields = {"values": VALUES, "scale": SCALE, "zero_point": ZERO, "axis": 0, "group": 2, "dtype": "uint4"}
    return amx.Quantized(**{**fields, **changes})


def with_scale(number):
    scale = SCALE.astype(np.float64)
    scale[1, 1] = number
    return scale


def test_the_numbers_that_values_stand_for():
    """Those of scale * (values - zero_point), for the whole, for an axis, and for groups."""
    values = np.array([[-128, 0, 127], [1, 2, 3]], np.int8)
    whole = amx.Quantized(values, 0.5, -1)
    assert whole.dequantize().tolist() == [[-63.5, 0.5, 64], [1, 1.5, 2]]
    rows = amx.Quantized(values, [0.5, 2.0], [0, 1], axis=0)
    assert rows.dequantize().tolist() == [[-64, 0, 63.5], [0, 2, 4]]
    columns = amx.Quantized(values, np.array([1, 2, 4], np.float16), [0, 0, 127], axis=-1)
    assert columns.dequantize().tolist() == [[-128, 0, 0], [1, 4, -496]]
    assert grouped().dequantize().tolist() == REAL
    assert {each.dequantize().dtype.name for each in (whole, rows, columns, grouped())} == {"float32"}


def test_what_is_kept():
    """Values as they are; scale and zero point as float32 and int32 of one shape; an axis from the front."""
    values = np.zeros((2, 3), np.uint8)
    found = amx.Quantized(values, np.ones(3, ml_dtypes.bfloat16), np.uint64(255), axis=-1)
    assert np.shares_memory(found.values, values)
    assert (found.scale.dtype, found.scale.tolist()) == (np.float32, [1, 1, 1])
    assert (found.zero_point.dtype, found.zero_point.tolist()) == (np.int32, [255, 255, 255])
    assert (found.axis, found.group, found.dtype, found.order) == (1, None, "uint8", None)
    assert amx.Quantized(np.zeros(2, np.int8), 1.0, 0).dtype == "int8"
    assert (grouped(axis=None).axis, grouped(axis=-2).axis) == (0, 0)
    assert values.flags.writeable


def test_float64_scales_are_rounded_to_float32():
    assert amx.Quantized(np.zeros(1, np.int8), 1 / 3, 0).scale == np.float32(1 / 3)


def test_it_does_not_change():
    found = grouped(order=[4, 3, 2, 1, 0])
    for array in (found.values, found.scale, found.zero_point, found.order):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.scale = 1
    scale = np.ones((), np.float32)
    kept = amx.Quantized(VALUES, scale, 0)
    scale[...] = 2
    assert kept.scale == 1


def test_copies_and_pickles_are_the_same():
    for made in (grouped(), grouped(order=[4, 3, 2, 1, 0]), amx.quantize([1.0, 2.0])):
        for other in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
            for field in dataclasses.fields(made):
                np.testing.assert_array_equal(getattr(other, field.name), getattr(made, field.name))
            assert other.values.dtype == made.values.dtype
            assert not other.scale.flags.writeable


def test_a_changed_copy_is_validated():
    assert (
        dataclasses.replace(grouped(), scale=SCALE * 2).dequantize().tolist() == (2 * np.array(REAL)).tolist()
    )
    with pytest.raises(amx.errors.QuantizationError, match=r"scale\[0, 0\] is 0"):
        dataclasses.replace(grouped(), scale=SCALE * 0)


def test_columns_in_another_order():
    """values[:, j] belong to column order[j]."""
    order = [3, 0, 4, 1, 2]
    real = grouped(order=order).dequantize()
    assert real[:, order].tolist() == REAL
    assert real[0].tolist() == [1, 0.5, 24, 0, 0]


def test_it_says_what_it_is():
    assert (
        repr(grouped())
        == "Quantized(shape=(2, 5), dtype=uint4, axis=0, group=2, scale=-2..8, zero_point=0..16)"
    )
    assert repr(grouped(order=[4, 3, 2, 1, 0])).endswith(", in another order)")
    whole = amx.Quantized(np.zeros((3,), np.int8), 0.5, 7)
    assert repr(whole) == "Quantized(shape=(3,), dtype=int8, scale=0.5, zero_point=7)"
    empty = amx.Quantized(np.zeros((0, 3), np.int8), np.zeros(0), 0, axis=0)
    assert repr(empty) == "Quantized(shape=(0, 3), dtype=int8, axis=0, scale=none, zero_point=none)"


@pytest.mark.parametrize(
    ("error", "said", "changes"),
    [
        ("DtypeError", r"values is an array of int64.*held in uint8.*astype\(np.uint8\)", {"values": [[1]]}),
        ("DtypeError", "values is an array of int8", {"values": VALUES.astype(np.int8)}),
        (
            "DtypeError",
            "values is an array of float32.*int8",
            {"values": np.ones((2, 5), "f"), "dtype": None},
        ),
        ("DtypeError", "dtype='int4'", {"dtype": "int4"}),
        ("DtypeError", "scale is an array of int64", {"scale": ZERO}),
        ("DtypeError", "zero_point is of float32", {"zero_point": SCALE}),
        ("DtypeError", "zero_point is of bool", {"zero_point": False}),
        ("DtypeError", "order is of float64", {"order": np.arange(5.0)}),
        ("DtypeError", "axis='0'", {"axis": "0"}),
        ("ShapeError", r"scale has shape \(3,\).*it has shape \(2, 3\)", {"scale": np.ones(3)}),
        ("ShapeError", r"scale has shape \(3, 2\)", {"scale": SCALE.T}),
        ("ShapeError", r"scale has shape \(\)", {"scale": 1.0}),
        ("ShapeError", r"scale has shape \(2, 3\).*it has shape \(2, 2\)", {"group": 3}),
        ("ShapeError", r"zero_point has shape \(2,\)", {"zero_point": [1, 2]}),
        ("ShapeError", r"order has shape \(2,\).*it has shape \(5,\)", {"order": [1, 0]}),
        (
            "ShapeError",
            "order without group",
            {"order": [0], "group": None, "scale": np.ones(2), "zero_point": 0},
        ),
        ("ShapeError", r"axis=2 of shape \(2, 5\)", {"axis": 2}),
        ("ShapeError", "group=2 of shape.*axis=1", {"axis": 1}),
        ("ShapeError", "group=0", {"group": 0}),
        ("QuantizationError", r"values\[1, 4\] is 16.*0 to 15", {"values": VALUES + (VALUES == 15)}),
        ("QuantizationError", r"scale\[1, 1\] is nan", {"scale": with_scale(np.nan)}),
        ("QuantizationError", r"scale\[1, 1\] is inf", {"scale": with_scale(np.inf)}),
        ("QuantizationError", r"scale\[1, 1\] is 1e\+39", {"scale": with_scale(1e39)}),
        ("QuantizationError", r"scale\[1, 1\] is 1e-50", {"scale": with_scale(1e-50)}),
        ("QuantizationError", r"scale\[1, 1\] is 0\.0.*not 0", {"scale": with_scale(0)}),
        ("QuantizationError", r"zero_point\[0, 2\] is 17.*0 to 16", {"zero_point": ZERO + (ZERO == 16)}),
        ("QuantizationError", r"zero_point\[0, 0\] is -1", {"zero_point": ZERO - (ZERO == 0)}),
        ("QuantizationError", "order is no permutation.*0 to 4", {"order": [0, 1, 2, 3, 3]}),
        ("QuantizationError", "order is no permutation", {"order": [1, 2, 3, 4, 5]}),
    ],
)
def test_what_does_not_fit_is_refused(error, said, changes):
    with pytest.raises(getattr(amx.errors, error), match=said) as caught:
        grouped(**changes)
    assert caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("said", "values", "scale", "zero_point"),
    [
        ("scale is -1.0.*Scales of int8 are finite in float32, and above 0", np.int8(0), -1.0, 0),
        ("scale is 0.0.*above 0", np.uint8(0), 0.0, 0),
        ("zero_point is 128.*-128 to 127", np.int8(0), 1.0, 128),
        ("zero_point is -129", np.int8(0), 1.0, -129),
        ("zero_point is 256.*0 to 255", np.uint8(0), 1.0, 256),
        ("zero_point is 18446744073709551615", np.int8(0), 1.0, np.uint64(2**64 - 1)),
    ],
)
def test_eight_bits_have_positive_scales_and_their_own_zero_points(said, values, scale, zero_point):
    with pytest.raises(amx.errors.QuantizationError, match=said):
        amx.Quantized(values, scale, zero_point)


@pytest.mark.parametrize("group", [9, 2**40, 2**63, 2**70])
def test_groups_may_be_longer_than_any_row(group):
    """They are then one group, and take no more memory than it."""
    numbers = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    want = amx.quantize(numbers, "uint4", group=8)
    found = amx.quantize(numbers, "uint4", group=group)
    np.testing.assert_array_equal(found.values, want.values)
    np.testing.assert_array_equal(found.dequantize(), want.dequantize())
    layer, x = amx.Linear(found), np.ones((3, 8), np.float32)
    np.testing.assert_array_equal(layer(x), amx.Linear(want)(x))
    assert layer.weight.group == group
    np.testing.assert_array_equal(layer.weight.values, want.values)
