"""What several groups expect of signal frames and children."""

from __future__ import annotations

from typing import Any

from amx.conformance.check import Judge
from amx.conformance.show import XTILECFG, XTILEDATA

__all__ = ["ENDED", "MAGIC1", "MAGIC2", "TILES", "expect_frame"]

MAGIC1, MAGIC2 = 0x46505853, 0x46505845  # FP_XSTATE_MAGIC1 and 2, uapi/asm/sigcontext.h
TILES = XTILECFG | XTILEDATA
ENDED = {"exit": 0}


def expect_frame(seen: Judge, who: str, frame: dict[str, Any], *, size: int, features: int) -> None:
    """Expect the software-reserved bytes and magic numbers of a frame with `size` bytes of these features."""
    seen.equal(f"{who}: FP_XSTATE_MAGIC1", frame["magic1"], MAGIC1, hex)
    seen.equal(f"{who}: xstate_size", frame["xstate_size"], size)
    seen.equal(f"{who}: extended_size", frame["extended_size"], size + 4)
    seen.equal(f"{who}: FP_XSTATE_MAGIC2 behind it", frame["magic2"], MAGIC2, hex)
    seen.equal(f"{who}: xfeatures", frame["xfeatures"], features, hex)
