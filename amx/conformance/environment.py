"""What the checks find here: the lane, the preconditions that lack and why, and the machine's description."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amx import cpu, diagnosis, machine, xstate
from amx._lib import lib
from amx.causes import FIRST_KERNEL, Cause
from amx.conformance import place as _place
from amx.conformance.check import Check, Need, upstream, version
from amx.conformance.place import Place
from amx.diagnosis import Diagnosis, Outcome, RungName
from amx.emulation.machine import Emulated
from amx.lane import Lane, lane_of
from amx.version import __version__

__all__ = ["FAULT", "MODEL", "Environment", "fault", "is_modelled", "read", "recorded", "unknown"]

MODEL = "AMX_CONFORMANCE_MODEL"  # 1: run on the model of the kernel; for the suite's own tests
FAULT = "AMX_CONFORMANCE_FAULT"  # name of a deliberate fault (`amx-provoke faults`); for the same
BACKPORTED = (5, 17)  # what an older release that answers is taken for: guest permission came along


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run takes place.

    `lacking` gives for each precondition that does not hold the reason; `nothing` is the reason why no
    provocation can be made at all, empty where they can; `facts` describe the machine in words. Of a log
    `source` names the files, and `unknown` says why it does not tell where the run took place.
    """

    lane: Lane
    fault: str
    diagnosis: Diagnosis
    release: str
    kernel_version: tuple[int, ...]  # that claims are held to
    lacking: Mapping[Need, str]
    nothing: str
    facts: tuple[tuple[str, str], ...]
    source: str = ""
    unknown: str = ""

    @property
    def upstream(self) -> str:
        """The release to hold known bugs against."""
        return upstream(self.release, dict(self.facts).get("kernel", ""))

    def obstacle(self, check: Check) -> str:
        """Why a check cannot be made here, empty when it can."""
        for need in Need:
            if need in check.needs and need in self.lacking:
                return self.lacking[need]
        if self.nothing:
            return self.nothing
        since = version(check.since)
        if self.lane is not Lane.MODEL and self.kernel_version[: len(since)] < since:
            return f"the claim holds since Linux {check.since}, and this is {self.release}"
        return ""


def read(*, model: bool | None = None) -> Environment:
    """Look at the machine, by probes in child processes; `model` None asks the variable."""
    return _environment(
        _place.here(),
        model=is_modelled() if model is None else model,
        fault=fault(),
        nothing=_nothing(),
        program=(("linux-amx", _versions()),),
    )


def is_modelled() -> bool:
    """Whether the variable asks for the model of the kernel."""
    return os.environ.get(MODEL, "") not in ("", "0")


def fault() -> str:
    """The deliberate fault that the variable asks for."""
    return os.environ.get(FAULT, "")


def recorded(place: Place, *, model: bool, fault: str, source: str, program: str) -> Environment:
    """Where a run took place that is in a log: the machine is the current one, as of `machine.use()`.

    program: the version of the amx-provoke that made it.
    """
    facts = (
        ("command line", place.cmdline or "unknown"),
        ("amx-provoke", program or "unknown"),
        ("judged by", f"linux-amx {_versions()}"),
    )
    return _environment(place, model=model, fault=fault, nothing="", program=facts, source=source)


def unknown(why: str, *, fault: str, source: str) -> Environment:
    """The environment of a log that does not say where its run took place."""
    return Environment(
        lane=Lane.NONE,
        fault=fault,
        diagnosis=Diagnosis(()),
        release="unknown",
        kernel_version=(),
        lacking={},
        nothing="",
        facts=(("machine", why), ("judged by", f"linux-amx {_versions()}")),
        source=source,
        unknown=why,
    )


def _environment(
    place: Place,
    *,
    model: bool,
    fault: str,
    nothing: str,
    program: tuple[tuple[str, str], ...],
    source: str = "",
) -> Environment:
    found = diagnosis.explain(probe=True)
    lane = Lane.MODEL if model else lane_of(found)
    kernel = machine.current().kernel()
    return Environment(
        lane=lane,
        fault=fault,
        diagnosis=found,
        release=kernel.release,
        kernel_version=_kernel_version(kernel.release, found),
        lacking=dict(_lacking(lane, found, place)),
        nothing=nothing,
        facts=(*_facts(found, place), *program),
        source=source,
    )


def _kernel_version(release: str, found: Diagnosis) -> tuple[int, ...]:
    """The version to hold claims to: distributions have brought AMX to older kernels (RHEL's 4.18, 5.14)."""
    here = version(release)
    rung = found.rung(RungName.KERNEL)
    answers = any(line.startswith("ARCH_GET_XCOMP_SUPP: 0x") for line in rung.evidence)
    return max(here, BACKPORTED) if answers and here < FIRST_KERNEL else here


def _nothing() -> str:
    current = machine.current()
    if current.stub:
        return Cause.NO_MACHINE_LAYER.words
    if isinstance(current, Emulated):
        return "amx.emulate() reaches no other program: use amx emulate -- amx check"
    if not isinstance(current, machine.Real):
        return "this is the record of a machine: nothing can be provoked on it"
    return ""


_KERNELS = (Need.KERNEL_TILES, Need.FRAMES, Need.REAL_FRAMES)  # tiles as the kernel has them
_OURS = "XSAVE of tiles is not modelled by the emulator: frames, ptrace and cores are the real kernel's"


def _lacking(lane: Lane, found: Diagnosis, place: Place) -> Iterator[tuple[Need, str]]:
    root = place.uid == 0
    why = found.cause.words if found.cause else ""
    if lane is Lane.NONE:
        yield from ((need, why) for need in (Need.AMX, Need.TILES, *_KERNELS))
    elif lane is Lane.EMULATED:
        if not found.usable:
            yield Need.AMX, why
        yield Need.ONE_MACHINE, "CPUID is the emulator's, and what this is held against the real machine's"
        if found.emulated:
            yield from ((need, _OURS) for need in (Need.FRAMES, Need.REAL_FRAMES))
            if lib.amx_is_traced() and not root:
                yield (
                    Need.APART,
                    "the tracer has no privileges, and so no access to processes that are not dumpable",
                )
            if lib.amx_is_launched():
                yield Need.APART, "the preloaded emulator shares the program's memory and its filters"
                yield Need.PTRACE, "a tracer sees the signals of the preloaded emulator"
            yield Need.KVM, "KVM is the real kernel's: it neither knows nor locks the emulated permission"
        else:
            why = "an emulator runs the tiles: the kernel does not know them"
            yield from ((need, why) for need in _KERNELS)
    elif lane is Lane.MODEL:
        yield (
            Need.REAL_FRAMES,
            "only a real kernel shows this, not the model",
        )
    if not root:
        yield Need.ROOT, f"needs root; this is uid {place.uid}"
    if place.yama == "3" or (place.yama == "2" and not root):
        yield Need.PTRACE, f"kernel.yama.ptrace_scope is {place.yama}, which forbids ptrace"
    if place.kvm != "usable":
        there = "not accessible to this user" if place.kvm == "denied" else "absent"
        yield Need.KVM, f"/dev/kvm is {there}"
    core = _core_obstacle(place)
    if core:
        yield Need.CORE_FILE, core


def _core_obstacle(place: Place) -> str:
    """Why no core file can be had: core(5) says what the pattern's first character means."""
    pattern = place.core_pattern
    if not pattern:
        return "the core pattern is empty or cannot be read"
    if pattern[0] in "|@":
        return f"the core pattern {pattern!r} is no file, and changing it would concern the whole system"
    if "/" in pattern:
        return f"the core pattern {pattern!r} would write outside the check's own directory"
    return "" if place.core_limit else "the hard limit RLIMIT_CORE is 0"


def _facts(found: Diagnosis, place: Place) -> Iterator[tuple[str, str]]:
    kernel = machine.current().kernel()
    yield "AMX", f"{found.cause.words}. {found.remedy}." if found.cause else "usable"
    yield "kernel", f"{kernel.sysname} {kernel.release} {kernel.version} {kernel.architecture}"
    if not machine.current().stub:
        yield "processor", str(cpu.processor())
        announced = cpu.announced()
        yield "announced", " ".join(str(f) for f in cpu.Feature if f in announced) or "no AMX flag"
        layout = xstate.layout()
        xcr0 = "none" if layout.xcr0 is None else hex(layout.xcr0)
        yield "XCR0", f"{xcr0}; XSAVE area {layout.standard_size} bytes, compacted {layout.compacted_size}"
        yield "AT_MINSIGSTKSZ", str(xstate.altstack_need().before)
        for rung in found.rungs:
            if rung.outcome is not Outcome.NOT_REACHED and rung.name in _KERNEL_RUNGS:
                yield f"{rung.name.value} rung", f"{rung.outcome.value}: {'; '.join(rung.evidence)}"
        for disagreement in found.disagreements:
            yield "note", str(disagreement)
    yield "user", f"uid {place.uid}{', seccomp filter' if place.seccomp else ''}"
    yield "core pattern", place.core_pattern or "unknown"


_KERNEL_RUNGS = (RungName.KERNEL, RungName.PERMISSION, RungName.REQUEST, RungName.CONFIRMED)


def _versions() -> str:
    return f"{__version__}, Python {sys.version.split()[0]}"
