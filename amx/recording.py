"""Machines in files: record a real one, replay it in the place of the real one.

A file is one JSON object. `kind` says whether it was "recorded" on a real machine or "constructed", `title`
and `source` what it is and where its numbers come from. The facts:

cpuid: "eax ebx ecx edx" for each "leaf.subleaf", all in hexadecimal; a leaf that is left out is zero.
xcr0, xinuse: hexadecimal, null where XGETBV would fault.
arch_prctl: for each operation `result` (0 or -errno) and `value`, or for requests (of component 18) `then`,
    what the reading operation returns afterwards; where the call ends the process, `signal` and `code`
    instead, and `timed_out` where it does not return.
child: how a forked child ended that asked for permission and executed `tilezero` or `tdpfp16ps`: `step`,
    `signal`, `code`; and operations that end otherwise in a child than in a process with other threads.
auxv, sysconf: by number.
altstack: `size` and `flags`.
cpuinfo_flags: the flags line.
kernel: of uname, without a host name.
"""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amx import recorded_facts
from amx.errors import EmulationError
from amx.machine import (
    AlternateStack,
    ChildAction,
    Kernel,
    Machine,
    Probe,
    Registers,
    Reply,
    Step,
)

__all__ = ["ProcessEndedError", "Recorded", "leaves", "load", "record"]

SCHEMA = 1
XFEATURE_XTILEDATA = 18
ILL_ILLOPC = 1
READS = (0x1021, 0x1022, 0x1024)
REQUESTS = (0x1023, 0x1025)  # each directly after the read that shows its effect
LEAVES = (
    *((0, 0), (1, 0), (7, 0), (7, 1), (0xD, 0), (0xD, 1), (0xD, 17), (0xD, 18)),
    *((0x1D, 0), (0x1D, 1), (0x1E, 0), (0x1E, 1), (0x4000_0000, 0)),
)
AUXV = (51,)  # AT_MINSIGSTKSZ
SYSCONF = (249, 250)  # _SC_MINSIGSTKSZ, _SC_SIGSTKSZ
APIC_ID = 0xFF00_0000  # CPUID.1:EBX, which names the processor that was asked


class ProcessEndedError(Exception):
    """The call would have ended the process on the machine that is being replayed; `probe` says how."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(str(probe))
        self.probe = probe


class Recorded:
    """A machine out of a file. Permission granted by `arch_prctl` stays granted, as in a process."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self._after: dict[int, int] = {}

    @property
    def stub(self) -> bool:
        """No recorded machine lacks the machine layer."""
        return False

    @property
    def emulated(self) -> str:
        """A recorded machine is what it was recorded as."""
        return ""

    def cpuid(self, leaf: int, subleaf: int = 0) -> Registers:
        """As `Machine.cpuid`."""
        words = self._facts["cpuid"].get(f"{leaf:x}.{subleaf:x}", "0 0 0 0")
        return Registers(*(int(word, 16) for word in words.split()))

    def xgetbv(self, index: int) -> int | None:
        """As `Machine.xgetbv`."""
        value = self._facts["xcr0" if index == 0 else "xinuse"]
        return None if value is None else int(value, 16)

    def arch_prctl_get(self, op: int) -> Reply:
        """As `Machine.arch_prctl_get`."""
        answer = self._answer(op)
        if answer["result"] == 0 and op in self._after:
            return Reply(0, self._after[op])
        return Reply(answer["result"], int(answer.get("value", "0"), 16))

    def arch_prctl(self, op: int, argument: int) -> int:
        """As `Machine.arch_prctl`."""
        answer = self._answer(op)
        result = int(answer["result"])
        if argument != XFEATURE_XTILEDATA:  # no other component can be requested
            return -errno.EINVAL if result == -errno.EINVAL else -errno.EOPNOTSUPP
        if result == 0:
            self._after[op - 1] = int(answer["then"], 16)
        return result

    def getauxval(self, kind: int) -> int:
        """As `Machine.getauxval`."""
        return int(self._facts["auxv"].get(str(kind), 0))

    def sysconf(self, name: int) -> int | None:
        """As `Machine.sysconf`."""
        value = self._facts["sysconf"].get(str(name))
        return None if value is None else int(value)

    def altstack(self) -> AlternateStack:
        """As `Machine.altstack`."""
        stack = self._facts["altstack"]
        return AlternateStack(0, stack["size"], stack["flags"])

    def frame_features(self) -> int | None:
        """Nothing that is recorded."""
        return None

    def cpuinfo_flags(self) -> frozenset[str]:
        """As `Machine.cpuinfo_flags`."""
        return frozenset(self._facts["cpuinfo_flags"].split())

    def kernel(self) -> Kernel:
        """As `Machine.kernel`."""
        return Kernel(**self._facts["kernel"])

    def probe_tilezero(self) -> Probe:
        """As the child's, if permission is granted or nobody asks for it; else what the kernel raises."""
        child = self.probe_child(ChildAction.TILEZERO)
        granted = self.arch_prctl_get(READS[1]).value >> XFEATURE_XTILEDATA & 1
        if child.step < Step.TILEZERO or granted or child.result != 0:
            return child
        return Probe(Step.TILEZERO, signal=signal.SIGILL, code=ILL_ILLOPC)

    def probe_child(self, action: ChildAction, op: int = 0, component: int = 0) -> Probe:
        """As `Machine.probe_child`."""
        if action in (ChildAction.TILEZERO, ChildAction.TDPFP16PS):
            op, component = REQUESTS[0], XFEATURE_XTILEDATA
        ends = self._facts["child"]
        child = Recorded({**self._facts, "arch_prctl": {**self._facts["arch_prctl"], **ends}})
        child._after = dict(self._after)
        try:
            if action is ChildAction.GET:
                reply = child.arch_prctl_get(op)
                return Probe(Step.DONE, result=reply.result, value=reply.value)
            result, read = child.arch_prctl(op, component), child.arch_prctl_get(op - 1)
        except ProcessEndedError as ended:
            return ended.probe
        if action is ChildAction.REQUEST:
            return Probe(Step.DONE, result=result, confirmed=read.result, value=read.value)
        return _probe(ends[action.name.lower()], Step.DONE, result, read)

    def _answer(self, op: int) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._facts["arch_prctl"][f"{op:#x}"]
        if "result" not in answer:
            raise ProcessEndedError(_probe(answer, Step.GET if op in READS else Step.REQUEST))
        return answer


def _probe(end: Mapping[str, Any], step: Step, result: int = 0, read: Reply | None = None) -> Probe:
    return Probe(
        Step[end["step"]] if "step" in end else step,
        signal=end.get("signal", 0),
        code=end.get("code", 0),
        result=result,
        confirmed=read.result if read else 0,
        value=read.value if read else 0,
        timed_out=end.get("timed_out", False),
    )


def load(path: Path) -> Recorded:
    """Read a machine from a file.

    Raises
    ------
    OSError: the file cannot be read.
    RecordError: it is no record of a machine.
    """
    return Recorded(recorded_facts.read(path))


def record(machine: Machine, *, title: str, source: str) -> str:
    """The facts of a machine as the text of a file, with nothing personal in it.

    All that could change or end this process is tried in forked children.

    Raises
    ------
    EmulationError: AMX is emulated in this process.
    """
    if machine.emulated:
        raise EmulationError(
            f"The record of {machine.emulated}",
            cause="It would pass for that of a real machine",
            remedy="Record without emulation",
        )
    facts = {
        "schema": SCHEMA,
        "kind": "recorded",
        "title": title,
        "source": source,
        "cpuid": {
            name: _registers(machine, leaf, subleaf)
            for name, (leaf, subleaf) in zip(leaves(), LEAVES, strict=True)
        },
        "xcr0": _hexadecimal(machine.xgetbv(0)),
        "xinuse": _hexadecimal(machine.xgetbv(1)),
        "arch_prctl": {
            **{f"{op:#x}": _read(machine, op) for op in READS},
            **{f"{op:#x}": _request(machine, op) for op in REQUESTS},
        },
        "child": {
            action.name.lower(): _execute(machine, action)
            for action in (ChildAction.TILEZERO, ChildAction.TDPFP16PS)
        },
        "auxv": {str(kind): machine.getauxval(kind) for kind in AUXV},
        "sysconf": {str(name): machine.sysconf(name) for name in SYSCONF},
        "altstack": {"size": machine.altstack().size, "flags": machine.altstack().flags},
        "cpuinfo_flags": " ".join(sorted(machine.cpuinfo_flags())),
        "kernel": {
            "sysname": machine.kernel().sysname,
            "release": machine.kernel().release,
            "version": machine.kernel().version,
            "architecture": machine.kernel().architecture,
        },
    }
    return json.dumps(facts, indent=2) + "\n"


def leaves() -> tuple[str, ...]:
    """The names of the leaves of CPUID that a record has."""
    return tuple(f"{leaf:x}.{subleaf:x}" for leaf, subleaf in LEAVES)


def _registers(machine: Machine, leaf: int, subleaf: int) -> str:
    if 0 < leaf < 0x4000_0000 and leaf > machine.cpuid(0).eax:
        return "0x0 0x0 0x0 0x0"  # above the highest leaf CPUID repeats another
    found = machine.cpuid(leaf, subleaf)
    ebx = found.ebx & ~APIC_ID if leaf == 1 else found.ebx
    return f"{found.eax:#x} {ebx:#x} {found.ecx:#x} {found.edx:#x}"


def _hexadecimal(value: int | None) -> str | None:
    return None if value is None else hex(value)


def _read(machine: Machine, op: int) -> dict[str, Any]:
    child = machine.probe_child(ChildAction.GET, op)
    return _end(child) or {"result": child.result, "value": hex(child.value)}


def _request(machine: Machine, op: int) -> dict[str, Any]:
    child = machine.probe_child(ChildAction.REQUEST, op, XFEATURE_XTILEDATA)
    return _end(child) or {"result": child.result, "then": hex(child.value)}


def _execute(machine: Machine, action: ChildAction) -> dict[str, Any]:
    child = machine.probe_child(action)
    return {"step": child.step.name, **_end(child)}


def _end(child: Probe) -> dict[str, Any]:
    if child.timed_out:
        return {"timed_out": True}
    return {"signal": child.signal, "code": child.code} if child.signal else {}
