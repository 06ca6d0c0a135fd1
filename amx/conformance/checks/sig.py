"""SIG: the signal frame."""

from __future__ import annotations

from amx.conformance.check import Judge, KnownBug, Need, check
from amx.conformance.checks.frames import TILES, expect_frame
from amx.conformance.show import XTILECFG, XTILEDATA

LIVE = (Need.AMX, Need.FRAMES)
FRAME = "arch/x86/kernel/fpu/signal.c: copy_fpstate_to_sigframe(), save_xstate_epilog()"


@check(
    "SIG-01",
    "Without permission a signal frame has no room and no bit for tile data.",
    authority=f"{FRAME}; Len Brown, LKML 25 May 2021: no 8 KiB on the signal stack without permission",
    since="5.16",
    needs={Need.ONE_MACHINE},
    covers=("K03", "K04", "K18", "K22"),
    depends=("DISC-01",),
)
def _unpermitted(seen: Judge) -> None:
    frame = seen["frame"]
    expect_frame(seen, "frame", frame, size=seen["small"], features=seen["supported"] & ~XTILEDATA)
    seen.equal("frame: XSTATE_BV of tile data", frame["xstate_bv"] & XTILEDATA, 0, hex)


@check(
    "SIG-02",
    "Permission alone does not enlarge the frame: it grows at a thread's first use of tile data.",
    authority=f"{FRAME}, by the size of the task's own fpstate; changed against the proposal of 25 May 2021",
    since="5.16",
    needs=LIVE,
    depends=("DISC-01", "PERM-02"),
)
def _untouched(seen: Judge) -> None:
    frame = seen["frame"]
    expect_frame(seen, "frame", frame, size=seen["small"], features=seen["supported"] & ~XTILEDATA)
    seen.equal("frame: XSTATE_BV of the tile state", frame["xstate_bv"] & TILES, XTILECFG, hex)


@check(
    "SIG-03",
    "With live tiles the frame has their configuration and data, at the offsets that CPUID gives.",
    authority=f"{FRAME}; CPUID leaf 0xD, SDM vol. 1, 13.4",
    since="5.16",
    needs=LIVE,
    depends=("DISC-01", "PERM-02"),
    covers=("K19", "K20", "K21"),
)
def _live(seen: Judge) -> None:
    frame = seen["frame"]
    expect_frame(seen, "frame", frame, size=seen["big"], features=seen["supported"])
    seen.equal("frame: XSTATE_BV of the tile state", frame["xstate_bv"] & TILES, TILES, hex)
    room = "tmm0_differs" in seen
    seen.equal("frame: room for tile data", room, True)
    if room:
        seen.equal("bytes of the configuration that differ", seen["config_differs"], 0)
        seen.equal("bytes of TMM0 that differ", seen["tmm0_differs"], 0)
        seen.equal("zero bytes of TMM1-7, which were not loaded", seen["tmm1_7_zero"], seen["tmm1_7"])


@check(
    "SIG-04",
    "After TILERELEASE the frame keeps its size, has no bit of tile state, and nothing is written there.",
    authority="arch/x86/kernel/fpu/xstate.h: xsave_to_user_sigframe(), XFEATURE_MASK_SIGFRAME_INITOPT",
    since="5.16",
    needs=LIVE,
    depends=("SIG-03",),
    documented="Documentation/arch/x86/xstate.rst has dynamic components alone left out when in their initial"
    " state; the kernel leaves out XTILECFG as well, which is not dynamic",
)
def _released(seen: Judge) -> None:
    frame = seen["frame"]
    expect_frame(seen, "frame", frame, size=seen["big"], features=seen["supported"])
    seen.equal("frame: XSTATE_BV of the tile state", frame["xstate_bv"] & TILES, 0, hex)
    if "unwritten" not in seen:
        seen.true("frame: room for the tile state", False, "none", "room")
        return
    untouched, zero, total = seen["unwritten"], seen["zero"], seen["total"]
    seen.true(
        "bytes of the tile state in the frame",
        untouched == total or zero == total,
        f"{untouched} as they were, {zero} zero, of {total}",
        f"{total} as they were (or all zero)",
    )
    if zero == total:
        seen.note("this kernel writes zeros where others leave what was on the stack")


@check(
    "SIG-05",
    "A child or new thread of a process with live tiles starts with a small frame.",
    authority="arch/x86/kernel/fpu/core.c: fpu_clone()",
    since="5.16",
    needs=LIVE,
    depends=("SIG-03", "INH-03", "INH-04"),
)
def _inherited(seen: Judge) -> None:
    if not seen.exited("child_ending", "the child"):
        return
    features = seen["supported"]
    expect_frame(seen, "the process itself", seen["touched"], size=seen["big"], features=features)
    for who in ("child", "thread"):
        expect_frame(seen, who, seen[who], size=seen["small"], features=features & ~XTILEDATA)
        seen.equal(f"{who}: XSTATE_BV of tile data", seen[who]["xstate_bv"] & XTILEDATA, 0, hex)


@check(
    "SIG-06",
    "A handler starts with the tile state in its initial configuration, may use tiles, may be interrupted"
    " itself, and what it interrupted comes back.",
    authority="arch/x86/kernel/fpu/core.c: fpu__clear_user_states(); kernel/fpu/signal.c: fpu__restore_sig()",
    since="5.16",
    needs=LIVE,
    depends=("PERM-02",),
)
def _nested(seen: Judge) -> None:
    for who in ("handler", "nested"):
        seen.equal(f"{who}: XINUSE of the tile state at its start", seen[f"{who}_xinuse"], 0, hex)
        seen.equal(f"{who}: bytes of a configuration at its start", seen[f"{who}_config"], 0)
    seen.equal("nested handler: bytes lost of its own tiles", seen["nested_lost"], 0)
    seen.equal("handler: bytes lost to the nested one", seen["handler_lost"], 0)
    seen.equal("interrupted code: bytes lost to the handlers", seen["main_lost"], 0)


@check(
    "SIG-07",
    "Asynchronous signals whose handler uses another configuration never disturb the tiles they interrupt.",
    authority="arch/x86/kernel/fpu/signal.c: copy_fpstate_to_sigframe(), fpu__restore_sig()",
    since="5.16",
    needs=(*LIVE, Need.ALONE),  # reads the system's log
    depends=("PERM-02",),
    bugs=(
        KnownBug(
            "XFD was not in step with the task at signal delivery: a warning of the FPU code, in kernels with"
            " X86_DEBUG_FPU, when a task without tiles is signalled behind one with tiles",
            "6.18, 6.12.58, 6.1.159",
        ),
    ),
    timeout=20.0,
)
def _storm(seen: Judge) -> None:
    seen.true("signals taken in the second", seen["deliveries"] > 0, seen["deliveries"], "some")
    seen.true("checks made in the second", seen["checks"] > 0, seen["checks"], "some")
    seen.equal("checks that found tiles changed", seen["main_lost"], 0)
    seen.equal("handlers that found their own tiles changed", seen["handler_lost"], 0)
    if "fpu_warnings" in seen:
        seen.equal("warnings of the FPU code in the kernel's log", seen["fpu_warnings"], 0)
    else:
        seen.note("the kernel's log may not be read here, so warnings would not be noticed")


@check(
    "SIG-08",
    "Frames have the standard format, are aligned to 64 bytes and say so by UC_FP_XSTATE.",
    authority=f"{FRAME}; asm/fpu/xstate.h: XSAVE to user space is never compacted; Dave Hansen and Keno"
    " Fischer, LKML June 2018, on in-memory layouts",
    since="always",
)
def _format(seen: Judge) -> None:
    frames = seen.all("frame")
    seen.true("frames looked at", len(frames) > 0, len(frames), "one, two where tiles may be used")
    for frame in frames:
        seen.equal("XCOMP_BV", frame["xcomp_bv"], 0, hex)
        seen.equal("aligned to 64 bytes", frame["aligned"], 1)
        seen.equal("UC_FP_XSTATE in uc_flags", frame["uc_fp_xstate"], 1)
