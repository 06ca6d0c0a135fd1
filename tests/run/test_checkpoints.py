"""`amx.checkpoints`: words written nibble by nibble, and values that are known."""

import os
import time

import numpy as np
import pytest

import amx
from amx import checkpoints

# Rows 0 to 7 and 8 to 15 of eight columns: the lowest digit is the first row.
GPTQ_WORDS = [
    [0x76543210, 0xFEDCBA98, 0x01234567, 0x89ABCDEF, 0x00000000, 0xFFFFFFFF, 0x0F0F0F0F, 0x80000001],
    [0x11111112, 0x22222223, 0x33333334, 0x44444445, 0x55555556, 0x66666667, 0x77777778, 0x88888889],
]
GPTQ_VALUES = [
    [0, 1, 2, 3, 4, 5, 6, 7, 2, 1, 1, 1, 1, 1, 1, 1],
    [8, 9, 10, 11, 12, 13, 14, 15, 3, 2, 2, 2, 2, 2, 2, 2],
    [7, 6, 5, 4, 3, 2, 1, 0, 4, 3, 3, 3, 3, 3, 3, 3],
    [15, 14, 13, 12, 11, 10, 9, 8, 5, 4, 4, 4, 4, 4, 4, 4],
    [0, 0, 0, 0, 0, 0, 0, 0, 6, 5, 5, 5, 5, 5, 5, 5],
    [15, 15, 15, 15, 15, 15, 15, 15, 7, 6, 6, 6, 6, 6, 6, 6],
    [15, 0, 15, 0, 15, 0, 15, 0, 8, 7, 7, 7, 7, 7, 7, 7],
    [1, 0, 0, 0, 0, 0, 0, 8, 9, 8, 8, 8, 8, 8, 8, 8],
]
# Two groups of eight columns: the lowest digit is the first column.
ZERO_WORDS = [[0x7F301248], [0x77777777]]
ZEROS = [[8, 7], [4, 7], [2, 7], [1, 7], [0, 7], [3, 7], [15, 7], [7, 7]]
SCALES = (np.arange(1, 17).reshape(2, 8) / 8).astype(np.float16)
# Rows of two words, where column c of eight is digit 0, 4, 1, 5, 2, 6, 3, 7 from the right.
AWQ_WORDS = [[0x76543210, 0xFEDCBA98], [0x00000001, 0x00010000], [0x10000000, 0x0000000A]]
AWQ_VALUES = [
    [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 1, 10, 0, 0, 0, 0, 0, 0, 0],
]


def words(numbers):
    """As they are stored: int32, whatever the highest bit."""
    return np.array(numbers, np.uint32).view(np.int32)


def gptq(**changes):
    given = {"qweight": words(GPTQ_WORDS), "qzeros": words(ZERO_WORDS), "scales": SCALES}
    return checkpoints.from_gptq(**{**given, **changes})


def awq(**changes):
    given = {
        "qweight": words(AWQ_WORDS),
        "qzeros": words([[0x76543210, 0x00000003]]),
        "scales": np.ones((1, 16), np.float16),
    }
    return checkpoints.from_awq(**{**given, **changes})


def test_a_gptq_layer():
    """Values (N, K), zero points one more than stored, scales (N, groups)."""
    found = gptq()
    assert found.values.tolist() == GPTQ_VALUES
    assert found.zero_point.tolist() == (np.array(ZEROS) + 1).tolist()
    assert found.scale.tolist() == SCALES.T.tolist()
    assert (found.dtype, found.axis, found.group, found.order) == ("uint4", 0, 8, None)
    assert found.values.flags.c_contiguous


def test_gptq_v2_stores_zero_points_as_they_are():
    assert gptq(checkpoint_format="gptq_v2").zero_point.tolist() == ZEROS


def test_groups_that_are_sorted_need_no_order():
    assert gptq(g_idx=np.arange(16) // 8).order is None
    assert gptq(g_idx=np.zeros(16, int), group=-1, qzeros=words([[0]]), scales=SCALES[:1]).order is None


def test_rows_of_a_group_that_are_not_adjacent():
    """Columns are sorted by group, in the order of their rows, and `order` says which they were."""
    g_idx = np.array([1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0], np.int32)
    found = gptq(g_idx=g_idx)
    assert found.order.tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14]
    assert found.values[0].tolist() == [1, 3, 5, 7, 1, 1, 1, 1, 0, 2, 4, 6, 2, 1, 1, 1]
    for n in range(8):
        for k in range(16):
            scale, zero = float(SCALES[g_idx[k], n]), ZEROS[n][g_idx[k]] + 1
            assert found.dequantize()[n, k] == scale * (GPTQ_VALUES[n][k] - zero)


def test_a_shorter_last_group():
    """Where its length is told: rows 12 to 15 are the second group."""
    found = gptq(group=12)
    assert (found.group, found.scale.shape) == (12, (8, 2))
    assert found.dequantize()[0].tolist() == [
        *((np.array(GPTQ_VALUES[0][:12]) - 9) * 0.125),
        *((np.array(GPTQ_VALUES[0][12:]) - 8) * 1.125),
    ]
    order = np.arange(16)[::-1]
    reverse = gptq(group=12, g_idx=order // 12)
    assert reverse.order.tolist() == [*range(4, 16), *range(4)]


def test_an_awq_layer():
    """Values (N, K) in plain order, zero points as they are stored."""
    found = awq()
    assert found.values.T.tolist() == AWQ_VALUES
    assert found.zero_point[:, 0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 3, 0, 0, 0, 0, 0, 0, 0]
    assert (found.dtype, found.axis, found.group, found.order) == ("uint4", 0, 3, None)
    assert found.values.flags.c_contiguous


def test_random_layers():
    """Each value by itself, by shifts of Python's integers; AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        group, groups, n = 8 * int(rng.integers(1, 4)), int(rng.integers(1, 4)), 8 * int(rng.integers(1, 4))
        k = group * groups
        g_idx = rng.permutation(np.arange(k) // group)
        scales = rng.uniform(0.01, 1, (groups, n)).astype(np.float16)
        rows = rng.integers(0, 2**32, (k // 8, n), dtype=np.uint32)
        columns = rng.integers(0, 2**32, (k, n // 8), dtype=np.uint32)
        zeros = rng.integers(0, 2**32, (groups, n // 8), dtype=np.uint32)
        found = checkpoints.from_gptq(rows.view(np.int32), zeros.view(np.int32), scales, g_idx).dequantize()
        other = checkpoints.from_awq(columns.view(np.int32), zeros.view(np.int32), scales).dequantize()
        for row in range(k):
            for column in range(n):
                value = int(rows[row // 8, column]) >> 4 * (row % 8) & 15
                zero = (int(zeros[g_idx[row], column // 8]) >> 4 * (column % 8) & 15) + 1
                assert found[column, row] == np.float32(value - zero) * np.float32(scales[g_idx[row], column])
                shift = 4 * [0, 2, 4, 6, 1, 3, 5, 7].index(column % 8)
                value = int(columns[row, column // 8]) >> shift & 15
                zero = int(zeros[row // group, column // 8]) >> shift & 15
                assert other[column, row] == np.float32(value - zero) * np.float32(
                    scales[row // group, column]
                )


def test_a_matrix_of_onnx():
    """Transposed; of one scale, or one for each column."""
    b = np.array([[-128, 0, 127], [1, 2, 3]], np.int8)
    for shape in [(), (1,)]:
        found = checkpoints.from_onnx(b, np.full(shape, 0.5, np.float32), np.full(shape, 3, np.int8))
        assert (found.axis, found.values.tolist()) == (None, b.T.tolist())
        assert found.dequantize().tolist() == [[-65.5, -1], [-1.5, -0.5], [62, 0]]
    for shape in [(3,), (1, 3)]:
        scale, zero = np.array([1, 2, 4], np.float32), np.array([0, 1, -1], np.int8)
        found = checkpoints.from_onnx(b, scale.reshape(shape), zero.reshape(shape))
        assert found.axis == 0
        assert found.dequantize().tolist() == [[-128, 1], [-2, 2], [512, 16]]
    unsigned = checkpoints.from_onnx(b.view(np.uint8), np.float32(1))
    assert (unsigned.dtype, unsigned.zero_point) == ("uint8", 0)
    assert unsigned.values.flags.c_contiguous


@pytest.mark.parametrize(
    ("error", "said", "changes"),
    [
        ("DtypeError", "qweight is an array of int64", {"qweight": np.zeros((2, 8), np.int64)}),
        ("DtypeError", "qzeros is an array of float32", {"qzeros": np.zeros((2, 1), np.float32)}),
        ("DtypeError", "2 words for the 8 columns.*8 bits.*Only.*4 bits", {"qzeros": words([[0, 0]] * 2)}),
        ("DtypeError", "1 words for the 16 columns.*2 bits", {"scales": np.ones((2, 16), np.float16)}),
        (
            "DtypeError",
            "3 words for the 32 columns.*3 bits",
            {"qzeros": words([[0] * 3] * 2), "scales": np.ones((2, 32), np.float16)},
        ),
        ("DtypeError", "g_idx is an array of float64", {"g_idx": np.zeros(16)}),
        ("DtypeError", "group='8'", {"group": "8"}),
        ("DtypeError", "scale is an array of int64", {"scales": np.ones((2, 8), int)}),
        ("ShapeError", r"qweight has shape \(8,\).*a matrix", {"qweight": words([0] * 8)}),
        (
            "ShapeError",
            r"qweight has shape \(2, 9\).*\(K / 8, N\) is \(2, 8\)",
            {"qweight": words([[0] * 9] * 2)},
        ),
        ("ShapeError", r"qzeros has shape \(1, 1\).*is \(2, 1\)", {"qzeros": words([[0]])}),
        ("ShapeError", "scales has 2 columns", {"scales": SCALES.T}),
        ("ShapeError", r"g_idx has shape \(3,\)", {"g_idx": [0, 0, 1]}),
        ("ShapeError", "group=4 with 2 groups of K = 16", {"group": 4}),
        ("ShapeError", "group=-1 with 2 groups of K = 16", {"group": -1}),
        ("ShapeError", "group=0 with", {"group": 0}),
        ("ShapeError", "3 groups of K = 16.*Pass group", {"scales": np.ones((3, 8), np.float16)}),
        ("QuantizationError", "checkpoint_format='marlin'.*gptq, gptq_v2", {"checkpoint_format": "marlin"}),
        ("QuantizationError", "groups that are not of 8 rows", {"g_idx": [0] * 7 + [1] * 9}),
        ("QuantizationError", "groups that are not of 8 rows", {"g_idx": [-1] * 8 + [1] * 8}),
        ("QuantizationError", r"scale\[1, 0\] is 0.0", {"scales": SCALES * (SCALES != 0.25)}),
    ],
)
def test_what_is_no_layer_of_gptq_is_refused(error, said, changes):
    with pytest.raises(getattr(amx.errors, error), match=said) as caught:
        gptq(**changes)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("error", "said", "changes"),
    [
        ("DtypeError", "4 words for the 16 columns.*8 bits", {"qzeros": words([[0] * 4])}),
        ("ShapeError", r"qweight has shape \(16, 1\).*\(K, N / 8\)", {"qweight": words([[0]] * 16)}),
        ("ShapeError", "2 groups of K = 3", {"scales": np.ones((2, 16)), "qzeros": words([[0, 0]] * 2)}),
        ("ShapeError", r"qzeros has shape \(2, 2\)", {"qzeros": words([[0, 0]] * 2)}),
    ],
)
def test_what_is_no_layer_of_awq_is_refused(error, said, changes):
    with pytest.raises(getattr(amx.errors, error), match=said):
        awq(**changes)


@pytest.mark.parametrize(
    ("error", "said", "arguments"),
    [
        ("ShapeError", r"b has shape \(2,\)", (np.zeros(2, np.int8), 1.0)),
        ("ShapeError", r"scale has shape \(2,\).*3 columns", (np.zeros((2, 3), np.int8), np.ones(2))),
        ("ShapeError", r"zero_point has shape \(3,\)", (np.zeros((2, 3), np.int8), 1.0, np.zeros(3, int))),
        ("DtypeError", "^b is an array of int32", (np.zeros((2, 3), np.int32), 1.0)),
        ("QuantizationError", "zero_point is -1", (np.zeros((2, 3), np.uint8), 1.0, -1)),
    ],
)
def test_what_is_no_matrix_of_onnx_is_refused(error, said, arguments):
    with pytest.raises(getattr(amx.errors, error), match=said):
        checkpoints.from_onnx(*arguments)
