"""The libraries `amx bench` compares with, one module each."""

from __future__ import annotations

import importlib
from typing import Any

from amx.bench.peers.layer import LayerPeer
from amx.bench.peers.peer import Peer

__all__ = ["LAYERS", "NAMES", "load", "load_layer"]

_HOMES = {
    "numpy": ("numpy", "Numpy"),
    "numpy-float32": ("numpy", "NumpyFloat32"),
    "numpy-int": ("numpy", "NumpyInteger"),
    "torch": ("torch", "Torch"),
    "torch-float32": ("torch", "TorchFloat32"),
    "numkong": ("numkong", "NumKong"),
    "mkl": ("mkl", "Mkl"),
    "onnxruntime": ("onnxruntime", "OnnxRuntime"),
    "jax": ("jax", "Jax"),
}
_LAYER_HOMES = {
    "torch-dynamic": ("torch_layers", "TorchDynamic"),
    "torch-linear": ("torch_layers", "TorchLinear"),
    "torch-linear-float32": ("torch_layers", "TorchLinearFloat32"),
    "torchao": ("torchao", "TorchAo"),
    "onnxruntime-exact": ("onnxruntime_layers", "OnnxRuntimeExact"),
    "onnxruntime-u8u8": ("onnxruntime_layers", "OnnxRuntimeUnsigned"),
    "onnxruntime-4bit": ("onnxruntime_layers", "OnnxRuntimeNBits"),
}
NAMES = tuple(_HOMES)
LAYERS = tuple(_LAYER_HOMES)


def load(name: str) -> Peer:
    """The peer of that name, one of NAMES; its library is not imported yet."""
    peer: Peer = _made(*_HOMES[name])
    return peer


def load_layer(name: str) -> LayerPeer:
    """The same of layers, one of LAYERS."""
    peer: LayerPeer = _made(*_LAYER_HOMES[name])
    return peer


def _made(module: str, attribute: str) -> Any:
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)()
