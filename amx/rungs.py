"""The rungs of the ladder from the processor to an executed tile: how each stands, on what evidence.

Pure over `amx.machine`: every judgement here can be replayed on a recorded machine.
"""

from __future__ import annotations

import enum
import errno
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from amx import causes, cpu, errors, xstate
from amx.causes import Cause
from amx.cpu import Feature
from amx.machine import ChildAction, Machine, Probe, Reply, Step
from amx.permission import (
    ARCH_GET_XCOMP_GUEST_PERM,
    ARCH_GET_XCOMP_PERM,
    ARCH_GET_XCOMP_SUPP,
    ARCH_REQ_XCOMP_GUEST_PERM,
    ARCH_REQ_XCOMP_PERM,
    OPERATION_NAMES,
    SI_KERNEL,
    XFEATURE_XTILEDATA,
    altstack,
)
from amx.xstate import XFEATURE_MASK_XTILE, XFEATURE_MASK_XTILEDATA

__all__ = [
    "Outcome",
    "Rung",
    "RungName",
    "all_ok",
    "confirmed",
    "cpuid",
    "executes",
    "kernel",
    "not_reached",
    "palette",
    "permission",
    "request",
    "xcr0",
]

# uapi/asm-generic/siginfo.h. SYS_SECCOMP reaches a handler; a filter that kills gives no chance to see it.
ILL_ILLOPC = 1  # the kernel's code for tile data without permission
SYS_SECCOMP = 1


class RungName(enum.Enum):
    """The steps from the processor to an executed tile, in their order."""

    BUILD = "build"
    CPUID = "cpuid"
    XCR0 = "xcr0"
    PALETTE = "palette"
    KERNEL = "kernel"
    PERMISSION = "permission"
    REQUEST = "request"
    CONFIRMED = "confirmed"
    EXECUTES = "executes"


class Outcome(enum.Enum):
    """What is known of a rung; SKIPPED: not tried, since it was not asked for or changes the process."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step: how it stands, what was seen, and for a failed one why."""

    name: RungName
    outcome: Outcome
    evidence: tuple[str, ...]
    cause: Cause | None = None

    def __str__(self) -> str:
        text = f"{self.name.value:<10} {self.outcome.value:<11} {'; '.join(self.evidence)}"
        return f"{text} [{self.cause.name}]" if self.cause else text


def all_ok(*rungs: Rung) -> bool:
    """Whether each stands."""
    return all(rung.outcome is Outcome.OK for rung in rungs)


def not_reached(name: RungName) -> Rung:
    """A rung behind one that failed."""
    return Rung(name, Outcome.NOT_REACHED, ())


def cpuid() -> Rung:
    """Whether the processor announces AMX."""
    processor = cpu.processor()
    found = cpu.announced()
    names = " ".join(feature.value for feature in Feature if feature in found) or "no AMX flag"
    evidence = (str(processor), names)
    if Feature.AMX_TILE in found:
        return Rung(RungName.CPUID, Outcome.OK, evidence)
    return Rung(RungName.CPUID, Outcome.FAILED, evidence, causes.of_missing_flags(processor))


def xcr0(machine: Machine, missing: Cause | None) -> Rung:
    """Whether the operating system enabled it; `missing` is why CPUID does not announce it."""
    layout = xstate.layout()
    if layout.xcr0 is None:
        return Rung(RungName.XCR0, Outcome.FAILED, ("OSXSAVE is clear",), Cause.OSXSAVE_CLEAR)
    evidence = (f"XCR0 {layout.xcr0:#x}", f"CPUID.D.0 offers {layout.supported:#x}")
    if layout.enabled:
        return Rung(RungName.XCR0, Outcome.OK, evidence)
    if missing:
        return Rung(RungName.XCR0, Outcome.FAILED, evidence, missing)
    if layout.supported & XFEATURE_MASK_XTILE != XFEATURE_MASK_XTILE:
        return Rung(RungName.XCR0, Outcome.FAILED, evidence, Cause.XCR0_NOT_OFFERED)
    kernel = machine.kernel()
    old = causes.release(kernel) < causes.FIRST_KERNEL
    cause = Cause.KERNEL_TOO_OLD if old else Cause.XCR0_NOT_ENABLED
    return Rung(RungName.XCR0, Outcome.FAILED, (*evidence, f"kernel {kernel.release}"), cause)


def palette(missing: Cause | None) -> Rung:
    """Whether CPUID describes tiles."""
    palettes = cpu.palettes()
    evidence = tuple(str(palette) for palette in palettes) or ("no palette",)
    if palettes and all(min(p.max_names, p.max_rows, p.bytes_per_row) > 0 for p in palettes):
        return Rung(RungName.PALETTE, Outcome.OK, evidence)
    return Rung(RungName.PALETTE, Outcome.FAILED, evidence, missing or Cause.PALETTE_MISSING)


def kernel(machine: Machine, missing: Cause | None, *, probe: bool) -> Rung:
    """Whether the kernel supports what the processor showed, or lacks it for the reason that it did not."""
    op = ARCH_GET_XCOMP_SUPP
    if probe:
        child = machine.probe_child(ChildAction.GET, op)
        killed = _killed(child, RungName.KERNEL)
        if killed:
            return killed
        reply = Reply(child.result, child.value)
    else:
        reply = machine.arch_prctl_get(op)
    evidence = [_text(op, reply.result, reply.value)]
    if reply.result == -errno.EINVAL:
        evidence += _all_operations(machine, probe=probe)
        kernel = machine.kernel()
        evidence.append(f"kernel {kernel.release} {kernel.version}")
        cause = causes.of_unknown_operation(kernel)
        return Rung(RungName.KERNEL, Outcome.FAILED, tuple(evidence), cause)
    if reply.result != 0:
        return Rung(RungName.KERNEL, Outcome.FAILED, tuple(evidence), causes.of_read(reply.result))
    if reply.value & XFEATURE_MASK_XTILE == XFEATURE_MASK_XTILE:
        return Rung(RungName.KERNEL, Outcome.OK, tuple(evidence))
    return Rung(RungName.KERNEL, Outcome.FAILED, tuple(evidence), missing or Cause.KERNEL_DISAGREES)


def _all_operations(machine: Machine, *, probe: bool) -> Iterator[str]:
    """The other four operations. Requests are for component 0 (x87), which is never granted."""
    for op in (
        ARCH_GET_XCOMP_PERM,
        ARCH_REQ_XCOMP_PERM,
        ARCH_GET_XCOMP_GUEST_PERM,
        ARCH_REQ_XCOMP_GUEST_PERM,
    ):
        reads = op in (ARCH_GET_XCOMP_PERM, ARCH_GET_XCOMP_GUEST_PERM)
        if probe:
            child = machine.probe_child(ChildAction.GET if reads else ChildAction.REQUEST, op, 0)
            yield _text(op, child.result, child.value)
        elif reads:
            reply = machine.arch_prctl_get(op)
            yield _text(op, reply.result, reply.value)
        else:
            yield _text(op, machine.arch_prctl(op, 0))


def permission(machine: Machine, *, offered: bool, probe: bool) -> Rung:
    """Whether this process has asked for tile data and got it."""
    name, op = RungName.PERMISSION, ARCH_GET_XCOMP_PERM
    if probe:
        child = machine.probe_child(ChildAction.GET, op)
        killed = _killed(child, name)
        if killed:
            return killed
        reply = Reply(child.result, child.value)
    else:
        reply = machine.arch_prctl_get(op)
    evidence = (_text(op, reply.result, reply.value),)
    if reply.result != 0:
        return Rung(name, Outcome.FAILED, evidence, causes.of_read(reply.result, answered=offered))
    if reply.value & XFEATURE_MASK_XTILEDATA:
        return Rung(name, Outcome.OK, evidence)
    return Rung(name, Outcome.SKIPPED, (*evidence, "not requested yet"))


def request(machine: Machine, child: Probe | None, *, offered: bool, request: bool) -> Rung:
    """Ask in this process if `request`, unless the child that asked before did not get through."""
    name, op = RungName.REQUEST, ARCH_REQ_XCOMP_PERM
    stack = f"alternate stack: {altstack()}"
    if child:
        killed = _killed(child, name)
        if killed:
            return killed
        if child.result != 0 or not request:
            evidence = (f"in a child: {_text(op, child.result)}", stack)
            if child.result == 0:
                return Rung(name, Outcome.OK, evidence)
            return Rung(name, Outcome.FAILED, evidence, causes.of_request(child.result, offered=offered))
    if request:
        result = machine.arch_prctl(op, XFEATURE_XTILEDATA)
        evidence = (_text(op, result), stack)
        if result == 0:
            return Rung(name, Outcome.OK, evidence)
        return Rung(name, Outcome.FAILED, evidence, causes.of_request(result, offered=offered))
    foreseen = causes.altstack_cause()
    if foreseen:
        return Rung(name, Outcome.FAILED, ("would be refused with ENOSPC", stack), foreseen)
    return Rung(name, Outcome.SKIPPED, ("not asked, since it cannot be taken back", stack))


def confirmed(machine: Machine, asked: Rung, child: Probe | None) -> Rung:
    """Read back what was asked for: by the child, or without one in this process."""
    name, op = RungName.CONFIRMED, ARCH_GET_XCOMP_PERM
    if asked.outcome is Outcome.SKIPPED:
        return Rung(name, Outcome.SKIPPED, ())
    if asked.outcome is Outcome.FAILED:
        return not_reached(name)
    reply = Reply(child.confirmed, child.value) if child else machine.arch_prctl_get(op)
    evidence = (f"{'in a child: ' if child else ''}{_text(op, reply.result, reply.value)}",)
    if reply.result == 0 and reply.value & XFEATURE_MASK_XTILEDATA:
        return Rung(name, Outcome.OK, evidence)
    cause = causes.of_read(reply.result, answered=True) if reply.result else Cause.SECCOMP_LIES
    return Rung(name, Outcome.FAILED, evidence, cause)


def executes(machine: Machine, *, announced: bool, refused: bool, probe: bool, request: bool) -> Rung:
    """Whether a tile instruction executes, in a child or here."""
    name = RungName.EXECUTES
    if probe:
        result, where = machine.probe_child(ChildAction.TILEZERO), "in a child: "
    elif refused:
        return not_reached(name)
    elif request:
        result, where = machine.probe_tilezero(), ""
    else:
        return Rung(name, Outcome.SKIPPED, ("not tried; amx.explain(probe=True) does",))
    if result.step is Step.DONE:
        # Where a filter denies the read, nothing was seen to be missing.
        withheld = result.confirmed == 0 and not result.value & XFEATURE_MASK_XTILEDATA
        emulated = announced and refused and withheld
        evidence = (f"{where}tilezero completed",)
        return Rung(name, Outcome.OK, evidence, Cause.EMULATOR if emulated else None)
    if result.step < Step.STTILECFG:
        return Rung(name, Outcome.NOT_REACHED, (f"{where}ended before the tile",))
    evidence = (f"{where}{result.step.name.lower()} raised {_signal(result)}",)
    if refused or not announced:
        return Rung(name, Outcome.NOT_REACHED, evidence)
    allocation = result.step is Step.TILEZERO and (result.signal, result.code) == (signal.SIGSEGV, SI_KERNEL)
    cause = Cause.ALLOCATION_FAILED if allocation else Cause.INSTRUCTION_FAULTS
    return Rung(name, Outcome.FAILED, evidence, cause)


def _killed(child: Probe, name: RungName) -> Rung | None:
    """The failed rung of a child that did not come back from a system call."""
    if child.timed_out:
        evidence: tuple[str, ...] = (f"the child hung at step {child.step.name}",)
        return Rung(name, Outcome.FAILED, evidence, Cause.PROBE_HUNG)
    if child.signal == 0:
        return None
    evidence = (f"a child ended with {_signal(child)} at step {child.step.name}",)
    trapped = child.signal == signal.SIGSYS and child.code == SYS_SECCOMP
    cause = Cause.SECCOMP_SIGSYS if trapped else Cause.SECCOMP_KILLS
    return Rung(name, Outcome.FAILED, evidence, cause)


def _signal(probe: Probe) -> str:
    detail = f"si_code {probe.code}"
    if probe.signal == signal.SIGILL and probe.code == ILL_ILLOPC:
        detail += ", the kernel's sign for no permission"
    return f"{errors.signal_name(probe.signal)} ({detail})"


def _text(op: int, result: int, value: int | None = None) -> str:
    name = OPERATION_NAMES[op]
    if result != 0:
        return f"{name}: {errors.errno_name(-result)}"
    return f"{name}: {value:#x}" if value is not None else f"{name}: 0"
