"""The sizes of this core's own caches, from CPUID leaf 4 (Intel) or 0x8000001D (AMD).

Never the third level: CPUID reports the whole socket's, of which a guest has an unknown part.
"""

from __future__ import annotations

from dataclasses import dataclass

from amx import machine as _machine

__all__ = ["Caches", "own_caches"]

_LEAVES = (0x0000_0004, 0x8000_001D)
_DEFAULT_L1, _DEFAULT_L2 = 32 << 10, 1 << 20
_DATA, _UNIFIED = 1, 3  # cache types


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes of this core's L1 data cache and of its L2."""

    l1: int
    l2: int

    def __str__(self) -> str:
        return f"{self.l1 >> 10} KiB L1, {self.l2 >> 10} KiB L2"


def own_caches() -> Caches:
    """As CPUID says; 32 KiB and 1 MiB where it says nothing."""
    found: dict[int, int] = {}
    for leaf in _LEAVES:
        if 1 not in found and not _machine.current().stub:
            found = _levels(leaf)
    return Caches(found.get(1, _DEFAULT_L1), found.get(2, _DEFAULT_L2))


def _levels(leaf: int) -> dict[int, int]:
    machine = _machine.current()
    if machine.cpuid(leaf & 0x8000_0000).eax < leaf:
        return {}
    sizes: dict[int, int] = {}
    for index in range(8):
        r = machine.cpuid(leaf, index)
        kind, level = r.eax & 31, r.eax >> 5 & 7
        if kind == 0:
            break
        if kind in (_DATA, _UNIFIED):
            ways, partitions, line = (r.ebx >> 22) + 1, (r.ebx >> 12 & 1023) + 1, (r.ebx & 4095) + 1
            sizes[level] = ways * partitions * line * (r.ecx + 1)
    return sizes
