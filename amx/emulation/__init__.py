"""The software tile machine: what of AMX it executes, and how well each part is known.

Public names load on first use; importing this package loads neither NumPy nor the compiled module, installs
no signal handler and changes nothing.

    >>> from amx import emulation
    >>> print(emulation.features()[1])
    amx_int8 (verified on silicon; spr, gnr, gnr-d, dmr): tdpbssd, tdpbsud, tdpbusd, tdpbuud
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amx.emulation.instruction_set import Family, Status, features

__all__ = ["Family", "Status", "features"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from amx.emulation import instruction_set

    return getattr(instruction_set, name)


def __dir__() -> list[str]:
    return sorted(__all__)
