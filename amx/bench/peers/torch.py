"""PyTorch: `_int_mm` and bfloat16 products, and the packed linear layers of its oneDNN."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import amx
from amx.bench.grid import Dtype
from amx.bench.operands import Operands
from amx.bench.peers.peer import (
    FLOAT32_ROUNDOFF,
    AmxUse,
    Form,
    Peer,
    Product,
    UnsupportedError,
    Verdict,
    use_of_a_call,
)
from amx.dtypes import Array

__all__ = ["Torch", "TorchFloat32", "implementations", "to_numpy"]

# Of the result's type: torch rounds 16-bit products to the operands' type.
_ROUNDOFF = {Dtype.INT8: None, Dtype.BF16: 2.0**-8, Dtype.FP16: 2.0**-11}


class Torch(Peer):
    """int8 x int8 to int32, bfloat16 to bfloat16, float16 to float16; packed int8 to float32."""

    name = "torch"
    module = "torch"
    package = "torch==2.13.0"

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        import torch

        torch.set_num_threads(threads)
        dtype, batched = operands.case.dtype, operands.case.shape.batch > 1
        if batched and (dtype is Dtype.INT8 or form is Form.PACKED):
            raise UnsupportedError("no batches of int8, nor packed ones")
        if form is Form.PACKED:
            return _packed_int8(operands) if dtype is Dtype.INT8 else _packed_float(operands)
        a, b = _tensor(operands.a, dtype), _tensor(operands.b, dtype)
        product = torch._int_mm if dtype is Dtype.INT8 else torch.matmul
        return Product(lambda: product(a, b), to_numpy, _ROUNDOFF[dtype])

    def used_amx(self, product: Product) -> AmxUse:
        """By oneDNN's own log of the implementation it chose, else by XINUSE."""
        import torch

        if not amx.available():
            return AmxUse(Verdict.NO, "AMX cannot be used in this process")
        verbose = torch.backends.mkldnn.verbose
        with verbose(torch.backends.mkldnn.VERBOSE_ON):
            log = _output_of(product.call)
        named = implementations(log)
        if named:
            uses = any("amx" in name for name in named)
            return AmxUse(Verdict.YES if uses else Verdict.NO, f"oneDNN ran {', '.join(named)}")
        return use_of_a_call(product)  # its gemm_api names no implementation


class TorchFloat32(Peer):
    """`matmul` of operands that are float32 before; plain and packed are the same."""

    name = "torch-float32"
    module = "torch"
    package = Torch.package
    float32 = True

    def prepare(self, operands: Operands, form: Form, threads: int) -> Product:
        """See Peer."""
        import torch

        torch.set_num_threads(threads)
        a, b = torch.from_numpy(operands.a_float32), torch.from_numpy(operands.b_float32)
        return Product(lambda: torch.matmul(a, b), to_numpy, FLOAT32_ROUNDOFF)

    def used_amx(self, product: Product) -> AmxUse:
        """No: it multiplies float32 as such unless told otherwise."""
        return AmxUse(Verdict.NO, "float32")


def implementations(log: str) -> list[str]:
    """What a verbose log of oneDNN says it ran, without repetition; its gemm_api names none."""
    # onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx10_1_512_amx,undef,...
    lines = (line.split(",") for line in log.splitlines() if line.startswith("onednn_verbose,"))
    named = (words[6] for words in lines if len(words) > 6 and words[3] == "exec")
    return list(dict.fromkeys(name for name in named if name))


def _tensor(array: Array, dtype: Dtype) -> Any:
    import torch

    if dtype is Dtype.BF16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(result: Any) -> Array:
    """A result as integers, or as float32."""
    import torch

    array: Array = (result if result.dtype == torch.int32 else result.float()).numpy()
    return array


def _packed_int8(operands: Operands) -> Product:
    """The quantised linear layer with scales of one; its result is float32."""
    import torch

    shape = operands.case.shape
    a = _tensor(operands.a, Dtype.INT8).view(torch.uint8)
    weight = _tensor(np.ascontiguousarray(operands.b.T), Dtype.INT8)
    try:
        packed = torch.ops.onednn.qlinear_prepack(weight, [shape.m, shape.k])
        linear = torch.ops.onednn.qlinear_pointwise
        scales, zeros = torch.ones(shape.n), torch.zeros(shape.n, dtype=torch.int64)
        arguments: tuple[Any, ...] = (
            a,
            1.0,
            0,
            packed,
            scales,
            zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        linear(*arguments)
    except (AttributeError, RuntimeError) as error:
        raise UnsupportedError(f"its packed int8 layer: {_first_line(error)}") from error
    return Product(lambda: linear(*arguments), to_numpy, 2.0**-24, unsigned=True)


def _packed_float(operands: Operands) -> Product:
    import torch

    dtype = operands.case.dtype
    a = _tensor(operands.a, dtype)
    weight = _tensor(np.ascontiguousarray(operands.b.T), dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, operands.case.shape.m)
        linear = torch.ops.mkldnn._linear_pointwise
        linear(a, packed, None, "none", [], "")
    except (AttributeError, RuntimeError) as error:
        raise UnsupportedError(f"its packed layer: {_first_line(error)}") from error
    return Product(lambda: linear(a, packed, None, "none", [], ""), to_numpy, _ROUNDOFF[dtype])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _output_of(call: Callable[[], object]) -> str:
    """What a call prints through the C library, which Python's sys.stdout does not see."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        try:
            os.dup2(file.fileno(), 1)
            call()
            ctypes.CDLL(None).fflush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace")
