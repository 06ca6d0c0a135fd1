"""What an emulation counted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amx._lib import CData

__all__ = ["Counts"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What was done for a program instead of its processor and its kernel.

    instructions: AMX instructions executed on the software tile machine.
    traps: how many of them arrived as a signal; the others came from patched sites.
    sites: different places in the code that an AMX instruction trapped at.
    patched, unpatchable: of these, the ones that call the emulator directly now, and that cannot be made to.
    faults: instructions that ended in a signal, as they would have on the emulated machine.
    cpuid, xgetbv, arch_prctl: of these, how many were answered; for programs of `amx emulate` only.
    """

    instructions: int = 0
    traps: int = 0
    sites: int = 0
    patched: int = 0
    unpatchable: int = 0
    faults: int = 0
    cpuid: int = 0
    xgetbv: int = 0
    arch_prctl: int = 0

    @classmethod
    def of(cls, counts: CData) -> Counts:
        """From a `struct amx_trap_counts *`."""
        return cls(*(int(getattr(counts, field.name)) for field in fields(cls)))

    def __str__(self) -> str:
        return (
            f"{self.instructions} AMX instructions at {self.sites} sites ({self.patched} patched), "
            f"{self.traps} traps, {self.faults} faults"
        )
