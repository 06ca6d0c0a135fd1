"""torchao: layers in int8 whose rows are quantised each by itself."""

from __future__ import annotations

import numpy as np

from amx.bench.layer_operands import LayerOperands, Weights
from amx.bench.peers.layer import Definition, Layer, LayerPeer, symmetric
from amx.bench.peers.peer import UnsupportedError
from amx.bench.peers.torch import to_numpy
from amx.bench.peers.torch_layers import held

__all__ = ["TorchAo"]

LARGEST = 1 << 32  # operations; larger layers take seconds


class TorchAo(LayerPeer):
    """`Int8DynamicActivationInt8WeightConfig`, not compiled. It quantises the weights itself."""

    name = module = package = "torchao"
    weights = (Weights.INT8,)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        import torch
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        if operands.case.shape.operations > LARGEST:
            raise UnsupportedError("takes seconds: its product is not compiled")
        torch.set_num_threads(threads)
        linear = torch.nn.Linear(operands.case.shape.k, operands.case.shape.n)
        linear.weight, linear.bias = (
            torch.nn.Parameter(held(each), requires_grad=False) for each in (operands.weight, operands.bias)
        )
        quantize_(linear, Int8DynamicActivationInt8WeightConfig())
        linear.requires_grad_(False)
        x = held(operands.rows)
        weight = linear.weight.dequantize().numpy()[operands.judged_columns].astype(np.float64)
        definition = Definition(symmetric(127.5, -128), weight, sums=1)  # those of `weight` are rounded
        return Layer(lambda: linear(x), to_numpy, definition)
