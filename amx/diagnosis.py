"""explain(): the ladder of evidence from the processor to an executed tile, and the first rung that fails.

Pure over `amx.machine`: every judgement here can be replayed on a recorded machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from amx import cpu, rungs
from amx import machine as _machine
from amx.causes import Cause
from amx.cpu import Feature
from amx.errors import AmxError, AmxPermissionError, AmxUnavailableError
from amx.machine import ChildAction, Machine
from amx.permission import ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
from amx.rungs import Outcome, Rung, RungName

__all__ = ["Diagnosis", "Outcome", "Rung", "RungName", "available", "explain", "feature_named"]

_KERNEL_RUNGS = tuple(RungName)[tuple(RungName).index(RungName.KERNEL) :]


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
    ladder = tuple(_climb(machine, probe=probe, request=request))
    return Diagnosis(ladder, cpu.disagreements(), machine.emulated)


def _stub_diagnosis() -> Diagnosis:
    ladder = [Rung(RungName.BUILD, Outcome.FAILED, ("no machine layer",), Cause.NO_MACHINE_LAYER)]
    ladder += [rungs.not_reached(name) for name in RungName if name is not RungName.BUILD]
    return Diagnosis(tuple(ladder))


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
    flags = rungs.cpuid()
    enabled, palette = rungs.xcr0(machine, flags.cause), rungs.palette(flags.cause)
    yield from (flags, enabled, palette)
    missing = flags.cause or enabled.cause or palette.cause
    announced = missing is None
    if not announced and not probe:
        # The kernel is not called for what cannot succeed: some filters kill for it.
        yield from map(rungs.not_reached, _KERNEL_RUNGS)
        return

    kernel = rungs.kernel(machine, missing, probe=probe)
    yield kernel
    if not rungs.all_ok(kernel) and (not probe or kernel.cause is Cause.PROBE_HUNG):
        yield from map(rungs.not_reached, _KERNEL_RUNGS[1:])
        return

    offered = rungs.all_ok(kernel)
    held = rungs.permission(machine, offered=offered, probe=probe)
    yield held
    granted, request = rungs.all_ok(held), request and announced and offered
    child = (
        machine.probe_child(ChildAction.REQUEST, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) if probe else None
    )
    asked = (
        Rung(RungName.REQUEST, Outcome.OK, ("already granted",))
        if granted
        else rungs.request(machine, child, offered=offered, request=request)
    )
    yield asked
    confirmed = rungs.confirmed(machine, asked, None if granted or request else child)
    yield confirmed
    refused = any(rung.outcome is Outcome.FAILED for rung in (kernel, held, asked, confirmed))
    yield rungs.executes(machine, announced=announced, refused=refused, probe=probe, request=request)
