"""One-node ONNX models without the onnx package: field numbers of onnx.proto in protobuf's encoding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FLOAT", "INT8", "INT32", "UINT8", "matmul_integer", "one_node"]

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6  # TensorProto.DataType


def matmul_integer(weights: npt.NDArray[np.int8] | None = None) -> bytes:
    """The model C = MatMulInteger(A uint8, B int8) -> int32, of any rank.

    With `weights` they are B, part of the model, and the runtime may pack them.
    """
    constants = b""
    inputs = {"A": UINT8, "B": INT8}
    if weights is not None:
        del inputs["B"]
        dims = b"".join(_integer(1, size) for size in weights.shape)
        constants = _field(5, dims + _integer(2, INT8) + _field(8, b"B") + _field(9, weights.tobytes()))
    return _model("MatMulInteger", ["A", "B"], inputs, {"C": INT32}, constants)


def one_node(operation: str, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
    """The model of one operation without attributes; names and types of its operands and results."""
    return _model(operation, list(inputs), inputs, outputs)


def _model(
    operation: str,
    operands: list[str],
    inputs: dict[str, int],
    outputs: dict[str, int],
    constants: bytes = b"",
) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in operands)
    node += b"".join(_field(2, name.encode()) for name in outputs) + _field(4, operation.encode())
    graph = _field(1, node) + _field(2, b"g")
    graph += b"".join(_field(11, _value_info(name.encode(), kind)) for name, kind in inputs.items())
    graph += constants
    graph += b"".join(_field(12, _value_info(name.encode(), kind)) for name, kind in outputs.items())
    opset = _field(1, b"") + _integer(2, 13)
    return _integer(1, 8) + _field(7, graph) + _field(8, opset)


def _value_info(name: bytes, kind: int) -> bytes:
    return _field(1, name) + _field(2, _field(1, _integer(1, kind)))


def _field(number: int, content: bytes) -> bytes:
    """One length-delimited field."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return bytes([number << 3]) + _varint(value)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])
