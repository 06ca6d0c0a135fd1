"""Our side: `amx.Linear` in 8, 4 and 16 bits, and the bare product of the same numbers beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import amx
from amx.bench.grid import Dtype
from amx.bench.layer_operands import GROUP, LayerOperands, Weights, as_float32
from amx.bench.peers.layer import (
    Definition,
    Layer,
    LayerPeer,
    as_they_are,
    asymmetric,
    int8_columns,
    uint4_columns,
)
from amx.dtypes import Array

__all__ = ["OurLayer", "product_of"]

_ROUNDOFF = {Dtype.BF16: 2.0**-8, Dtype.FP16: 2.0**-11}


class OurLayer(LayerPeer):
    """`amx.Linear`: rows become uint8, each by itself; in 16 bits rows and results are of 16 bits."""

    name = module = package = "amx"
    weights = (Weights.INT8, Weights.UINT4, Weights.BF16, Weights.FP16)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer; threads are those of `amx.set_num_threads`."""
        rows, bias = operands.rows, operands.bias
        if weights is Weights.INT8:
            layer = amx.Linear(operands.int8, bias)
            definition = Definition(asymmetric(255, of_all=False), int8_columns(operands))
        elif weights is Weights.UINT4:
            layer = amx.Linear(operands.uint4, bias)
            sums = -(-operands.case.shape.k // GROUP)
            definition = Definition(asymmetric(255, of_all=False), uint4_columns(operands), sums)
        else:
            return _of_16_bits(operands)
        return Layer(lambda: layer(rows), _same, definition)


def product_of(operands: LayerOperands) -> Callable[[], Array]:
    """The packed product alone, of rows that are rounded before, for the case's own dtype."""
    if operands.case.dtype is Dtype.INT8:
        a = amx.quantize(operands.rows, "uint8", axis=0, symmetric=False).values
        packed = amx.pack(operands.int8.values.T)
        return lambda: amx.matmul(a, packed)
    element = operands.case.dtype.element
    a, packed = operands.rounded(operands.rows), amx.pack(operands.weight.T, dtype=element.value)
    return lambda: amx.matmul(a, packed, dtype=element.value)


def _of_16_bits(operands: LayerOperands) -> Layer:
    dtype = operands.case.dtype
    name = dtype.element.value
    x = operands.rounded(operands.rows)
    layer = amx.Linear(operands.weight, operands.bias, dtype=name, out_dtype=name)
    weight = operands.rounded(operands.weight[operands.judged_columns])
    definition = Definition(
        lambda rows: as_they_are(as_float32(operands.rounded(rows), dtype)),
        as_float32(weight, dtype).astype(np.float64),
        operands.case.shape.k,
        _ROUNDOFF[dtype],
    )
    return Layer(lambda: layer(x), lambda result: as_float32(result, dtype), definition)


def _same(result: Any) -> Array:
    found: Array = result
    return found
