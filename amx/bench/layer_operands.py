"""What a layer is measured with: rows, weights and a bias, in the forms that the libraries take."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

import amx
from amx.bench.grid import Case, Dtype
from amx.dtypes import Array, Element, as_elements
from amx.quantized import Quantized

__all__ = ["GROUP", "LayerOperands", "Weights", "as_float32", "make_layer"]

GROUP = 32  # weights of 4 bits that share a scale
MOST_ROWS, MOST_COLUMNS = 64, 256  # of a result, that are judged


class Weights(enum.Enum):
    """What weights are held as: 8 bits with a scale for each column, 4 bits in groups of 32, floats."""

    INT8 = "int8"
    UINT4 = "uint4"
    BF16 = "bf16"
    FP16 = "fp16"
    FLOAT32 = "float32"


@dataclass(frozen=True)
class LayerOperands:
    """`rows @ weight.T + bias`, all of float32: (M, K), (N, K), (N,).

    Uniform, so that numbers of all sizes are quantised: some kernels add two products in 16 bits, and
    saturate. With several rows the first is all positive, and so is the first of the weights; the second of
    these is all negative.
    """

    case: Case
    rows: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    @cached_property
    def int8(self) -> Quantized:
        """The weights, each row of them with a scale."""
        return amx.quantize(self.weight, axis=0)

    @cached_property
    def uint4(self) -> Quantized:
        """The weights in groups of 32, each with a scale and a zero point."""
        return amx.quantize(self.weight, "uint4", group=GROUP, symmetric=False)

    def rounded(self, array: Array) -> Array:
        """An array in the case's 16 bits; bfloat16 as its bits."""
        return as_elements(array, self.case.dtype.element, "operand")[0]

    @cached_property
    def judged_rows(self) -> npt.NDArray[np.intp]:
        """Which rows of the result are judged."""
        return _spread(self.case.shape.m, MOST_ROWS)

    @cached_property
    def judged_columns(self) -> npt.NDArray[np.intp]:
        """Which columns of the result are judged."""
        return _spread(self.case.shape.n, MOST_COLUMNS)


def make_layer(case: Case, seed: int) -> LayerOperands:
    """The operands of a case, the same for the same seed. The bias is bfloat16's too."""
    shape = case.shape
    rng = np.random.default_rng([seed, shape.m, shape.n, shape.k])
    rows = rng.uniform(-0.9, 1, (shape.m, shape.k)).astype(np.float32)
    weight = rng.uniform(-1, 1, (shape.n, shape.k)).astype(np.float32)
    bias = rng.uniform(-1, 1, shape.n).astype(np.float32)
    rows[:-1][:1] = 1
    weight[:1], weight[1:2] = 1, -1
    weight /= np.float32(np.sqrt(shape.k))
    return LayerOperands(case, rows, weight, _as_bfloat16(bias))


def as_float32(array: Array, dtype: Dtype) -> npt.NDArray[np.float32]:
    """The values of 16-bit elements; bfloat16 as its bits."""
    if dtype.element is Element.BFLOAT16:
        words: npt.NDArray[Any] = array.view(np.uint16).astype(np.uint32) << 16
        return words.view(np.float32)
    return array.astype(np.float32)


def _as_bfloat16(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return as_float32(as_elements(array, Element.BFLOAT16, "bias")[0], Dtype.BF16)


def _spread(size: int, most: int) -> npt.NDArray[np.intp]:
    """So many of `size`, evenly, and the first two."""
    found = np.linspace(0, size - 1, min(size, most)).astype(np.intp)
    return np.union1d(found, np.arange(min(2, size)))
