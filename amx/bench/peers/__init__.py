"""The libraries `amx bench` compares with, one module each."""

from __future__ import annotations

import importlib

from amx.bench.peers.peer import Peer

__all__ = ["NAMES", "load"]

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
NAMES = tuple(_HOMES)


def load(name: str) -> Peer:
    """The peer of that name, one of NAMES; its library is not imported yet."""
    module, attribute = _HOMES[name]
    peer: Peer = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)()
    return peer
