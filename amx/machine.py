# ruff: noqa: D102 (the methods of Real are documented at Machine)
"""The few contacts with the world: CPUID, XGETBV, arch_prctl, the auxiliary vector, sysconf, /proc.

Everything that judges a machine takes these facts from `current()` and from nowhere else, so that a recorded
machine (`amx.recording`) replays in the place of the real one. Nothing here interprets.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from amx._lib import ffi, lib
from amx.errors import AmxUnavailableError

__all__ = [
    "AlternateStack",
    "ChildAction",
    "Kernel",
    "Machine",
    "Probe",
    "Real",
    "Registers",
    "Reply",
    "Step",
    "current",
    "put",
    "use",
]

CHILD_TIMEOUT_MS = 5000


class Step(enum.IntEnum):
    """Where a probe ended: `AMX_STEP_*` of csrc/amx.h."""

    PREPARE = 0
    GET = 1
    REQUEST = 2
    CONFIRM = 3
    STTILECFG = 4
    LDTILECFG = 5
    TILEZERO = 6
    TDPFP16PS = 7
    OTHER = 8
    DONE = 9


class ChildAction(enum.IntEnum):
    """What a forked child tries: `AMX_CHILD_*` of csrc/amx.h."""

    GET = 0
    REQUEST = 1
    TILEZERO = 2
    TDPFP16PS = 3


@dataclass(frozen=True, slots=True)
class Registers:
    """What CPUID returned for one leaf and subleaf."""

    eax: int
    ebx: int
    ecx: int
    edx: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reading arch_prctl returned: 0 or -errno, and the 64 bits it wrote."""

    result: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """How a guarded instruction or a forked child ended.

    `step` is where; `signal`, `code` (si_code) and `address` (si_addr) are 0 where nothing was raised;
    `result` is the system call's 0 or -errno; `value` is what a read wrote, 0 where it failed; `confirmed` is
    the 0 or -errno of reading back what was requested; `timed_out` says that the child hung and was killed.
    """

    step: Step
    signal: int = 0
    code: int = 0
    result: int = 0
    confirmed: int = 0
    address: int = 0
    value: int = 0
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class AlternateStack:
    """A thread's alternate signal stack as sigaltstack(2) reports it; size in bytes, 0 when there is none."""

    address: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """What uname(2) says of the kernel."""

    sysname: str
    release: str
    version: str
    architecture: str


class Machine(Protocol):
    """The facts all judgement rests on."""

    @property
    def stub(self) -> bool:
        """Whether this build has no machine layer; then every method but those on text raises."""

    @property
    def emulated(self) -> str:
        """Which CPU is emulated, and by what ("gnr, by amx emulate"); empty for what the hardware says.

        Other emulators, Intel SDE for example, do not show here.
        """

    def cpuid(self, leaf: int, subleaf: int = 0) -> Registers:
        """Registers as the CPUID instruction returns it, unchecked against the highest leaf."""

    def xgetbv(self, index: int) -> int | None:
        """XCR0 (index 0) or XINUSE of this thread (1); None where the instruction would fault."""

    def arch_prctl_get(self, op: int) -> Reply:
        """Read 64 bits with arch_prctl."""

    def arch_prctl(self, op: int, argument: int) -> int:
        """Call arch_prctl with an operation that takes a number: 0 or -errno."""

    def getauxval(self, kind: int) -> int:
        """An entry of the auxiliary vector, 0 when absent."""

    def sysconf(self, name: int) -> int | None:
        """Value of a system variable by its number, None where libc does not know it."""

    def altstack(self) -> AlternateStack:
        """Alternate signal stack of this thread."""

    def frame_features(self) -> int | None:
        """The components for which signal frames of this thread have room, None where it cannot be told."""

    def cpuinfo_flags(self) -> frozenset[str]:
        """The flags of the first processor in /proc/cpuinfo, empty when it cannot be read."""

    def kernel(self) -> Kernel:
        """What uname says."""

    def probe_tilezero(self) -> Probe:
        """LDTILECFG, TILEZERO and TILERELEASE in this thread, under the fault guard."""

    def probe_child(self, action: ChildAction, op: int = 0, component: int = 0) -> Probe:
        """`action` in a forked child, which does not change this process."""


class Real:
    """The machine this process runs on."""

    @property
    def stub(self) -> bool:
        return lib.amx_is_stub() == 1

    @property
    def emulated(self) -> str:
        return _launched()

    def cpuid(self, leaf: int, subleaf: int = 0) -> Registers:
        self._require_layer("cpuid")
        return _cpuid(leaf, subleaf)

    def xgetbv(self, index: int) -> int | None:
        value = ffi.new("uint64_t *")
        result = lib.amx_xgetbv(index, value)
        if result == -errno.ENODEV:
            return None
        self._check(result, "xgetbv")
        return int(value[0])

    def arch_prctl_get(self, op: int) -> Reply:
        self._require_layer("arch_prctl")
        value = ffi.new("uint64_t *")
        result = lib.amx_arch_prctl_get(op, value)
        return Reply(result, int(value[0]))

    def arch_prctl(self, op: int, argument: int) -> int:
        self._require_layer("arch_prctl")
        return lib.amx_arch_prctl(op, argument)

    def getauxval(self, kind: int) -> int:
        return lib.amx_getauxval(kind)

    def sysconf(self, name: int) -> int | None:
        try:
            value = os.sysconf(name)
        except (OSError, ValueError):
            return None
        return value if value >= 0 else None

    def altstack(self) -> AlternateStack:
        address, size, flags = ffi.new("uint64_t *"), ffi.new("uint64_t *"), ffi.new("int *")
        self._check(lib.amx_sigaltstack(address, size, flags), "sigaltstack")
        return AlternateStack(int(address[0]), int(size[0]), int(flags[0]))

    def frame_features(self) -> int | None:
        probe = ffi.new("struct amx_probe *")
        self._check(lib.amx_probe_guarded(lib.AMX_GUARD_UD2, 0, probe), "ud2")
        return int(probe.value) or None

    def cpuinfo_flags(self) -> frozenset[str]:
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    if line.startswith("flags"):
                        return frozenset(line.partition(":")[2].split())
        except OSError:
            pass
        return frozenset()

    def kernel(self) -> Kernel:
        name = os.uname()
        return Kernel(name.sysname, name.release, name.version, name.machine)

    def probe_tilezero(self) -> Probe:
        probe = ffi.new("struct amx_probe *")
        self._check(lib.amx_probe_tilezero(probe), "tilezero")
        return _probe(probe)

    def probe_child(self, action: ChildAction, op: int = 0, component: int = 0) -> Probe:
        probe = ffi.new("struct amx_probe *")
        result = lib.amx_probe_child(action, op, component, CHILD_TIMEOUT_MS, probe)
        if result == -errno.ETIMEDOUT:
            return _probe(probe, timed_out=True)
        self._check(result, "clone")
        return _probe(probe)

    def _require_layer(self, operation: str) -> None:
        if self.stub:
            raise AmxUnavailableError(
                f"{operation} is not available",
                cause="This build has no machine layer: not x86-64 Linux, or built with AMX_FORCE_STUBS",
                remedy="Install the package on x86-64 Linux; products run here without it",
                operation=operation,
            )

    def _check(self, result: int, operation: str) -> None:
        self._require_layer(operation)
        if result != 0:
            raise AmxUnavailableError(
                f"{operation} failed",
                cause=os.strerror(-result),
                remedy="If this process runs in a sandbox, look at what its filter forbids",
                operation=operation,
                errno=-result,
            )


def _launched() -> str:
    """What `amx emulate` says to the programs it runs: by the preloaded library, or as their tracer."""
    cpu = os.environ.get("AMX_EMULATE_CPU", "a CPU")
    if lib.amx_is_launched():
        return f"{cpu}, by amx emulate"
    return f"{cpu}, by amx emulate --ptrace" if _traced() and lib.amx_is_traced() else ""


def _traced() -> bool:
    try:
        with open("/proc/thread-self/status", encoding="utf-8", errors="replace") as lines:
            return any(line.startswith("TracerPid:") and int(line.partition(":")[2]) for line in lines)
    except OSError:
        return False


@functools.cache  # it costs an exit to the hypervisor each time, and what is asked here does not change
def _cpuid(leaf: int, subleaf: int) -> Registers:
    registers = ffi.new("uint32_t[4]")
    lib.amx_cpuid(leaf, subleaf, registers)
    return Registers(*registers)


def _probe(c: object, *, timed_out: bool = False) -> Probe:
    fields = {
        name: int(getattr(c, name)) for name in ("signal", "code", "result", "confirmed", "address", "value")
    }
    return Probe(step=Step(getattr(c, "step")), timed_out=timed_out, **fields)  # noqa: B009


_current: Machine = Real()


def current() -> Machine:
    """The machine that all judgement is about: the real one, unless `use` has put another in its place."""
    return _current


def put(machine: Machine) -> Machine:
    """Put `machine` in the place of another, which is given back."""
    global _current
    previous, _current = _current, machine
    return previous


@contextlib.contextmanager
def use(machine: Machine) -> Iterator[Machine]:
    """Put `machine` in the place of the real one, for all threads, while the context is open. For tests."""
    previous = put(machine)
    try:
        yield machine
    finally:
        put(previous)
