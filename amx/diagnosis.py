"""explain(): the ladder of evidence from the processor to an executed tile, and the first rung that fails.

Pure over `amx.machine`: every judgement here can be replayed on a recorded machine.
"""

from __future__ import annotations

import enum
import errno
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from amx import causes, cpu, errors, permission, xstate
from amx import machine as _machine
from amx.causes import Cause
from amx.cpu import Feature
from amx.errors import AmxError, AmxPermissionError, AmxUnavailableError
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
)
from amx.xstate import XFEATURE_MASK_XTILE, XFEATURE_MASK_XTILEDATA

__all__ = ["Diagnosis", "Outcome", "Rung", "RungName", "available", "explain", "feature_named"]

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


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The rungs in order. `usable` says that none failed, so that AMX works here or will after a request.

    `emulated` is the emulated CPU, and by what, where `amx.emulate()` or `amx emulate` is at work: then
    nothing here is about the processor and the kernel. It is empty otherwise.
    """

    rungs: tuple[Rung, ...]
    disagreements: tuple[cpu.Disagreement, ...] = ()
    emulated: str = ""

    @property
    def failure(self) -> Rung | None:
        """The first rung that failed."""
        return next((rung for rung in self.rungs if rung.outcome is Outcome.FAILED), None)

    @property
    def usable(self) -> bool:
        """Whether no rung failed."""
        return self.failure is None

    @property
    def cause(self) -> Cause | None:
        """Why AMX cannot be used: the first failing rung's, or EMULATOR when tiles execute all the same."""
        if self.failure is None:
            return None
        executes = self.rung(RungName.EXECUTES)
        return executes.cause if executes.cause is Cause.EMULATOR else self.failure.cause

    @property
    def remedy(self) -> str:
        """What to do about the cause, empty when there is none."""
        return self.cause.remedy if self.cause else ""

    def rung(self, name: RungName) -> Rung:
        """The rung of that name."""
        return next(rung for rung in self.rungs if rung.name is name)

    def error(self) -> AmxError:
        """The failure as an error to raise; a ValueError when there is none."""
        if self.failure is None or self.cause is None:
            raise ValueError("error() of a diagnosis without failure")
        refused = self.failure.name in (RungName.PERMISSION, RungName.REQUEST, RungName.CONFIRMED)
        return (AmxPermissionError if refused else AmxUnavailableError)(
            f"AMX is not usable: the {self.failure.name.value} rung failed",
            cause=self.cause.words,
            remedy=self.remedy,
            evidence=tuple(str(rung) for rung in self.rungs),
        )

    @property
    def _usable(self) -> str:
        return "usable, emulated" if self.emulated else "usable"

    def __str__(self) -> str:
        lines = [f"emulated   {self.emulated}: not the processor, not the kernel"] if self.emulated else []
        lines += [str(rung) for rung in self.rungs]
        lines += [f"note       {disagreement}" for disagreement in self.disagreements]
        if self.cause:
            lines += [f"cause: {self.cause.words}", f"remedy: {self.remedy}"]
        elif self.rung(RungName.PERMISSION).outcome is Outcome.SKIPPED:
            lines.append(f"{self._usable}; {Cause.NOT_REQUESTED.words}: {Cause.NOT_REQUESTED.remedy}")
        else:
            lines.append(self._usable)
        return "\n".join(lines)


def available(feature: Feature | str | None = None) -> bool:
    """Whether AMX is usable here, and with `feature` (a `Feature`, "amx_bf16", "bf16") that part of it.

    True means that permission is granted, or that nothing stands against a request for it as far as can be
    seen without asking. No side effect. The kernel is not called unless CPUID and XCR0 show AMX; where they
    do, a seccomp filter that kills for reading the permission would end the process here, which
    `explain(probe=True)` finds out in a child.
    """
    wanted = None if feature is None else feature_named(feature)
    machine = _machine.current()
    if machine.stub or any(rung.outcome is Outcome.FAILED for rung in _climb(machine)):
        return False
    return wanted is None or wanted in cpu.features()


def explain(*, probe: bool = False, request: bool = False) -> Diagnosis:
    """Say whether this process can use AMX, on what evidence, and if not, why and what helps.

    Nothing is changed by default: CPUID, XCR0 and permission are read, a request is judged by what would
    refuse it (this thread's alternate stack), and nothing executes.

    probe: also try in forked children, which a filter may kill without harm, what would change or endanger
        this process: each call, a request and a tile. Calls the child did not survive are not repeated here.
        A child has one thread, so that it does not find what another thread of this process stands against.
        Takes some milliseconds.
    request: really ask, in this process and for good, and execute a tile in this thread under the guard.
    """
    machine = _machine.current()
    if machine.stub:
        return _stub_diagnosis()
    rungs = tuple(_climb(machine, probe=probe, request=request))
    return Diagnosis(rungs, cpu.disagreements(), machine.emulated)


def _stub_diagnosis() -> Diagnosis:
    rungs = [Rung(RungName.BUILD, Outcome.FAILED, ("no machine layer",), Cause.NO_MACHINE_LAYER)]
    rungs += [_not_reached(name) for name in RungName if name is not RungName.BUILD]
    return Diagnosis(tuple(rungs))


def feature_named(feature: Feature | str) -> Feature:
    """The feature of that name ("amx_bf16", "bf16"); a ValueError when there is none."""
    if isinstance(feature, Feature):
        return feature
    flag = f"amx_{str(feature).lower().removeprefix('amx_')}"
    for known in Feature:
        if known.value == flag:
            return known
    raise ValueError(f"unknown AMX feature {feature!r}. Known are {', '.join(map(str, Feature))}.")


def _climb(machine: Machine, *, probe: bool = False, request: bool = False) -> Iterator[Rung]:
    flags = _cpuid()
    enabled, palette = _xcr0(machine, flags.cause), _palette(flags.cause)
    yield from (flags, enabled, palette)
    missing = flags.cause or enabled.cause or palette.cause
    announced = missing is None
    if not announced and not probe:
        # The kernel is not called for what cannot succeed: some filters kill for it.
        yield from map(_not_reached, _KERNEL_RUNGS)
        return

    kernel = _kernel(machine, missing, probe=probe)
    yield kernel
    if not _all_ok(kernel) and (not probe or kernel.cause is Cause.PROBE_HUNG):
        yield from map(_not_reached, _KERNEL_RUNGS[1:])
        return

    offered = _all_ok(kernel)
    held = _permission(machine, offered=offered, probe=probe)
    yield held
    granted, request = _all_ok(held), request and announced and offered
    child = (
        machine.probe_child(ChildAction.REQUEST, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) if probe else None
    )
    asked = (
        Rung(RungName.REQUEST, Outcome.OK, ("already granted",))
        if granted
        else _request(machine, child, offered=offered, request=request)
    )
    yield asked
    confirmed = _confirmed(machine, asked, None if granted or request else child)
    yield confirmed
    refused = any(rung.outcome is Outcome.FAILED for rung in (kernel, held, asked, confirmed))
    yield _executes(machine, announced=announced, refused=refused, probe=probe, request=request)


_KERNEL_RUNGS = tuple(RungName)[tuple(RungName).index(RungName.KERNEL) :]


def _all_ok(*rungs: Rung) -> bool:
    return all(rung.outcome is Outcome.OK for rung in rungs)


def _not_reached(name: RungName) -> Rung:
    return Rung(name, Outcome.NOT_REACHED, ())


def _cpuid() -> Rung:
    processor = cpu.processor()
    found = cpu.announced()
    names = " ".join(feature.value for feature in Feature if feature in found) or "no AMX flag"
    evidence = (str(processor), names)
    if Feature.AMX_TILE in found:
        return Rung(RungName.CPUID, Outcome.OK, evidence)
    return Rung(RungName.CPUID, Outcome.FAILED, evidence, causes.of_missing_flags(processor))


def _xcr0(machine: Machine, missing: Cause | None) -> Rung:
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


def _palette(missing: Cause | None) -> Rung:
    palettes = cpu.palettes()
    evidence = tuple(str(palette) for palette in palettes) or ("no palette",)
    if palettes and all(min(p.max_names, p.max_rows, p.bytes_per_row) > 0 for p in palettes):
        return Rung(RungName.PALETTE, Outcome.OK, evidence)
    return Rung(RungName.PALETTE, Outcome.FAILED, evidence, missing or Cause.PALETTE_MISSING)


def _kernel(machine: Machine, missing: Cause | None, *, probe: bool) -> Rung:
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


def _permission(machine: Machine, *, offered: bool, probe: bool) -> Rung:
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


def _request(machine: Machine, child: Probe | None, *, offered: bool, request: bool) -> Rung:
    """Ask in this process if `request`, unless the child that asked before did not get through."""
    name, op = RungName.REQUEST, ARCH_REQ_XCOMP_PERM
    stack = f"alternate stack: {permission.altstack()}"
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


def _confirmed(machine: Machine, asked: Rung, child: Probe | None) -> Rung:
    """Read back what was asked for: by the child, or without one in this process."""
    name, op = RungName.CONFIRMED, ARCH_GET_XCOMP_PERM
    if asked.outcome is Outcome.SKIPPED:
        return Rung(name, Outcome.SKIPPED, ())
    if asked.outcome is Outcome.FAILED:
        return _not_reached(name)
    reply = Reply(child.confirmed, child.value) if child else machine.arch_prctl_get(op)
    evidence = (f"{'in a child: ' if child else ''}{_text(op, reply.result, reply.value)}",)
    if reply.result == 0 and reply.value & XFEATURE_MASK_XTILEDATA:
        return Rung(name, Outcome.OK, evidence)
    cause = causes.of_read(reply.result, answered=True) if reply.result else Cause.SECCOMP_LIES
    return Rung(name, Outcome.FAILED, evidence, cause)


def _executes(machine: Machine, *, announced: bool, refused: bool, probe: bool, request: bool) -> Rung:
    name = RungName.EXECUTES
    if probe:
        result, where = machine.probe_child(ChildAction.TILEZERO), "in a child: "
    elif refused:
        return _not_reached(name)
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
