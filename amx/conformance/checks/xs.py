"""XS: the other extended components."""

from __future__ import annotations

from amx.conformance.check import Judge, Need, check
from amx.conformance.checks.frames import MAGIC1, MAGIC2
from amx.conformance.show import result

COVERS = ("K15", "K16", "K17", "K18", "K19", "K20", "K21", "K22", "K23")
AUTHORITY = (
    "arch/x86/kernel/fpu/: core.c (context switch), regset.c (ptrace), signal.c (frames); the kernel selftest"
)


def _kept(seen: Judge) -> None:
    bit = 1 << range(64).index(seen["component"])  # of a log it can be any number
    if not seen.exited("tracee", "the tracee"):
        return
    for who in ("threads", "processes"):
        seen.equal(f"{who} on one CPU: rounds", seen[f"{who}.rounds"], seen["rounds"])
        switches = seen[f"{who}.switches"]
        least = 2 * seen["switchers"]
        seen.true(f"{who} on one CPU: context switches", switches >= least, switches, f"{least} or more")
        seen.equal(f"{who} on one CPU: rounds that found registers changed", seen[f"{who}.lost"], 0)

    seen.equal("PTRACE_GETREGSET", seen["ptrace.get"], 0, result)
    seen.equal("ptrace: XCR0 at byte 464", seen["ptrace.sw"], seen["xcr0"], hex)
    seen.equal("ptrace: XSTATE_BV", seen["ptrace.xstate_bv"] & bit, bit, hex)
    seen.equal("ptrace: the registers as loaded", seen["ptrace.shown_differs"], 0)
    seen.equal("PTRACE_SETREGSET", seen["ptrace.set"], 0, result)
    seen.equal("ptrace: the written registers read back", seen["ptrace.read_back_differs"], 0)
    seen.equal("ptrace: XCR0 at byte 464 afterwards", seen["ptrace.sw_after"], seen["xcr0"], hex)
    seen.equal("ptrace: the tracee finds them as written", seen["ptrace.live_differs"], 0)

    frame = seen["frame"]
    seen.equal("frame: FP_XSTATE_MAGIC1", frame["magic1"], MAGIC1, hex)
    seen.equal("frame: xfeatures", frame["xfeatures"] & bit, bit, hex)
    seen.equal("frame: XSTATE_BV", frame["xstate_bv"] & bit, bit, hex)
    seen.equal("frame: FP_XSTATE_MAGIC2", frame["magic2"], MAGIC2, hex)
    room = "frame.shown_differs" in seen
    seen.equal("frame: room for the registers", room, True)
    if room:
        seen.equal("frame: the registers as loaded", seen["frame.shown_differs"], 0)
    seen.equal("after the handler: the registers as it wrote them", seen["frame.live_differs"], 0)


def _declare(number: int, registers: str, selftest: str, since: str) -> None:
    check(
        f"XS-{number:02}",
        f"Context switches, ptrace and signal frames keep, show and restore component {number}, {registers}.",
        authority=f"{AUTHORITY} {selftest}",
        since=since,
        needs=(Need.PTRACE,),
        covers=COVERS,
        timeout=15.0,
    )(_kept)


_declare(2, "the upper halves of YMM0-15 (AVX)", "avx.c", "always")
_declare(5, "the opmask registers (AVX-512)", "avx.c", "always")
_declare(6, "the upper halves of ZMM0-15 (AVX-512)", "avx.c", "always")
_declare(7, "ZMM16-31 (AVX-512)", "avx.c", "always")
_declare(19, "the registers r16-r31 (APX)", "apx.c", "6.16")
