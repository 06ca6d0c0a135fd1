"""FAULT: faults of tile instructions."""

from __future__ import annotations

import signal
from typing import Any

from amx.conformance.check import Judge, Need, check
from amx.conformance.show import XTILECFG, XTILEDATA, ending, fault, result

_NM = "arch/x86/kernel/traps.c, handle_xfd_event()"
_UD = "Intel SDM vol. 2, exceptions of AMX instructions"

_ILL_ILLOPC = {"signal": int(signal.SIGILL), "code": 1}
_ILL_ILLOPN = {"signal": int(signal.SIGILL), "code": 2}
_SI_KERNEL = {"signal": int(signal.SIGSEGV), "code": 128}
_NONE = "no signal"
_DATA_INSNS = ("tilezero", "tileloadd", "tilestored", "tdpbssd", "xrstor")


def _kind(observed: Any) -> Any:
    """The signal and its code, without the addresses."""
    return {name: observed[name] for name in ("signal", "code")} if isinstance(observed, dict) else observed


def _raised(seen: Judge, what: str, expected: dict[str, int], key: str = "") -> None:
    seen.equal(what, _kind(seen[key or what]), expected, fault)


def _at(seen: Judge, what: str, key: str, address: str) -> None:
    observed = seen[key]
    if isinstance(observed, dict):
        seen.equal(f"{what}: si_addr", observed["address"], seen[address], hex)
        seen.equal(f"{what}: RIP in the frame", observed["ip"], seen[address], hex)


def _leaves_out_xrstor(seen: Judge) -> bool:
    """Under `amx emulate`, which does not model it."""
    left_out = seen.all("left out") == ["xrstor"]
    if left_out:
        seen.note("XRSTOR was left out: the emulator does not model it")
    return left_out


@check(
    "FAULT-01",
    "Without permission an instruction on tile data raises SIGILL, ILL_ILLOPC, at its address.",
    authority=_NM,
    since="5.16",
    needs={Need.TILES, Need.KERNEL_TILES},
    depends=("PERM-01", "FAULT-02"),
    covers=("K01", "K02"),
)
def _(seen: Judge) -> None:
    seen.equal("tile data permitted", seen["permission"] & XTILEDATA, 0, hex)
    without_xrstor = _leaves_out_xrstor(seen)
    for name in _DATA_INSNS[:-1] if without_xrstor else _DATA_INSNS:
        _raised(seen, name, _ILL_ILLOPC)
        _at(seen, name, name, f"{name} at")


@check(
    "FAULT-02",
    "Instructions on the configuration need no permission, nor does XRSTOR of initial tile data.",
    authority="Intel SDM vol. 1, 13.14: XFD covers XTILEDATA alone; "
    "arch/x86/kernel/fpu/xstate.c: XTILECFG is a default feature",
    since="5.16",
    needs={Need.TILES},
    depends=("PERM-01",),
)
def _(seen: Judge) -> None:
    tiles = XTILECFG | XTILEDATA
    seen.equal("signal at LDTILECFG", seen["ldtilecfg"], 0)
    seen.equal("XINUSE[18:17] after it", seen["xinuse after ldtilecfg"] & tiles, XTILECFG, hex)
    seen.equal("STTILECFG stores what was loaded", seen["same configuration"], 1)
    seen.equal("signal at XRSTOR of initial tile data", seen["xrstor of initial data"], 0)
    seen.equal("XINUSE[18:17] after TILERELEASE", seen["xinuse after tilerelease"] & tiles, 0, hex)
    seen.equal("tile data permitted meanwhile", seen["permission"] & XTILEDATA, 0, hex)


@check(
    "FAULT-03",
    "A load that faults for lack of permission changes nothing.",
    authority="#NM is a fault (Intel SDM vol. 1, 13.14)",
    since="5.16",
    needs={Need.TILES, Need.KERNEL_TILES, Need.FRAMES},
    depends=("FAULT-01",),
)
def _(seen: Judge) -> None:
    seen.equal("signals at XRSTOR of both components", seen["signals"], 1)
    seen.equal("XINUSE[18:17] before", seen["xinuse before"], XTILECFG, hex)
    seen.equal(
        "XINUSE[18:17] after the skipped instruction", seen["xinuse after"], seen["xinuse before"], hex
    )
    seen.equal("the configuration is the one from before", seen["same configuration"], 1)


@check(
    "FAULT-04",
    "The SIGILL of a missing permission cannot be blocked or ignored, and one thread's kills the process.",
    authority="kernel/signal.c, force_sig_info_to_task()",
    since="5.16",
    needs={Need.TILES, Need.KERNEL_TILES},
    depends=("FAULT-01",),
)
def _(seen: Judge) -> None:
    for how in ("default", "blocked", "ignored", "in a thread"):
        observed = {name: value for name, value in seen[how].items() if name != "core"}
        seen.equal(f"a child with SIGILL {how} ended", observed, {"signal": int(signal.SIGILL)}, ending)


@check(
    "FAULT-05",
    "Missing and bad configurations differ from a missing permission.",
    authority=f"{_UD}; arch/x86/kernel/traps.c: #UD is ILL_ILLOPN, #GP SI_KERNEL",
    since="5.16",
    needs={Need.AMX},
    depends=("PERM-02", "FAULT-02"),
)
def _(seen: Judge) -> None:
    _raised(
        seen, "TILEZERO without configuration and permission", _ILL_ILLOPN, "no configuration, no permission"
    )
    for key, address in (
        ("no configuration", "tilezero at"),
        ("colsb no multiple of 4, load", "tileloadd at"),
        ("start_row beyond rows, load", "tileloadd at"),
        ("start_row beyond rows, store", "tilestored at"),
    ):
        _raised(seen, key, _ILL_ILLOPN)
        seen.equal(f"{key}: si_addr", _address(seen[key]), seen[address], hex)
    for name, observed in seen.observations:
        if name.startswith("bad: "):
            seen.equal(f"LDTILECFG, {name.removeprefix('bad: ')}", _kind(observed), _SI_KERNEL, fault)
        elif name.startswith("accepted: "):
            seen.equal(f"LDTILECFG, {name.removeprefix('accepted: ')}", _kind(observed), _NONE, fault)
    seen.equal(
        "XINUSE[18:17] after palette 0", seen["xinuse after palette 0"] & (XTILECFG | XTILEDATA), 0, hex
    )


def _address(observed: Any) -> int:
    return int(observed["address"]) if isinstance(observed, dict) else 0


@check(
    "FAULT-06",
    "A handler of the SIGILL may ask for permission and return; the instruction then works.",
    authority=f"{_NM}: the instruction is restarted",
    since="5.16",
    needs={Need.AMX, Need.KERNEL_TILES},
    depends=("FAULT-01", "PERM-02"),
    covers=("K12",),
)
def _(seen: Judge) -> None:
    seen.equal("signals", seen["signals"], 1)
    seen.equal("the request in the handler", seen["request"], 0, result)
    seen.equal("what was loaded is what is stored", seen["same data"], 1)
    if not _leaves_out_xrstor(seen):
        seen.equal("what XRSTOR then restores is what is stored", seen["same restored data"], 1)


@check(
    "FAULT-07",
    "TILELOADD and TILESTORED go on where a page fault stopped them.",
    authority="start_row of the configuration, Intel SDM vol. 1, 18.2",
    since="5.16",
    needs={Need.AMX, Need.REAL_FRAMES},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    starts = seen.all("start_row in the frame")
    for number, (what, stored) in enumerate((("load", "loaded"), ("store", "stored"))):
        seen.equal(
            f"{what}: the signal", _kind(seen[what]), {"signal": int(signal.SIGSEGV), "code": 2}, fault
        )
        seen.equal(f"{what}: si_addr", _address(seen[what]), seen["page"], hex)
        seen.equal(f"{what}: start_row in the frame", starts[number], 8)
        seen.equal(f"{what}: start_row afterwards", seen[f"start_row after the {what}"], 0)
        seen.equal(f"{what}: the data is right", seen[stored], 1)


@check(
    "FAULT-08",
    "REG_TRAPNO of the SIGILL without permission.",
    authority=f"{_NM} sends the signal without setting thread.trap_nr",
    since="5.16",
    needs={Need.TILES, Need.REAL_FRAMES, Need.OPT_IN},
    depends=("FAULT-01",),
    information=True,
)
def _(seen: Judge) -> None:
    fresh, later = (_trapno(seen[when]) for when in ("fresh", "after a page fault"))
    seen.note(
        f"REG_TRAPNO is {fresh} in a fresh program and {later} after a page fault: it is stale, not of this "
        f"fault."
    )


def _trapno(observed: Any) -> Any:
    return observed["trapno"] if isinstance(observed, dict) else observed


@check(
    "FAULT-09",
    "First use of tile data without memory for its buffer raises SIGSEGV, SI_KERNEL.",
    authority=f"{_NM}: force_sig(SIGSEGV); that it may be so late was decided on the list (August 2021)",
    since="5.16",
    needs={Need.AMX, Need.ROOT, Need.OPT_IN, Need.REAL_FRAMES},
    depends=("PERM-02",),
)
def _(seen: Judge) -> None:
    seen.equal("at the first TILEZERO", _kind(seen["allocation failed"]), _SI_KERNEL, fault)
    observed = seen["allocation failed"]
    if isinstance(observed, dict):
        seen.equal("RIP in the frame", observed["ip"], seen["tilezero at"], hex)
