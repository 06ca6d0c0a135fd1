"""SRET: what sigreturn takes from a frame."""

from __future__ import annotations

import signal

from amx.conformance.check import Judge, KnownBug, Need, check
from amx.conformance.checks.frames import TILES
from amx.conformance.show import XTILECFG, XTILEDATA, ending, signal_name

LIVE = (Need.AMX, Need.FRAMES)
RESTORE = "arch/x86/kernel/fpu/signal.c: __fpu_restore_sig(), restore_fpregs_from_user()"
SIZES_IGNORED = KnownBug(
    "sizes in frames are ignored and the second magic number is looked for behind the task's whole state, so"
    " that smaller frames lose everything but x87 and SSE (dc8aa31a7ac2 in 6.14, which broke CRIU and gVisor;"
    " reverted by 44eeff9bc467)",
    "7.1, 6.18.35",
    introduced="6.14",
)
SIGILL, SIGSEGV, SI_KERNEL = signal.SIGILL.value, signal.SIGSEGV.value, 128


@check(
    "SRET-01",
    "Tile data that a handler writes into its frame is live afterwards.",
    authority=RESTORE,
    since="5.16",
    needs=LIVE,
    depends=("SIG-03",),
    covers=("K23",),
)
def _edited(seen: Judge) -> None:
    seen.equal("bytes that differ from the edit", seen["differs_from_edit"], 0)
    seen.true(
        "bytes that differ from what was interrupted",
        seen["differs_from_original"] > 0,
        seen["differs_from_original"],
        "more than 0",
    )


@check(
    "SRET-02",
    "Clearing the bits of tile state in XSTATE_BV or xfeatures brings the initial state.",
    authority=f"{RESTORE}: what is not in the frame gets its initial state",
    since="5.16",
    needs=LIVE,
    depends=("SIG-03",),
)
def _cleared(seen: Judge) -> None:
    for variant in ("xstate_bv_18", "sw_xfeatures_18"):
        seen.equal(f"{variant}: XINUSE of the tile state", seen[f"{variant}.xinuse"], XTILECFG, hex)
        seen.equal(
            f"{variant}: bytes not of the kept configuration and zero data",
            seen[f"{variant}.differs_from_init_data"],
            0,
        )
    seen.equal("xstate_bv_17_18: XINUSE of the tile state", seen["xstate_bv_17_18.xinuse"], 0, hex)
    seen.equal("xstate_bv_17_18: bytes of a configuration", seen["xstate_bv_17_18.config_nonzero"], 0)


def _expect_initial(seen: Judge, variant: str) -> None:
    seen.equal(f"{variant}: bytes that are not zero of AVX's upper halves", seen[f"{variant}.avx_nonzero"], 0)
    if seen["tiles"]:
        seen.equal(f"{variant}: XINUSE of the tile state", seen[f"{variant}.xinuse"], 0, hex)
        seen.equal(f"{variant}: bytes of a configuration", seen[f"{variant}.config_nonzero"], 0)


def _expect_unedited(seen: Judge) -> None:
    """An unedited frame keeps what the edited ones lose, or their loss would say nothing."""
    seen.equal("unedited: signal", seen["unedited.signal"], 0, signal_name)
    seen.equal("unedited: bytes kept of AVX's upper halves", seen["unedited.avx_kept"], seen["avx"])
    if seen["tiles"]:
        seen.equal("unedited: XINUSE of the tile state", seen["unedited.xinuse"], TILES, hex)
    seen.equal("frames without extended state", seen["frames_without_state"], 0)


@check(
    "SRET-03",
    "A frame with a wrong magic number or size restores x87 and SSE alone, without a signal; all else gets"
    " its initial state.",
    authority="arch/x86/kernel/fpu/signal.c: check_xstate_in_sigframe(), its label setfx",
    since="always",
    needs={Need.ONE_MACHINE},
    bugs=(SIZES_IGNORED,),
)
def _fx_only(seen: Judge) -> None:
    _expect_unedited(seen)
    for variant in ("magic1", "magic2", "larger_xstate_size", "tiny_xstate_size", "short_extended_size"):
        seen.equal(f"{variant}: signal", seen[f"{variant}.signal"], 0, signal_name)
        _expect_initial(seen, variant)


@check(
    "SRET-04",
    "A frame whose XSAVE header is invalid ends in SIGSEGV with the initial state, which can be survived.",
    authority=f"{RESTORE}; SDM vol. 1, 13.8.1: XRSTOR of such a header is #GP; the kernel selftest"
    " corrupt_xstate_header",
    since="always",
    needs={Need.ONE_MACHINE},
)
def _bad_header(seen: Judge) -> None:
    _expect_unedited(seen)
    variants = ("reserved", "xcomp_bv", "unknown_bit")
    for variant in variants:
        seen.equal(f"{variant}: signal", seen[f"{variant}.signal"], SIGSEGV, signal_name)
        _expect_initial(seen, variant)
    caught = seen.all("caught")
    seen.equal("SIGSEGVs caught", len(caught), len(variants))
    for info, avx, tiles in zip(caught, seen.all("caught_avx"), seen.all("caught_tiles"), strict=True):
        seen.equal("si_code (SI_KERNEL)", info["code"], SI_KERNEL)
        seen.equal("bytes of AVX's upper halves in the frame of the SIGSEGV", avx, 0)
        seen.equal("tile state in the frame of the SIGSEGV", tiles, 0, hex)
    seen.equal("the process lives on", seen["survived"], 1)


@check(
    "SRET-05",
    "A bit of tile data in a frame without room for it is ignored: no data, no buffer, no permission; and"
    " tiles first touched in a handler are initial after it.",
    authority=f"{RESTORE}, by the task's own user_xfeatures",
    since="5.16",
    needs=LIVE,
    depends=("SIG-02", "FAULT-02"),
    bugs=(SIZES_IGNORED,),
)
def _claimed(seen: Judge) -> None:
    seen.equal("permission before", seen["permission"] & XTILEDATA, 0, hex)
    permissions = {
        "unpermitted": seen["permission"],
        "untouched": seen["granted"],
        "inside": seen["granted"],
    }
    for variant, permission in permissions.items():
        seen.equal(f"{variant}: permission", seen[f"{variant}.permission"], permission, hex)
        seen.equal(f"{variant}: XINUSE of the tile state", seen[f"{variant}.xinuse"], XTILECFG, hex)
        seen.equal(f"{variant}: bytes lost of the configuration", seen[f"{variant}.config_lost"], 0)
    seen.equal("unpermitted: a tile touched afterwards", seen["unpermitted.touch"], SIGILL, signal_name)
    for size in seen.all("edited_size"):
        seen.equal("xstate_size of the frame", size, seen["small"])
    seen.equal("inside: bytes lost of the handler's own tiles", seen["inside_lost"], 0)


@check(
    "SRET-06",
    "A frame whose tile data is not mapped ends in SIGSEGV at once, also when xstate_size hides it.",
    authority="arch/x86/kernel/fpu/signal.c: restore_fpregs_from_user(), fault_in_readable() of the whole"
    " state; CVE-2024-26603",
    since="5.16",
    needs=(*LIVE, Need.REAL_FRAMES),
    depends=("SIG-03",),
    bugs=(
        KnownBug(
            "CVE-2024-26603: sigreturn faults for ever, in the kernel, where not even SIGKILL ends it",
            "6.8, 6.7.6, 6.6.18, 6.1.79",
            introduced="5.14",
        ),
    ),
    timeout=20.0,
)
def _unmapped(seen: Judge) -> None:
    for variant in ("unmapped", "unmapped_shrunken"):
        seen.equal(f"{variant}: the handler came to its end", seen[f"{variant}.reached"], 1)
        seen.equal(f"{variant}: hung for a second", bool(seen[f"{variant}.hung"]), False)
        if not seen[f"{variant}.hung"]:
            seen.equal(f"{variant}: the process's end", ending(seen[f"{variant}.ending"]), "SIGSEGV")


@check(
    "SRET-07",
    "An invalid tile configuration in a frame, or in the operand of XRSTOR, is no fault: there is none then.",
    authority="SDM vol. 1, chapter 13, on the AMX state: XRSTOR initialises an XTILECFG that LDTILECFG would"
    " refuse",
    since="5.16",
    needs=LIVE,
    depends=("SIG-03",),
)
def _bad_config(seen: Judge) -> None:
    seen.equal("sigreturn: XINUSE of the tile state", seen["sigreturn.xinuse"], XTILEDATA, hex)
    seen.equal("sigreturn: bytes of a configuration", seen["sigreturn.config_nonzero"], 0)
    seen.equal("XRSTOR: XINUSE of the configuration", seen["xrstor.xinuse"] & XTILECFG, 0, hex)
    seen.equal("XRSTOR: bytes of a configuration", seen["xrstor.config_nonzero"], 0)
