"""How observations read in a report: errno and signal names, masks."""

from __future__ import annotations

import signal
from typing import Any

from amx import errors
from amx.errors import errno_name

__all__ = ["XTILECFG", "XTILEDATA", "ending", "fault", "result", "signal_name"]

XTILECFG = 1 << 17
XTILEDATA = 1 << 18

_CODES = {
    (signal.SIGILL, 1): "ILL_ILLOPC",
    (signal.SIGILL, 2): "ILL_ILLOPN",
    (signal.SIGSEGV, 1): "SEGV_MAPERR",
    (signal.SIGSEGV, 2): "SEGV_ACCERR",
    (signal.SIGSEGV, 128): "SI_KERNEL",
    (signal.SIGSYS, 1): "SYS_SECCOMP",
}


def result(value: int) -> str:
    """Of a system call: the value, or the name of the errno."""
    return str(value) if value >= 0 else f"-{errno_name(-value)}"


def signal_name(number: int) -> str:
    """Of a signal; 0 is none."""
    return errors.signal_name(number) if number else "no signal"


def fault(seen: Any) -> str:
    """Of a caught signal: its name and code; or what was seen instead of one."""
    if not isinstance(seen, dict):
        return str(seen)
    code = _CODES.get((seen["signal"], seen["code"]), f"code {seen['code']}")
    return f"{signal_name(seen['signal'])} {code}"


def ending(seen: dict[str, int]) -> str:
    """Of a child: its signal or exit status."""
    return signal_name(seen["signal"]) if "signal" in seen else f"exit {seen['exit']}"
