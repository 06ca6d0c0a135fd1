"""LIFE: the life of the buffer that holds tile data."""

from __future__ import annotations

import signal
import statistics

from amx.conformance.check import Judge, KnownBug, Need, check
from amx.conformance.checks.frames import ENDED
from amx.conformance.show import result

LIVE = (Need.AMX, Need.REAL_FRAMES)


@check(
    "LIFE-01",
    "The kernel allocates a buffer at a thread's first touch, for no other thread, and frees it at its end.",
    authority="arch/x86/kernel/fpu/xstate.c: __xfd_enable_feature(), fpstate_realloc(), fpstate_free();"
    " LKML 30 August 2021, allocation on first use against Borislav Petkov's allocation up front",
    since="5.16",
    needs=(Need.AMX, Need.FRAMES, Need.ROOT, Need.ALONE),
    depends=("PERM-02",),
    timeout=20.0,
)
def _buffers(seen: Judge) -> None:
    seen.equal("buffers of threads that touched no tile", seen["untouched"], 0)
    seen.equal("buffers of threads that did", seen["touched"], seen["threads"])
    seen.equal("buffers left when the threads have ended", seen["joined"], 0)
    seen.equal("buffers left when the children are reaped", seen["reaped"], 0)
    if seen["attempts"] > 1:
        seen.note(f"counted {seen['attempts']} times: the count of the whole system moved meanwhile")
    seen.note(f"{seen['zombies']} buffers of {seen['children']} children that are dead and not reaped")


@check(
    "LIFE-03",
    "Live tiles survive their CPU going offline and coming back.",
    authority="arch/x86/kernel/fpu/core.c and xstate.h: the per-CPU copy of XFD; CVE-2024-35801",
    since="5.16",
    needs=(*LIVE, Need.ROOT, Need.ALONE, Need.OPT_IN),
    depends=("PERM-02",),
    bugs=(
        KnownBug(
            "CVE-2024-35801: XFD's per-CPU copy is stale after hotplug; this check may crash such a kernel",
            "6.9, 6.8.3, 6.7.12, 6.6.24, 6.1.84",
        ),
    ),
    timeout=30.0,
)
def _hotplug(seen: Judge) -> None:
    seen.equal("taking the CPU offline", seen["offline"], 0, result)
    seen.equal("bringing it back", seen["online"], 0, result)
    seen.equal("returning to it", seen["returned"], 0)
    seen.equal("bytes lost while it was offline", seen["offline_lost"], 0)
    seen.equal("bytes lost when it was back", seen["online_lost"], 0)


@check(
    "LIFE-04",
    "A signal with live tiles takes no more of a thread's stack than AT_MINSIGSTKSZ, and arrives where there"
    " is as much.",
    authority="arch/x86/kernel/signal.c: get_sigframe(), init_sigframe_size()",
    since="5.16",
    needs=(*LIVE, Need.OPT_IN),
    depends=("SIG-03", "DISC-08"),
)
def _small_stack(seen: Judge) -> None:
    red_zone, magic2, ucontext_and_siginfo = 128, 4, 440  # psABI; arch/x86/include/asm/sigframe.h
    most = red_zone + seen["minsigstksz"]
    least = red_zone + seen["xsave"] + magic2 + ucontext_and_siginfo
    taken, enough = seen["taken"], seen["enough"]
    frame = f"{least} to {most}"  # by where it has to be aligned
    seen.true("bytes taken by the frame and the red zone", least <= taken <= most, taken, frame)
    # How much of a stack is left to a thread is libc's doing, not the kernel's.
    for stack in ("exact", "small"):
        seen.equal(f"{stack} stack: hung", bool(seen[f"{stack}.hung"]), False)
        if seen[f"{stack}.hung"]:
            continue
        ended = seen[f"{stack}.ending"]
        if f"{stack}.room" not in seen:
            seen.equal(f"{stack} stack: the process's end, before the signal", ended, ENDED)
            continue
        room = seen[f"{stack}.room"]
        left = f"{room} of {seen[f'{stack}.stack']} bytes left"
        if room >= enough:
            seen.equal(f"{stack} stack, {left}: the process's end", ended, ENDED)
            handled = seen.all(f"{stack}.handled")
            seen.equal(f"{stack} stack, {left}: the handler ran, with tile data in its frame", handled, [1])
        elif room < least:
            signals = ended.get("signal"), int(signal.SIGSEGV)
            seen.equal(f"{stack} stack, {left}: the signal that ends the process", *signals)
        else:
            seen.note(f"a frame of {frame} bytes may or may not fit on the {stack} stack: libc has {left}")
        if stack == "exact":
            seen.true("exact stack: bytes left", room >= enough, room, f"{enough} or more")


@check(
    "LIFE-05",
    "The first tile instruction of a thread costs a trap and an allocation, later ones nothing of the kind.",
    authority="arch/x86/kernel/traps.c: handle_xfd_event()",
    since="5.16",
    needs=(Need.AMX, Need.REAL_FRAMES, Need.OPT_IN),
    depends=("PERM-02",),
    information=True,
)
def _cost(seen: Judge) -> None:
    first, then = seen["first_ns"], seen["then_ns"]
    seen.note(
        f"first tile instruction of a thread: {min(first) / 1000:.1f} us at least,"
        f" {statistics.median(first) / 1000:.1f} us median, {max(first) / 1000:.1f} us at most"
    )
    seen.note(f"later ones: {statistics.median(then):.0f} ns")
