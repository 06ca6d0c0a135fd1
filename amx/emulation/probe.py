"""What of this machine an emulation of AMX can use, and which ways of emulating therefore work.

Nothing is believed that can be tried: csrc/machine/means.c tries each means in a forked child. `judge` is
pure, so that what other machines would be told can be replayed.
"""

from __future__ import annotations

import enum
import errno
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from amx import cpu, permission
from amx import machine as _machine
from amx._lib import ffi, lib
from amx.causes import Cause
from amx.emulation import launcher, sde
from amx.errors import AmxUnavailableError, EmulationError, errno_name, signal_name
from amx.machine import Machine, Probe, Step

__all__ = ["Facts", "Finding", "Means", "Survey", "Vectors", "gather", "judge", "survey"]

TIMEOUT_MS = 5000
SYS_SECCOMP = 1  # si_code of what a filter raises
NO_PROC = "/proc is not mounted, or it is that of another PID namespace, so a program's code cannot be found"
MOUNT_PROC = "Mount it (unshare has --mount-proc)"
XCR0_AVX, XCR0_AVX512 = 0x6, 0xE6  # the states that the operating system must have enabled


class Means(enum.Enum):
    """What csrc/machine/means.c tries: `AMX_MEANS_*` of csrc/amx.h."""

    TILES_TRAP = lib.AMX_MEANS_TILES_TRAP
    CPUID_FAULTS = lib.AMX_MEANS_CPUID_FAULTS
    SECCOMP = lib.AMX_MEANS_SECCOMP
    PTRACE = lib.AMX_MEANS_PTRACE
    PATCHING = lib.AMX_MEANS_PATCHING
    SYNC_CORE = lib.AMX_MEANS_SYNC_CORE


class Vectors(enum.IntEnum):
    """How far the processor's vector instructions reach. The later include the earlier."""

    NONE = 0
    AVX2 = 1
    AVX512 = 2  # F, BW, DQ, VL and VNNI: what ONNX Runtime wants beside AMX
    AVX512_BF16 = 3  # and BF16 and AVX-VNNI: what oneDNN wants, but for FP16, which is announced to it


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one thing works, on what evidence, and what helps where it does not."""

    name: str
    works: bool
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found: each means' probe, and what needs none."""

    probes: Mapping[Means, Probe]
    vectors: Vectors
    announced: bool  # AMX, by CPUID
    granted: bool  # to this process
    sde: str | None
    library: Finding  # what is preloaded
    yama: str  # kernel.yama.ptrace_scope, empty without Yama


@dataclass(frozen=True, slots=True)
class Survey:
    """The means there are, and the ways of emulating that they allow."""

    means: tuple[Finding, ...]
    ways: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether a program can be emulated here at all, without Intel SDE."""
        return any(way.works for way in self.ways if way.name in OWN_WAYS)


IN_PROCESS, PRELOADED, TRACED, UNDER_SDE = (
    "amx.emulate()",
    "amx emulate",
    "amx emulate --ptrace",
    "amx emulate --sde",
)
OWN_WAYS = (IN_PROCESS, PRELOADED, TRACED)


def survey() -> Survey:
    """Look at this machine and say what works. Takes some milliseconds.

    Raises
    ------
    AmxUnavailableError: this build has no machine layer, or no child process can be made.
    EmulationError: AMX is emulated in this process.
    """
    return judge(gather())


def gather() -> Facts:
    """Try everything; raises as `survey`."""
    machine = _machine.current()
    if machine.stub:
        raise AmxUnavailableError(
            "Nothing can be emulated",
            cause=Cause.NO_MACHINE_LAYER.words,
            remedy=Cause.NO_MACHINE_LAYER.remedy,
        )
    if machine.emulated:
        raise EmulationError(
            "What this machine can emulate cannot be seen from inside",
            cause=f"AMX is emulated here: {machine.emulated}",
            remedy="Ask without emulation",
        )
    return Facts(
        probes={means: _try(means) for means in Means},
        vectors=_vectors(machine),
        announced=cpu.Feature.AMX_TILE in cpu.announced(),
        granted=permission.granted(),
        sde=sde.find(),
        library=_library(),
        yama=_yama(),
    )


def judge(facts: Facts) -> Survey:
    """What the facts mean."""
    tiles, cpuid, seccomp, ptrace, patching, sync = (
        _MEANS[means](facts, facts.probes[means]) for means in Means
    )
    avx2 = _vector_finding(
        facts, Vectors.AVX2, "AVX2", "products are computed by scalar code, ten times slower"
    )
    avx512 = _vector_finding(
        facts,
        Vectors.AVX512,
        "AVX-512",
        "libraries that ask for it beside AMX do not use AMX, and without ZMM registers dmr has no row moves",
    )
    sites = "are patched" if patching.works and sync.works else "stay trapped, since code cannot be patched"
    in_process = _way(IN_PROCESS, f"sites of tile instructions {sites}", tiles)
    answers = cpuid if cpuid.works else patching
    how = "by faulting" if cpuid.works else "where it is found in each file"
    asked = "by a filter" if seccomp.works else "in calls of libc; system calls of the program's own are not"
    preloaded = _way(PRELOADED, f"CPUID is answered {how}, arch_prctl {asked}", facts.library, tiles, answers)
    traced = _way(TRACED, "also for static programs", tiles, ptrace)
    installed = _sde(facts)
    foreign = next((way for way in (preloaded, traced) if way.works), preloaded)
    return Survey(
        means=(_amx(facts), tiles, cpuid, seccomp, ptrace, patching, sync, avx2, avx512),
        ways=(
            in_process,
            preloaded,
            traced,
            installed,
            _foreign("AMX in ONNX Runtime", facts, foreign, Vectors.AVX512, "AVX-512 with VNNI"),
            _foreign(
                "AMX in oneDNN (PyTorch)",
                facts,
                foreign,
                Vectors.AVX512_BF16,
                "AVX-512 with BF16, and AVX-VNNI",
            ),
        ),
    )


def _try(means: Means) -> Probe:
    probe = ffi.new("struct amx_probe *")
    result = lib.amx_probe_means(means.value, TIMEOUT_MS, probe)
    if result == -errno.ETIMEDOUT:
        return Probe(Step.OTHER, timed_out=True)
    if result != 0:
        raise AmxUnavailableError(
            "No child process could be made",
            cause="The system call was refused",
            remedy="If this process runs in a sandbox, look at what its filter forbids",
            operation="clone",
            errno=-result,
        )
    return Probe(Step(probe.step), signal=probe.signal, code=probe.code, result=probe.result)


def _vectors(machine: Machine) -> Vectors:
    xcr0 = machine.xgetbv(0) or 0
    if machine.cpuid(0).eax < 7 or xcr0 & XCR0_AVX != XCR0_AVX:
        return Vectors.NONE
    leaf = machine.cpuid(7, 0)
    more = machine.cpuid(7, 1) if leaf.eax >= 1 else None

    def has(register: int, *bits: int) -> bool:
        return all(register >> bit & 1 for bit in bits)

    if not has(leaf.ebx, 5):
        return Vectors.NONE
    if xcr0 & XCR0_AVX512 != XCR0_AVX512 or not (has(leaf.ebx, 16, 17, 30, 31) and has(leaf.ecx, 11)):
        return Vectors.AVX2
    if more is None or not has(more.eax, 4, 5):
        return Vectors.AVX512
    return Vectors.AVX512_BF16


def _yama() -> str:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _amx(facts: Facts) -> Finding:
    if not facts.announced:
        return Finding(
            "AMX", False, "CPUID does not announce it", "None is needed: that is what emulation is for"
        )
    if facts.granted:
        return Finding("AMX", True, "announced, and this process has permission for it")
    return Finding("AMX", True, "announced, and this process has no permission for it")


def _tiles_trap(facts: Facts, probe: Probe) -> Finding:
    name = "tile instructions trap"
    if probe.signal == signal.SIGILL:
        if probe.step is Step.TILEZERO:
            return Finding(name, True, "those on data, for want of permission; configuration executes")
        return Finding(name, True, "all of them: this processor does not know them")
    if probe.step is Step.DONE:
        return Finding(
            name,
            False,
            "they execute",
            "Start a fresh process that does not request permission; under an emulator, leave it",
        )
    return Finding(name, False, _ending(probe), "Report the evidence: nothing is known to do this")


def _cpuid_faults(facts: Facts, probe: Probe) -> Finding:
    name = "CPUID faulting"
    if probe.signal == signal.SIGSEGV:
        return Finding(name, True, "CPUID raised SIGSEGV after ARCH_SET_CPUID")
    remedy = "None is needed: CPUID instructions are found in each file and patched"
    if probe.result != 0:
        return Finding(name, False, f"ARCH_SET_CPUID: {_errno(probe)}", remedy)
    if probe.step is Step.DONE:
        return Finding(name, False, "ARCH_SET_CPUID succeeded and CPUID did not fault", remedy)
    return Finding(name, False, _ending(probe), remedy)


def _seccomp(facts: Facts, probe: Probe) -> Finding:
    name = "seccomp filters"
    if probe.signal == signal.SIGSYS and probe.code == SYS_SECCOMP:
        return Finding(name, True, "SECCOMP_RET_TRAP raised SIGSYS, without privileges")
    reason = f"installing one: {_errno(probe)}" if probe.result else _ending(probe)
    return Finding(name, False, reason, "Use --ptrace for programs that make the system call themselves")


def _ptrace(facts: Facts, probe: Probe) -> Finding:
    name = "ptrace"
    if probe.step is Step.DONE and probe.result == 0:
        yama = f" (kernel.yama.ptrace_scope is {facts.yama})" if facts.yama else ""
        return Finding(name, True, f"a child was stopped and read{yama}")
    if probe.result == -errno.ENXIO:
        return Finding(name, False, NO_PROC, MOUNT_PROC)
    if facts.yama in ("2", "3"):
        remedy = f"kernel.yama.ptrace_scope is {facts.yama}: as root, write 1 to it (3 lasts until reboot)"
    else:
        remedy = (
            "In a container, start it with --cap-add=SYS_PTRACE; leave --ptrace away where preloading works"
        )
    return Finding(name, False, _errno(probe) if probe.result else _ending(probe), remedy)


def _patching(facts: Facts, probe: Probe) -> Finding:
    name = "patching code"
    if probe.step is Step.DONE and probe.result == 0:
        return Finding(name, True, "an instruction of this package was replaced and executed")
    reason = _errno(probe) if probe.result else _ending(probe)
    return Finding(
        name, False, reason, "Allow execmod in SELinux, or boot without proc_mem.force_override=never"
    )


def _sync_core(facts: Facts, probe: Probe) -> Finding:
    name = "membarrier SYNC_CORE"
    if probe.step is Step.DONE and probe.result == 0:
        return Finding(name, True, "other threads notice patched code at once")
    reason = _errno(probe) if probe.result else _ending(probe)
    return Finding(name, False, reason, "Use Linux 4.16 or newer; sites stay trapped without it")


_MEANS = {
    Means.TILES_TRAP: _tiles_trap,
    Means.CPUID_FAULTS: _cpuid_faults,
    Means.SECCOMP: _seccomp,
    Means.PTRACE: _ptrace,
    Means.PATCHING: _patching,
    Means.SYNC_CORE: _sync_core,
}


def _vector_finding(facts: Facts, wanted: Vectors, name: str, otherwise: str) -> Finding:
    if facts.vectors >= wanted:
        return Finding(name, True, "announced and enabled")
    return Finding(name, False, f"not there: {otherwise}", "Use another processor; results are the same bits")


def _way(name: str, how: str, *needed: Finding) -> Finding:
    for finding in needed:
        if not finding.works:
            return Finding(name, False, f"needs {finding.name}: {finding.reason}", finding.remedy)
    return Finding(name, True, how)


def _library() -> Finding:
    try:
        return Finding("preloading", True, launcher.library())
    except EmulationError as error:
        return Finding("preloading", False, f"{error.what}. {error.cause}", error.remedy)


def _sde(facts: Facts) -> Finding:
    if facts.sde:
        return Finding(UNDER_SDE, True, f"installed: {facts.sde}")
    return Finding(UNDER_SDE, False, "not installed", f"Unpack Intel SDE and set {sde.HOME} to its directory")


def _foreign(name: str, facts: Facts, way: Finding, needed: Vectors, words: str) -> Finding:
    if not way.works:
        return Finding(name, False, f"needs {way.name}: {way.reason}", way.remedy)
    if facts.vectors < needed:
        return Finding(
            name,
            False,
            f"it wants {words} beside AMX, which this processor lacks and nothing here emulates",
            "Use a processor that has it, or Intel SDE",
        )
    return Finding(name, True, f"by {way.name}; {words} is there")


def _errno(probe: Probe) -> str:
    return errno_name(-probe.result)


def _ending(probe: Probe) -> str:
    if probe.timed_out:
        return "the child that tried it hung"
    if probe.signal:
        return f"the child that tried it ended with {signal_name(probe.signal)}"
    return "it had no effect"
