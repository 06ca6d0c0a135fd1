"""The instruction families of AMX as the software tile machine has them: csrc/emulator/features.c, read."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from amx._lib import CData, ffi, lib

__all__ = ["Family", "Status", "features"]


class Status(enum.Enum):
    """How well a family's emulation is known. docs/numerics.md says on what that rests."""

    VERIFIED = "verified on silicon"
    SPECIFIED = "specified only"
    WITHDRAWN = "withdrawn"

    def __str__(self) -> str:
        return self.value


_STATUS = {
    lib.AMXEMU_STATUS_VERIFIED: Status.VERIFIED,
    lib.AMXEMU_STATUS_SPECIFIED: Status.SPECIFIED,
    lib.AMXEMU_STATUS_WITHDRAWN: Status.WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class Family:
    """Instructions that a CPU has together.

    `name` is the kernel's flag, `instructions` are mnemonics, `cpus` the names of those CPUs that have the
    family and can be emulated, the oldest first. The family `apx` are further encodings (EVEX, with r16 to
    r31) of instructions that also belong to another family. What is `Status.WITHDRAWN` is recognised by its
    name and raises #UD when executed.
    """

    name: str
    status: Status
    instructions: tuple[str, ...]
    cpus: tuple[str, ...]

    def __str__(self) -> str:
        where = f"; {', '.join(self.cpus)}" if self.cpus else ""
        return f"{self.name} ({self.status}{where}): {', '.join(self.instructions)}"


def features() -> tuple[Family, ...]:
    """The instruction families of AMX, withdrawn ones included, and what the software tile machine does.

    This is about the emulator, on any machine; what the processor announces is `amx.cpu.features()`.
    """
    cpus = tuple(_cpus())
    return tuple(
        Family(
            name=_text(lib.amxemu_family_name(family)),
            status=_STATUS[lib.amxemu_family_status(family)],
            instructions=tuple(
                _text(lib.amxemu_mnemonic(op))
                for op in range(lib.AMXEMU_NAMED_OPS)
                if lib.amxemu_in_family(op, family)
            ),
            cpus=tuple(_text(cpu.name) for cpu in cpus if cpu.families >> family & 1),
        )
        for family in range(lib.AMXEMU_FAMILIES)
    )


def _cpus() -> Iterator[CData]:
    i = 0
    while cpu := lib.amxemu_cpu_model(i):
        yield cpu
        i += 1


def _text(string: CData) -> str:
    return ffi.string(string).decode()
