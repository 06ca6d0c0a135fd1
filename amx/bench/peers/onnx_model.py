"""A one-node ONNX model without the onnx package: field numbers of onnx.proto in protobuf's encoding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["matmul_integer"]

UINT8, INT8, INT32 = 2, 3, 6  # TensorProto.DataType


def matmul_integer(weights: npt.NDArray[np.int8] | None = None) -> bytes:
    """The model C = MatMulInteger(A uint8, B int8) -> int32, of any rank.

    With `weights` they are B, part of the model, and the runtime may pack them.
    """
    node = _field(1, b"A") + _field(1, b"B") + _field(2, b"C") + _field(4, b"MatMulInteger")
    graph = _field(1, node) + _field(2, b"g") + _field(11, _value_info(b"A", UINT8))
    if weights is None:
        graph += _field(11, _value_info(b"B", INT8))
    else:
        dims = b"".join(_integer(1, size) for size in weights.shape)
        graph += _field(5, dims + _integer(2, INT8) + _field(8, b"B") + _field(9, weights.tobytes()))
    graph += _field(12, _value_info(b"C", INT32))
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
