"""The software tile machine: what of AMX it executes, how well each part is known, and what it saw.

`amx.emulate()` puts it in the place of the CPU in this process, and `amx emulate` in other programs
(docs/emulation.md).

Public names load on first use; importing this package loads neither NumPy nor the compiled module, installs
no signal handler and changes nothing.

    >>> from amx import emulation
    >>> print(emulation.features()[1])
    amx_int8 (verified on silicon; spr, gnr, gnr-d, dmr): tdpbssd, tdpbsud, tdpbusd, tdpbuud
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amx.emulation.counts import Counts
    from amx.emulation.instruction_set import Family, Status, features
    from amx.emulation.session import Emulation
    from amx.emulation.trace import Trace
    from amx.emulation.used import Used, Verdict

_HOMES = {
    "Counts": "counts",
    "Emulation": "session",
    "Family": "instruction_set",
    "Status": "instruction_set",
    "Trace": "trace",
    "Used": "used",
    "Verdict": "used",
    "features": "instruction_set",
}

__all__ = ["Counts", "Emulation", "Family", "Status", "Trace", "Used", "Verdict", "features"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
