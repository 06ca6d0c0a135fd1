"""ONNX Runtime's linear layers: dynamic int8 in its two exact forms, and weights of 4 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from amx.bench.layer_operands import GROUP, LayerOperands, Weights
from amx.bench.peers.layer import (
    Definition,
    Layer,
    LayerPeer,
    asymmetric,
    int8_columns,
    symmetric,
    uint4_columns,
)
from amx.bench.peers.onnx_model import CONTRIB, FLOAT, Node, model
from amx.bench.peers.onnxruntime import first, session_options

__all__ = ["OnnxRuntimeExact", "OnnxRuntimeNBits", "OnnxRuntimeUnsigned"]

_ROWS_TO_INT8 = 4  # accuracy_level


class OnnxRuntimeExact(LayerPeer):
    """DynamicQuantizeLinear, MatMulInteger and scales, with `session.x64quantprecision`.

    Rows become uint8 by one scale for all of them. Without that setting sums of uint8 by int8 saturate on
    CPUs without VNNI.
    """

    name, module, package = "onnxruntime-exact", "onnxruntime", "onnxruntime"
    weights = (Weights.INT8,)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        return _dynamic(operands, {"W": operands.int8.values.T}, threads)


class OnnxRuntimeUnsigned(LayerPeer):
    """The same of weights as uint8, 128 more, with a zero point of 128: no sum saturates."""

    name, module, package = "onnxruntime-u8u8", "onnxruntime", "onnxruntime"
    weights = (Weights.INT8,)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        values = operands.int8.values.T.view(np.uint8) ^ np.uint8(128)
        return _dynamic(operands, {"W": values, "of_W": np.array(128, np.uint8)}, threads)


class OnnxRuntimeNBits(LayerPeer):
    """MatMulNBits of 4 bits, whose rows become int8, each group of 32 by itself (accuracy level 4)."""

    name, module, package = "onnxruntime-4bit", "onnxruntime", "onnxruntime"
    weights = (Weights.UINT4,)

    def prepare(self, operands: LayerOperands, weights: Weights, threads: int) -> Layer:
        """See LayerPeer."""
        shape, weight = operands.case.shape, operands.uint4
        groups = -(-shape.k // GROUP)
        attributes = {
            "K": shape.k, "N": shape.n, "bits": 4, "block_size": GROUP, "accuracy_level": _ROWS_TO_INT8,
        }  # fmt: skip
        node = Node("MatMulNBits", ["x", "W", "scale", "zero", "", "bias"], ["y"], attributes, CONTRIB)
        values = _in_nibbles(weight.values, groups * GROUP).reshape(shape.n, groups, GROUP // 2)
        constants = {
            "W": values,
            "scale": weight.scale.reshape(-1),
            "zero": _in_nibbles(weight.zero_point.astype(np.uint8), groups + groups % 2).reshape(-1),
            "bias": operands.bias,
        }
        definition = Definition(symmetric(127, -127, GROUP), uint4_columns(operands), groups)
        return _layer([node], constants, operands, definition, threads)


def _dynamic(operands: LayerOperands, weight: dict[str, npt.NDArray[Any]], threads: int) -> Layer:
    nodes = [
        Node("DynamicQuantizeLinear", ["x"], ["q", "of_x", "zero"]),
        Node("MatMulInteger", ["q", "W", "zero", *(["of_W"] if "of_W" in weight else [])], ["sums"]),
        Node("Cast", ["sums"], ["floats"], {"to": FLOAT}),
        Node("Mul", ["of_x", "scale"], ["scales"]),
        Node("Mul", ["floats", "scales"], ["scaled"]),
        Node("Add", ["scaled", "bias"], ["y"]),
    ]
    constants = {**weight, "scale": operands.int8.scale, "bias": operands.bias}
    definition = Definition(asymmetric(255, of_all=True), int8_columns(operands))
    return _layer(nodes, constants, operands, definition, threads)


def _layer(
    nodes: list[Node],
    constants: dict[str, npt.NDArray[Any]],
    operands: LayerOperands,
    definition: Definition,
    threads: int,
) -> Layer:
    import onnxruntime

    options = session_options(threads)
    options.add_session_config_entry("session.x64quantprecision", "1")
    text = model(nodes, {"x": FLOAT}, {"y": FLOAT}, constants)
    session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    feed = {"x": operands.rows}
    return Layer(lambda: session.run(None, feed), first, definition)


def _in_nibbles(values: npt.NDArray[np.uint8], k: int) -> npt.NDArray[np.uint8]:
    """Two in a byte, the low one first; a row as long as `k`."""
    whole = np.zeros((len(values), k), np.uint8)
    whole[:, : values.shape[1]] = values
    packed: npt.NDArray[Any] = whole[:, ::2] | whole[:, 1::2] << 4
    return packed
