"""PyTorch's linear layers: dynamic int8, 16 bits, and float32."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from amx.bench.grid import Dtype
from amx.bench.layer_operands import LayerOperands, Weights, as_float32
from amx.bench.peers.layer import Definition, Layer, LayerPeer, as_they_are, asymmetric, int8_columns
from amx.bench.peers.torch import Torch, to_numpy
from amx.dtypes import Array

__all__ = ["TorchDynamic", "TorchLinear", "TorchLinearFloat32", "held"]

_ROUNDOFF = {Dtype.BF16: 2.0**-8, Dtype.FP16: 2.0**-11}


class TorchDynamic(LayerPeer):
    """`quantized.linear_dynamic` with reduce_range, as `nn.quantized.dynamic.Linear` calls it.

    Rows become 7 bits by one scale for all of them. Without reduce_range sums saturate on CPUs without VNNI.
    """

    name, module, package = "torch-dynamic", "torch", Torch.package
    weights = (Weights.INT8,)

    def version(self) -> str:
        """With the engine that it multiplies with."""
        import torch

        return f"{torch.__version__} ({torch.backends.quantized.engine})"

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        import torch

        torch.set_num_threads(threads)
        x = held(operands.rows)
        scale = held(operands.int8.scale.astype(np.float64))
        zero = torch.zeros(operands.case.shape.n, dtype=torch.int64)
        with warnings.catch_warnings():  # that such tensors will go
            warnings.simplefilter("ignore")
            weight = torch._make_per_channel_quantized_tensor(held(operands.int8.values), scale, zero, 0)
        packed = torch.ops.quantized.linear_prepack(weight, held(operands.bias))
        layer = torch.ops.quantized.linear_dynamic
        definition = Definition(asymmetric(127, of_all=True), int8_columns(operands))
        return Layer(lambda: layer(x, packed, True), to_numpy, definition)


class TorchLinear(LayerPeer):
    """`nn.functional.linear` in bfloat16 or float16, results too."""

    name, module, package = "torch-linear", "torch", Torch.package
    weights = (Weights.BF16, Weights.FP16)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        import torch

        torch.set_num_threads(threads)
        dtype = operands.case.dtype
        kind = torch.bfloat16 if dtype is Dtype.BF16 else torch.float16
        x, weight, bias = (held(each).to(kind) for each in (operands.rows, operands.weight, operands.bias))
        rounded = operands.rounded(operands.weight[operands.judged_columns])
        definition = Definition(
            lambda rows: as_they_are(as_float32(operands.rounded(rows), dtype)),
            as_float32(rounded, dtype).astype(np.float64),
            operands.case.shape.k,
            _ROUNDOFF[dtype],
        )
        return Layer(lambda: torch.nn.functional.linear(x, weight, bias), to_numpy, definition)


class TorchLinearFloat32(LayerPeer):
    """`nn.functional.linear` in float32."""

    name, module, package = "torch-linear-float32", "torch", Torch.package
    weights = (Weights.FLOAT32,)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        import torch

        torch.set_num_threads(threads)
        x, weight, bias = (held(each) for each in (operands.rows, operands.weight, operands.bias))
        chosen = operands.weight[operands.judged_columns].astype(np.float64)
        definition = Definition(as_they_are, chosen, operands.case.shape.k)
        return Layer(lambda: torch.nn.functional.linear(x, weight, bias), to_numpy, definition)


def held(array: Array) -> Any:
    """A tensor of its own."""
    import torch

    return torch.from_numpy(array.copy())
