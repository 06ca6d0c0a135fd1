"""Ask Linux for Intel AMX, run tiles and matrix products, and prove that a machine keeps the AMX ABI.

Public names load on first use: `import amx` loads neither NumPy nor the compiled module and touches no tile.
"""

from __future__ import annotations

import importlib

from amx.version import __version__

TYPE_CHECKING = False  # type checkers take it as true; typing itself would take most of the time to import
if TYPE_CHECKING:
    from typing import Any

    from amx import caches, checkpoints, cpu, emulation, errors, lowlevel, permission, xstate
    from amx.backend import Backend, get_backend, set_backend
    from amx.diagnosis import Diagnosis, available, explain
    from amx.emulation.session import emulate
    from amx.emulation.used import used
    from amx.errors import AmxError, AmxWarning, EmulatedWarning, VectorWarning
    from amx.gemm import PackedMatrix, matmul, pack
    from amx.layer import Linear, linear
    from amx.permission import prefault, request
    from amx.planning import Plan, plan
    from amx.quantization import quantize
    from amx.quantized import Quantized
    from amx.saving import load_safetensors, save_safetensors
    from amx.threads import get_num_threads, register_threadpoolctl, set_num_threads
    from amx.tile_config import TileConfig
    from amx.tiles import TileContext

_MODULES = ("caches", "checkpoints", "cpu", "emulation", "errors", "lowlevel", "permission", "xstate")
_HOMES = {
    "AmxError": "errors",
    "AmxWarning": "errors",
    "Backend": "backend",
    "Diagnosis": "diagnosis",
    "EmulatedWarning": "errors",
    "Linear": "layer",
    "PackedMatrix": "gemm",
    "Plan": "planning",
    "Quantized": "quantized",
    "TileConfig": "tile_config",
    "TileContext": "tiles",
    "VectorWarning": "errors",
    "available": "diagnosis",
    "emulate": "emulation.session",
    "explain": "diagnosis",
    "get_backend": "backend",
    "get_num_threads": "threads",
    "linear": "layer",
    "load_safetensors": "saving",
    "matmul": "gemm",
    "pack": "gemm",
    "plan": "planning",
    "prefault": "permission",
    "quantize": "quantization",
    "register_threadpoolctl": "threads",
    "request": "permission",
    "save_safetensors": "saving",
    "set_backend": "backend",
    "set_num_threads": "threads",
    "used": "emulation.used",
}

__all__ = [
    "AmxError",
    "AmxWarning",
    "Backend",
    "Diagnosis",
    "EmulatedWarning",
    "Linear",
    "PackedMatrix",
    "Plan",
    "Quantized",
    "TileConfig",
    "TileContext",
    "VectorWarning",
    "__version__",
    "available",
    "caches",
    "checkpoints",
    "cpu",
    "emulate",
    "emulation",
    "errors",
    "explain",
    "get_backend",
    "get_num_threads",
    "linear",
    "load_safetensors",
    "lowlevel",
    "matmul",
    "pack",
    "permission",
    "plan",
    "prefault",
    "quantize",
    "register_threadpoolctl",
    "request",
    "save_safetensors",
    "set_backend",
    "set_num_threads",
    "used",
    "xstate",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
