"""What the processor offers: feature bits, palettes, tile geometry, and where its sources disagree.

Read from CPUID leaves 7, 0x1D, 0x1E and those of the brand string (SDM vol. 2A, CPUID; ISE Reference for the
newer bits). What the operating system has enabled is `amx.xstate`'s question, and whether this process may
use it `amx.permission`'s.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from amx import machine as _machine
from amx.machine import ChildAction, Machine, Registers, Step
from amx.printable import printable

__all__ = [
    "Disagreement",
    "Feature",
    "Palette",
    "Processor",
    "Status",
    "TileMultiplier",
    "announced",
    "brand",
    "disagreements",
    "features",
    "palettes",
    "processor",
    "tile_multiplier",
]

LEAF_FEATURES = 0x07
LEAF_TILE = 0x1D
LEAF_TMUL = 0x1E
LEAF_HYPERVISOR = 0x4000_0000
LEAF_EXTENDED = 0x8000_0000
LEAVES_BRAND = (0x8000_0002, 0x8000_0003, 0x8000_0004)
HYPERVISOR_PRESENT = 1 << 31  # CPUID.1:ECX, reserved for hypervisors to set

# Families and models that have AMX (arch/x86/include/asm/intel-family.h): Sapphire, Emerald and Granite
# Rapids, Granite Rapids D, Diamond Rapids.
AMX_MODELS = frozenset({(6, 0x8F), (6, 0xCF), (6, 0xAD), (6, 0xAE), (19, 0x01)})


class Status(enum.Enum):
    """Whether Intel still stands by a feature."""

    CURRENT = "current"
    WITHDRAWN = "withdrawn"


class Feature(enum.Enum):
    """An AMX feature bit: its flag as Linux writes it, its place in leaf 7, its mirror, its status.

    `place` is (subleaf, register, bit) of leaf 7, None for features that only leaf 0x1E.1 EAX announces;
    `mirror` is the bit in the latter. TF32 and TRANSPOSE are named so that they can be recognised: Intel
    withdrew both.
    """

    AMX_TILE = ("amx_tile", (0, "edx", 24), None)
    AMX_INT8 = ("amx_int8", (0, "edx", 25), 0)
    AMX_BF16 = ("amx_bf16", (0, "edx", 22), 1)
    AMX_COMPLEX = ("amx_complex", (1, "edx", 8), 2)
    AMX_FP16 = ("amx_fp16", (1, "eax", 21), 3)
    AMX_FP8 = ("amx_fp8", None, 4)
    AMX_TRANSPOSE = ("amx_transpose", None, 5, Status.WITHDRAWN)
    AMX_TF32 = ("amx_tf32", None, 6, Status.WITHDRAWN)
    AMX_AVX512 = ("amx_avx512", None, 7)
    AMX_MOVRS = ("amx_movrs", None, 8)

    place: tuple[int, str, int] | None
    mirror: int | None
    status: Status

    def __new__(
        cls,
        flag: str,
        place: tuple[int, str, int] | None,
        mirror: int | None,
        status: Status = Status.CURRENT,
    ) -> Feature:
        """Keep the facts as attributes, and the flag as the value."""
        feature = object.__new__(cls)
        feature._value_ = flag
        feature.place = place
        feature.mirror = mirror
        feature.status = status
        return feature

    @property
    def where(self) -> str:
        """Where it is announced, as manuals write it, for example `CPUID.7.1:EAX[21]`."""
        if self.place is None:
            return f"CPUID.1E.1:EAX[{self.mirror}]"
        subleaf, register, bit = self.place
        return f"CPUID.7.{subleaf}:{register.upper()}[{bit}]"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Palette:
    """Limits of tile configurations under one palette (CPUID.1D). Sizes in bytes."""

    number: int
    total_tile_bytes: int
    bytes_per_tile: int
    bytes_per_row: int
    max_names: int
    max_rows: int

    def __str__(self) -> str:
        return (
            f"palette {self.number}: {self.max_names} tiles of {self.max_rows} rows of {self.bytes_per_row} "
            f"bytes, {self.total_tile_bytes} bytes in all"
        )


@dataclass(frozen=True, slots=True)
class TileMultiplier:
    """Limits of the TMUL unit (CPUID.1E.0): rows of K groups, and bytes of N."""

    max_k: int
    max_n: int


@dataclass(frozen=True, slots=True)
class Processor:
    """Who the processor says it is.

    `hypervisor` is the hypervisor's signature, empty on bare metal. `emulated` is the CPU whose AMX is
    emulated here, and by what; empty where none is.
    """

    vendor: str
    family: int
    model: int
    stepping: int
    virtual: bool
    hypervisor: str
    emulated: str = ""

    @property
    def model_has_amx(self) -> bool:
        """Whether Intel ships this model with AMX, whatever CPUID says here."""
        return self.vendor == "GenuineIntel" and (self.family, self.model) in AMX_MODELS

    def __str__(self) -> str:
        text = f"{self.vendor} family {self.family} model {self.model:#04x} stepping {self.stepping}"
        if self.virtual:
            text += f" under {self.hypervisor or 'a hypervisor'}"
        return f"{text}, AMX emulated ({self.emulated})" if self.emulated else text


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two sources that say different things about one feature."""

    feature: Feature
    yes: str
    no: str

    def __str__(self) -> str:
        return f"{self.feature}: {self.yes} says yes, {self.no} says no"


def features() -> frozenset[Feature]:
    """The AMX features this processor announces.

    Hypervisors can hide what works. `AMX_ASSUME=fp16` in the environment, meant for tests, adds FP16 if
    TDPFP16PS executes in a forked child; what CPUID says alone is `announced()`.
    """
    found = announced()
    if (
        Feature.AMX_FP16 not in found
        and "fp16" in os.environ.get("AMX_ASSUME", "").split(",")
        and _fp16_executes()
    ):
        return found | {Feature.AMX_FP16}
    return found


def announced() -> frozenset[Feature]:
    """The AMX features whose CPUID bits are set, in leaf 7 or, where that has none, in leaf 0x1E.1."""
    machine = _machine.current()
    return frozenset(feature for feature in Feature if _bit(machine, feature))


def palettes() -> tuple[Palette, ...]:
    """The palettes from 1 up that CPUID.1D describes; palette 0 is the INIT state."""
    machine = _machine.current()
    if _highest_leaf(machine) < LEAF_TILE:
        return ()
    highest = machine.cpuid(LEAF_TILE, 0).eax
    return tuple(
        _palette(number, machine.cpuid(LEAF_TILE, number)) for number in range(1, min(highest, 16) + 1)
    )


def tile_multiplier() -> TileMultiplier | None:
    """The TMUL's limits, None where CPUID has no leaf 0x1E."""
    machine = _machine.current()
    if _highest_leaf(machine) < LEAF_TMUL:
        return None
    ebx = machine.cpuid(LEAF_TMUL, 0).ebx
    return TileMultiplier(max_k=ebx & 0xFF, max_n=ebx >> 8 & 0xFFFF)


def processor() -> Processor:
    """Vendor, family, model and stepping as CPUID gives them, and the hypervisor's signature."""
    machine = _machine.current()
    leaf0, leaf1 = machine.cpuid(0), machine.cpuid(1)
    family, model = leaf1.eax >> 8 & 0xF, leaf1.eax >> 4 & 0xF
    if family in (6, 15):
        model |= leaf1.eax >> 12 & 0xF0
    if family == 15:
        family += leaf1.eax >> 20 & 0xFF
    virtual = bool(leaf1.ecx & HYPERVISOR_PRESENT)
    hypervisor = ""
    if virtual:
        leaf = machine.cpuid(LEAF_HYPERVISOR)
        hypervisor = _text(leaf.ebx, leaf.ecx, leaf.edx)
    vendor = _text(leaf0.ebx, leaf0.edx, leaf0.ecx)
    return Processor(vendor, family, model, leaf1.eax & 0xF, virtual, hypervisor, machine.emulated)


def brand() -> str:
    """The brand string, "Intel(R) Xeon(R) ..." for example; empty where CPUID has none."""
    machine = _machine.current()
    if machine.cpuid(LEAF_EXTENDED).eax < LEAVES_BRAND[-1]:
        return ""
    leaves = [machine.cpuid(leaf) for leaf in LEAVES_BRAND]
    return "".join(_text(leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) for leaf in leaves).strip()


def disagreements() -> tuple[Disagreement, ...]:
    """Features on which leaf 7, leaf 0x1E.1 and /proc/cpuinfo contradict each other.

    A missing leaf 0x1E.1 (subleaf 0 announces it in EAX; Sapphire Rapids has none) contradicts nothing, and
    the absence from /proc/cpuinfo counts only for the three flags that Linux prints there: tile, int8 and
    bf16. Where AMX is emulated, that file is still about the real processor, and is not asked.
    """
    machine = _machine.current()
    flags = frozenset() if machine.emulated else machine.cpuinfo_flags()
    found = []
    for feature in Feature:
        says = _bit(machine, feature)
        if feature.place is not None and feature.mirror is not None and _has_mirror(machine):
            mirror = bool(machine.cpuid(LEAF_TMUL, 1).eax >> feature.mirror & 1)
            if mirror != says:
                found.append(_disagreement(feature, says, f"CPUID.1E.1:EAX[{feature.mirror}]"))
        if flags and (
            (feature.value in flags and not says)
            or (
                says
                and feature.value not in flags
                and feature in (Feature.AMX_TILE, Feature.AMX_INT8, Feature.AMX_BF16)
            )
        ):
            found.append(_disagreement(feature, says, "/proc/cpuinfo"))
    return tuple(found)


def _disagreement(feature: Feature, cpuid_says: bool, other: str) -> Disagreement:
    return Disagreement(feature, *((feature.where, other) if cpuid_says else (other, feature.where)))


def _bit(machine: Machine, feature: Feature) -> bool:
    if feature.place is None:
        return _has_mirror(machine) and bool(machine.cpuid(LEAF_TMUL, 1).eax >> (feature.mirror or 0) & 1)
    subleaf, register, bit = feature.place
    if _highest_leaf(machine) < LEAF_FEATURES:
        return False
    first = machine.cpuid(LEAF_FEATURES, 0)
    if first.eax < subleaf:  # a subleaf above CPUID.7.0:EAX returns zeros on Intel, and anything elsewhere
        return False
    registers = first if subleaf == 0 else machine.cpuid(LEAF_FEATURES, subleaf)
    return bool(getattr(registers, register) >> bit & 1)


def _has_mirror(machine: Machine) -> bool:
    """Whether leaf 0x1E.1 says anything: hypervisors that do not know it leave it all zero."""
    return (
        _highest_leaf(machine) >= LEAF_TMUL
        and machine.cpuid(LEAF_TMUL, 0).eax >= 1
        and machine.cpuid(LEAF_TMUL, 1).eax != 0
    )


def _highest_leaf(machine: Machine) -> int:
    return machine.cpuid(0).eax


def _palette(number: int, leaf: Registers) -> Palette:
    return Palette(
        number=number,
        total_tile_bytes=leaf.eax & 0xFFFF,
        bytes_per_tile=leaf.eax >> 16,
        bytes_per_row=leaf.ebx & 0xFFFF,
        max_names=leaf.ebx >> 16,
        max_rows=leaf.ecx & 0xFFFF,
    )


def _text(*registers: int) -> str:
    raw = b"".join(register.to_bytes(4, "little") for register in registers)
    return printable(raw.rstrip(b"\0").decode("latin-1"))  # a hypervisor may say what it likes


_executed: WeakKeyDictionary[Machine, bool] = WeakKeyDictionary()


def _fp16_executes() -> bool:
    machine = _machine.current()
    if machine not in _executed:
        _executed[machine] = machine.probe_child(ChildAction.TDPFP16PS).step is Step.DONE
    return _executed[machine]
