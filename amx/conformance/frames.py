"""What several groups expect of signal frames, register sets and errno values."""

from __future__ import annotations

import errno
import signal
from typing import Any

from amx.conformance.check import Judge

__all__ = [
    "DIED",
    "ENDED",
    "MAGIC1",
    "MAGIC2",
    "TILECFG",
    "TILEDATA",
    "TILES",
    "error",
    "expect_frame",
    "names",
]

MAGIC1, MAGIC2 = 0x46505853, 0x46505845  # FP_XSTATE_MAGIC1 and 2, uapi/asm/sigcontext.h
TILECFG, TILEDATA = 1 << 17, 1 << 18  # XFEATURE_MASK_XTILE_CFG and _DATA, asm/fpu/types.h
TILES = TILECFG | TILEDATA
ENDED = {"exit": 0}
DIED = {"signal": signal.SIGSEGV.value, "core": False}


def error(value: int) -> str:
    """A system call's result as kernel code writes it: 0, or -EFAULT."""
    return f"-{errno.errorcode.get(-value, -value)}" if value < 0 else str(value)


def names(value: int) -> str:
    """A signal number by name; 0 is none."""
    return signal.Signals(value).name if value else "no signal"


def expect_frame(seen: Judge, who: str, frame: dict[str, Any], *, size: int, features: int) -> None:
    """Expect the software-reserved bytes and magic numbers of a frame with `size` bytes of these features."""
    seen.equal(f"{who}: FP_XSTATE_MAGIC1", frame["magic1"], MAGIC1, hex)
    seen.equal(f"{who}: xstate_size", frame["xstate_size"], size)
    seen.equal(f"{who}: extended_size", frame["extended_size"], size + 4)
    seen.equal(f"{who}: FP_XSTATE_MAGIC2 behind it", frame["magic2"], MAGIC2, hex)
    seen.equal(f"{who}: xfeatures", frame["xfeatures"], features, hex)
