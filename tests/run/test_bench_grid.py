"""The products that `amx bench` can be asked for: shapes as they are written, and presets."""

import itertools

import pytest
from benching import case

from amx.bench.grid import PRESETS, Case, Dtype, Shape, parse_preset


def test_shapes_are_m_n_k():
    assert case("2x3x5") == Case(Shape(m=2, n=3, k=5), Dtype.INT8)
    assert case("7x2x3x5") == Case(Shape(m=2, n=3, k=5, batch=7), Dtype.INT8)
    assert case("7x2x3x5:bf16").dtype is Dtype.BF16
    assert case("2x3x5@8") == Case(Shape(m=2, n=3, k=5, ld=8), Dtype.INT8)
    assert case("7x2x3x5@5:bf16") == Case(Shape(m=2, n=3, k=5, batch=7, ld=5), Dtype.BF16)


def test_a_shape_without_dtype_is_one_product_of_each():
    cases = parse_preset("2x3x5", (Dtype.INT8, Dtype.FP16))
    assert [each.dtype for each in cases] == [Dtype.INT8, Dtype.FP16]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cube",
        "2x3",
        "2x3x5x7x11",
        "-1x2x3",
        "2x3x5:int4",
        "2x0x5",
        "2x3x5:",
        "2x3x5@",
        "2x3x5@4",
        "2x5x3@4",
        "2x3x5@0",
        "2x3x5@-8",
        "2x3x5:int8@8",
        "2x3x5@8@8",
        "٢x3x5",
    ],
)
def test_what_is_no_shape_is_an_error_that_names_it(text):
    with pytest.raises(ValueError, match=r"preset|dtype|dimension|leading"):
        parse_preset(text, (Dtype.INT8,))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_distinct_products(name):
    cases = parse_preset(name, (Dtype.INT8, Dtype.BF16))
    assert len(set(cases)) == len(cases) == 2 * len(PRESETS[name])


def test_a_case_reads_as_it_is_written():
    for each in itertools.chain.from_iterable(parse_preset(name, tuple(Dtype)) for name in PRESETS):
        assert case(str(each)) == each


def test_operations_and_bytes():
    shape = Shape(2, 3, 5, batch=7)
    assert shape.operations == 7 * 2 * 30
    assert shape.bytes(Dtype.INT8) == 7 * (10 + 15 + 24)
    assert shape.bytes(Dtype.BF16) == 7 * (20 + 30 + 24)
