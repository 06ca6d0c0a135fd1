"""ONNX Runtime: MatMulInteger of uint8 by int8, the one it has AMX kernels for."""

from __future__ import annotations

from typing import Any

import numpy as np

from amx.bench.grid import Dtype
from amx.bench.operands import Operands
from amx.bench.peers.onnx_model import matmul_integer
from amx.bench.peers.peer import Form, Peer, Product, UnsupportedError
from amx.dtypes import Array

__all__ = ["OnnxRuntime", "first", "session_options"]

ERRORS_ONLY = 3


class OnnxRuntime(Peer):
    """`InferenceSession.run` of a model with one node; packed: with B as part of the model."""

    name = module = package = "onnxruntime"

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        import onnxruntime

        if operands.case.dtype is not Dtype.INT8:
            raise UnsupportedError("no 16-bit products on a CPU")
        options = session_options(threads)
        a = operands.a.view(np.uint8)
        if form is Form.PACKED:
            if operands.b.nbytes >= 1 << 31:
                raise UnsupportedError("a model is limited to 2 GiB")
            model, feed = matmul_integer(operands.b), {"A": a}
        else:
            model, feed = matmul_integer(), {"A": a, "B": operands.b}
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return Product(lambda: session.run(None, feed), first, None, unsigned=True)


def session_options(threads: int) -> Any:
    """Of every session here."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    return options


def first(results: Any) -> Array:
    """The result of a model that has one."""
    return np.asarray(results[0])
