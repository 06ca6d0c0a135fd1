"""PTR: tile state through ptrace."""

from __future__ import annotations

import errno

from amx.conformance.check import Judge, KnownBug, Need, check
from amx.conformance.checks.frames import TILES
from amx.conformance.show import XTILECFG, XTILEDATA, result

LIVE = (Need.AMX, Need.FRAMES, Need.PTRACE)
REGSET = "arch/x86/kernel/fpu/regset.c: xstateregs_get(), xstateregs_set()"
STATES = ["fresh", "permitted", "configured", "touched", "released"]
VALIDATE = "arch/x86/kernel/fpu/xstate.c: validate_user_xstate_header()"


@check(
    "PTR-01",
    "NT_X86_XSTATE is as long as CPUID says, whatever the tracee's permission, and has XCR0 at byte 464.",
    authority=f"{REGSET}; copy_xstate_to_uabi_buf(): the software-reserved bytes are xstate_fx_sw_bytes",
    since="5.16",
    needs=(Need.PTRACE, Need.ONE_MACHINE),
    covers=("K16",),
)
def _length(seen: Judge) -> None:
    if not seen.exited("tracee", "the tracee"):
        return
    states = seen.all("state")
    seen.equal("states looked at", states, _states_here(seen), ", ".join)
    for state, length, sw in zip(states, seen.all("length"), seen.all("sw"), strict=True):
        seen.equal(f"{state}: length (CPUID.D.0:EBX)", length, seen["size"])
        seen.equal(f"{state}: first word of the software-reserved bytes (XCR0)", sw, seen["xcr0"], hex)


def _states_here(seen: Judge) -> list[str]:
    """All where an untraced process gets permission, else the first."""
    if not seen["granted"] and seen["xcr0"] & XTILEDATA:
        seen.note("XCR0 has tile data, and permission is refused here: see PERM-02")
    return STATES if seen["granted"] else STATES[:1]


@check(
    "PTR-02",
    "Components in their initial state read as zero.",
    authority="arch/x86/kernel/fpu/xstate.c: __copy_xstate_to_uabi_buf()",
    since="5.16",
    needs=LIVE,
    depends=("DISC-01", "PTR-01", "PERM-02"),
    covers=("K17",),
    bugs=(
        KnownBug(
            "init_fpstate claimed dynamic states and copy_xstate_to_uabi() took initial states from it"
            " (471f0aa7fa64, a401f45e3875, d3e021adac7c, c32d7cab57e3)",
            "6.1, 6.0.7",
        ),
    ),
)
def _initial(seen: Judge) -> None:
    if not seen.exited("tracee", "the tracee"):
        return
    init = dict(zip(seen.all("state"), seen.all("init"), strict=True))
    for state in ("fresh", "released"):
        seen.true(
            f"{state}: the tile state is initial", init.get(state, 0) & TILES == TILES, init, "bits 17 and 18"
        )
    for state, nonzero in zip(init, seen.all("nonzero"), strict=True):
        seen.equal(f"{state}: bytes that are not zero of initial components", nonzero, 0)


@check(
    "PTR-03",
    "Tile data that a tracer writes reads back and is live in the tracee; clearing bits brings the initial"
    " state.",
    authority=f"{REGSET}; copy_uabi_to_xstate()",
    since="5.16",
    needs=LIVE,
    depends=("PTR-01", "PERM-02"),
    covers=("K17",),
)
def _written(seen: Judge) -> None:
    if not seen.exited("tracee", "the tracee"):
        return
    seen.equal("the tracee's tiles as loaded", seen["read_differs"], 0)
    seen.equal("PTRACE_SETREGSET", seen["set"], 0, result)
    seen.equal("the written tiles read back", seen["read_back_differs"], 0)
    seen.equal("bytes that the tracee does not find as written", seen["written_lost"], 0)
    seen.equal("clearing bit 18", seen["cleared_18"], 0, result)
    seen.equal("bit 18 cleared: XINUSE of the tile state", seen["cleared_18.xinuse"], XTILECFG, hex)
    seen.equal("bit 18 cleared: bytes lost of the configuration", seen["cleared_18.config_lost"], 0)
    seen.equal("clearing bits 17 and 18", seen["cleared_17_18"], 0, result)
    seen.equal("bits 17 and 18 cleared: XINUSE of the tile state", seen["cleared_17_18.xinuse"], 0, hex)


@check(
    "PTR-04",
    "PTRACE_SETREGSET wants the whole area: less is EFAULT, no multiple of 8 EINVAL, more is clamped.",
    authority=f"{REGSET}; kernel/ptrace.c: ptrace_regset(); CRIU 2835 met the EFAULT",
    since="5.14",
    needs=(Need.PTRACE, Need.ONE_MACHINE),
)
def _lengths(seen: Judge) -> None:
    if not seen.exited("tracee", "the tracee"):
        return
    size = seen["size"]
    for length, answer, after in seen.all("set"):
        short = -errno.EFAULT if length < size else 0
        expected = -errno.EINVAL if length % 8 else short
        seen.equal(f"{length} of {size} bytes", answer, expected, result)
        if expected == 0:
            seen.equal(f"{length} of {size} bytes: iov_len afterwards", after, size)


@check(
    "PTR-05",
    "Headers with XCOMP_BV, reserved bytes, supervisor or unknown components are refused and change nothing.",
    authority=f"{VALIDATE}; Dave Hansen and Keno Fischer, LKML June 2018, on supervisor state",
    since="5.14 (before, xstateregs_set() initialised the state of a task whose new state it refused)",
    needs=(Need.PTRACE,),
)
def _headers(seen: Judge) -> None:
    if not seen.exited("tracee", "the tracee"):
        return
    seen.equal("the same state, unedited", seen["unedited"], 0, result)
    for variant in (
        "xcomp_bv_compacted",
        "xcomp_bv_bit",
        "reserved_first",
        "reserved_last",
        "supervisor_pt",
        "supervisor_cet_user",
        "foreign",
        "bit_63",
    ):
        seen.equal(variant, seen[variant], -errno.EINVAL, result)
    seen.equal("refused writes that changed the state", seen["changed"], 0)
    seen.equal("the tracee lost its registers", seen["tracee_lost"], 0)


@check(
    "PTR-06",
    "Tile data cannot be put into a task that never touched a tile, permitted or not; a configuration can.",
    authority=f"{VALIDATE} with the fpstate's user_xfeatures; expansion by the tracer, in v9 of the AMX"
    " series, was dropped",
    since="5.16",
    needs=LIVE,
    depends=("PTR-01", "PERM-02", "FAULT-02"),
)
def _expansion(seen: Judge) -> None:
    if not seen.exited("tracee", "the tracee"):
        return
    states = ("unpermitted", "permitted")
    names = ("set_18", "changed", "set_17", "xinuse", "config_lost", "permission")
    rows = zip(states, *(seen.all(name) for name in names), strict=True)
    for state, set_18, changed, set_17, xinuse, lost, permission in rows:
        seen.equal(f"{state}: setting bit 18", set_18, -errno.EINVAL, result)
        seen.equal(f"{state}: the refused write changed the state", changed, 0)
        seen.equal(f"{state}: setting bit 17", set_17, 0, result)
        seen.equal(f"{state}: XINUSE of the tile state in the tracee", xinuse, XTILECFG, hex)
        seen.equal(f"{state}: bytes lost of the configuration", lost, 0)
        granted = XTILEDATA if state == "permitted" else 0
        seen.equal(f"{state}: permission for tile data", permission & XTILEDATA, granted, hex)
