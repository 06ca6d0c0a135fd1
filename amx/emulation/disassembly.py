"""AMX instructions as text, in the syntax of assemblers' Intel dialect, registers without %.

A memory operand without index is written without one. What a decoded instruction consists of is
`struct amxemu_insn` of csrc/emulator/emulator.h.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from amx._lib import ffi, lib

__all__ = ["Action", "Instruction", "action_of", "decode", "mnemonics"]

RIP = 32
SEGMENTS = {4: "fs:", 5: "gs:"}
LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")


class Action(enum.Enum):
    """What an instruction does with tiles."""

    CONFIGURE = "configure"  # ldtilecfg, sttilecfg
    RELEASE = "release"
    ZERO = "zero"
    LOAD = "load"
    STORE = "store"
    PRODUCT = "product"
    ROW = "row"  # out of a tile into a ZMM register


def action_of(mnemonic: str) -> Action:
    """What the instruction of this name does."""
    if mnemonic.endswith("tilecfg"):
        return Action.CONFIGURE
    if mnemonic.startswith("tileload"):
        return Action.LOAD
    if mnemonic.startswith(("tdp", "tcmm")):
        return Action.PRODUCT
    named = {"tilerelease": Action.RELEASE, "tilezero": Action.ZERO, "tilestored": Action.STORE}
    return named.get(mnemonic, Action.ROW)


@dataclass(frozen=True, slots=True)
class Instruction:
    """The fields of `struct amxemu_insn`; registers are numbers, -1 where there is none."""

    mnemonic: str
    length: int
    d: int
    a: int
    b: int
    has_memory: bool
    base: int
    index: int
    segment: int
    scale: int
    address32: bool
    displacement: int
    row_register: int
    row: int
    apx: bool

    @property
    def action(self) -> Action:
        """What it does."""
        return action_of(self.mnemonic)

    @property
    def operands(self) -> str:
        """The operands, separated by ", "; empty where there are none."""
        match self.action:
            case Action.CONFIGURE:
                return self._memory()
            case Action.RELEASE:
                return ""
            case Action.ZERO:
                return f"tmm{self.d}"
            case Action.LOAD:
                return f"tmm{self.d}, {self._memory()}"
            case Action.STORE:
                return f"{self._memory()}, tmm{self.d}"
            case Action.PRODUCT:
                return f"tmm{self.d}, tmm{self.a}, tmm{self.b}"
            case Action.ROW:
                row = str(self.row) if self.row_register < 0 else _register(self.row_register, wide=False)
                return f"zmm{self.d}, tmm{self.a}, {row}"

    def __str__(self) -> str:
        return f"{self.mnemonic} {self.operands}".rstrip()

    def _memory(self) -> str:
        wide = not self.address32
        terms = []
        if self.base >= 0:
            terms.append(_register(self.base, wide=wide))
        if self.index >= 0:
            terms.append(f"{_register(self.index, wide=wide)}*{1 << self.scale}")
        address = " + ".join(terms)
        if not terms:
            address = hex(self.displacement % 2**64)
        elif self.displacement:
            address += f" {'-' if self.displacement < 0 else '+'} {abs(self.displacement):#x}"
        return f"{SEGMENTS.get(self.segment, '')}[{address}]"


def mnemonics() -> tuple[str, ...]:
    """The names of all instructions, by `enum amxemu_op`."""
    return tuple(ffi.string(lib.amxemu_mnemonic(op)).decode() for op in range(lib.AMXEMU_NAMED_OPS))


def decode(code: bytes) -> Instruction | None:
    """The AMX instruction that the bytes begin with; None where they begin with no valid one."""
    insn = ffi.new("struct amxemu_insn *")
    if lib.amxemu_decode(ffi.from_buffer("uint8_t[]", code), len(code), insn) != lib.AMXEMU_VALID:
        return None
    return Instruction(
        mnemonic=ffi.string(lib.amxemu_mnemonic(insn.op)).decode(),
        length=int(insn.length),
        d=int(insn.d),
        a=int(insn.a),
        b=int(insn.b),
        has_memory=bool(insn.has_memory),
        base=int(insn.base),
        index=int(insn.index),
        segment=int(insn.segment),
        scale=int(insn.scale),
        address32=bool(insn.address32),
        displacement=int(insn.displacement),
        row_register=int(insn.row_register),
        row=int(insn.row),
        apx=bool(insn.apx),
    )


def _register(number: int, *, wide: bool) -> str:
    if number == RIP:
        return "rip" if wide else "eip"
    if number < len(LEGACY):
        return ("r" if wide else "e") + LEGACY[number]
    return f"r{number}" + ("" if wide else "d")
