"""ONNX models without the onnx package: field numbers of onnx.proto in protobuf's encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CONTRIB", "FLOAT", "INT8", "INT32", "UINT8", "Node", "matmul_integer", "model", "one_node"]

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6  # TensorProto.DataType
CONTRIB = "com.microsoft"  # onnxruntime's own operations
_KINDS = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int32": INT32}
_INTEGER = 2  # AttributeProto.AttributeType


@dataclass(frozen=True, slots=True)
class Node:
    """An operation, the names of what it takes and makes, and its attributes, all of them integers."""

    operation: str
    operands: Sequence[str]
    results: Sequence[str]
    attributes: dict[str, int] = field(default_factory=dict)
    domain: str = ""


def matmul_integer(weights: npt.NDArray[np.int8] | None = None) -> bytes:
    """The model C = MatMulInteger(A uint8, B int8) -> int32, of any rank.

    With `weights` they are B, part of the model, and the runtime may pack them.
    """
    nodes = [Node("MatMulInteger", ["A", "B"], ["C"])]
    if weights is None:
        return model(nodes, {"A": UINT8, "B": INT8}, {"C": INT32})
    return model(nodes, {"A": UINT8}, {"C": INT32}, {"B": weights})


def one_node(operation: str, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
    """The model of one operation without attributes; names and types of its operands and results."""
    return model([Node(operation, list(inputs), list(outputs))], inputs, outputs)


def model(
    nodes: Sequence[Node],
    inputs: dict[str, int],
    outputs: dict[str, int],
    constants: dict[str, npt.NDArray[Any]] | None = None,
) -> bytes:
    """The model of some operations; names and types of what goes in and out, and what is part of it."""
    graph = b"".join(_field(1, _node(node)) for node in nodes) + _field(2, b"g")
    graph += b"".join(_field(11, _value_info(name.encode(), kind)) for name, kind in inputs.items())
    graph += b"".join(_field(5, _constant(name, array)) for name, array in (constants or {}).items())
    graph += b"".join(_field(12, _value_info(name.encode(), kind)) for name, kind in outputs.items())
    opsets = _field(8, _field(1, b"") + _integer(2, 13))
    if any(node.domain for node in nodes):
        opsets += _field(8, _field(1, CONTRIB.encode()) + _integer(2, 1))
    return _integer(1, 8) + _field(7, graph) + opsets


def _node(node: Node) -> bytes:
    text = b"".join(_field(1, name.encode()) for name in node.operands)
    text += b"".join(_field(2, name.encode()) for name in node.results) + _field(4, node.operation.encode())
    for name, value in node.attributes.items():
        text += _field(5, _field(1, name.encode()) + _integer(3, value) + _integer(20, _INTEGER))
    return text + (_field(7, node.domain.encode()) if node.domain else b"")


def _constant(name: str, array: npt.NDArray[Any]) -> bytes:
    dims = b"".join(_integer(1, size) for size in array.shape)
    return (
        dims + _integer(2, _KINDS[array.dtype.name]) + _field(8, name.encode()) + _field(9, array.tobytes())
    )


def _value_info(name: bytes, kind: int) -> bytes:
    return _field(1, name) + _field(2, _field(1, _integer(1, kind)))


def _field(number: int, content: bytes) -> bytes:
    """One length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])
