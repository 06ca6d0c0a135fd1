"""One provocation in a log: which frames are its, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from amx.conformance.guest.frames import Frame
from amx.conformance.provoke import HUNG
from amx.errors import signal_name

__all__ = ["Made", "content_of"]

ENDINGS = re.compile(r"exit [0-9]{1,3}|SIG[A-Z0-9+]{1,12}|signal [0-9]{1,3}|hung")
ENDLESS = 1e6  # seconds that no provocation takes
OUT_OF_TIME = 124  # status of timeout(1)


@dataclass
class Made:
    """The frames from one `start` on, by their numbers; `ended` is the one that says how it ended."""

    first: int
    numbers: list[int] = field(default_factory=list)
    last: int = -1
    ended: Frame | None = None

    @property
    def end(self) -> tuple[str, float]:
        """How it ended, empty where that cannot be said, and the seconds that it took."""
        content = content_of(self.ended) if self.ended else None
        if self.ended and self.ended.kind == "status":
            return _of_status(content), 0.0
        if not isinstance(content, dict):
            return "", 0.0
        how, seconds = content.get("how"), content.get("seconds")
        took = float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < ENDLESS else 0.0
        return (how if isinstance(how, str) and ENDINGS.fullmatch(how) else ""), took

    @property
    def frames_wanted(self) -> int | None:
        """How many frames it has, as its end says."""
        content = content_of(self.ended) if self.ended else None
        wanted = content.get("frames") if isinstance(content, dict) else None
        return wanted if isinstance(wanted, int) else None


def content_of(frame: Frame) -> Any:
    """The value of a frame's key; None where it is none that can be taken."""
    try:
        return frame.content
    except ValueError:
        return None


def _of_status(content: object) -> str:
    """A status as a shell has it, of what may have been started by timeout(1)."""
    if type(content) is not int or not 0 <= content <= 255:
        return ""
    if content == OUT_OF_TIME:
        return HUNG
    return f"exit {content}" if content <= 128 else signal_name(content - 128)
