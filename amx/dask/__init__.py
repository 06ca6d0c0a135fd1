"""Products and layers of this package over Dask: `import amx.dask`, which needs dask and distributed.

`amx.dask.matmul` multiplies dask arrays, `amx.dask.linear` maps a layer over their rows. `AmxPlugin` prepares
the workers of a cluster, and `amx.dask.workers(client)` says what each has. Dask schedules; there is no
scheduler here, and nothing of Dask's is replaced.

Names load on first use: what arrives at a worker before `AmxPlugin` has set its threads does not read
OMP_NUM_THREADS.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amx.dask.facts import Worker, Workers, workers
    from amx.dask.layers import linear
    from amx.dask.plugin import AmxPlugin
    from amx.dask.products import matmul

_HOMES = {
    "AmxPlugin": "plugin",
    "Worker": "facts",
    "Workers": "facts",
    "linear": "layers",
    "matmul": "products",
    "workers": "facts",
}

__all__ = ["AmxPlugin", "Worker", "Workers", "linear", "matmul", "workers"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
