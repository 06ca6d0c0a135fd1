"""What a guest says while it runs: which check it makes, and whether it is at its end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from amx.printable import printable

__all__ = ["Watch"]

# Frames, as the page on logs has them. What is here is for whoever waits; the judgement checks them again.
FRAME = re.compile(
    rb'AMX1 [0-9]{1,9} [0-9a-f]{8} \{"(begin|start|ended|done|broken)": ?(?:"([A-Z]+-[0-9]+)")?'
)
PANIC = re.compile(rb"Kernel panic - not syncing[^\r\n]{0,200}(?=[\r\n])")  # kernel/panic.c
OVERLAP = 512  # bytes; more than one of these has
AFTER_DONE, AFTER_PANIC = 10.0, 5.0  # seconds in which a guest that is at its end should be gone


class Watch:
    """Takes the bytes of a guest as they come.

    `has_begun` says that the first process has spoken, `is_done` that it has done all, `stands_still` that
    the machine does nothing any more; `panic` is the line by which the kernel gave up; `last` the check that
    was begun last; `size` counts bytes.
    """

    def __init__(self, about_to: Callable[[str], None], ended: Callable[[], None]) -> None:
        self.has_begun = self.is_done = self.stands_still = False
        self.panic = self.last = ""
        self.size = 0
        self._about_to, self._ended = about_to, ended
        self._rest: dict[str, bytes] = {}
        self._at_end = float("inf")
        self._heard = time.monotonic()

    def take(self, stream: str, some: bytes) -> None:
        """What came by one of the guest's streams."""
        if not some:
            return
        self.size += len(some)
        self._heard = time.monotonic()
        before = self._rest.get(stream, b"")
        text = before + some
        for found in FRAME.finditer(text):
            if found.end() > len(before):
                self._frame(found[1], (found[2] or b"").decode())
        if not self.panic and (line := PANIC.search(text)):
            self.panic = printable(line.group().decode(errors="replace"))
            self._end_in(AFTER_PANIC)
        self._rest[stream] = text[-OVERLAP:]

    @property
    def silence(self) -> float:
        """Seconds since it has said anything."""
        return time.monotonic() - self._heard

    @property
    def should_be_gone(self) -> bool:
        """Whether it has been at its end for a while."""
        return time.monotonic() > self._at_end

    def _frame(self, kind: bytes, id: str) -> None:
        self.has_begun = True
        if kind == b"start" and id != self.last:
            self.last = id
            self._about_to(id)
        elif kind == b"ended":
            self._ended()
        elif kind == b"done":
            self.is_done = True
            self._end_in(AFTER_DONE)

    def _end_in(self, seconds: float) -> None:
        self._at_end = min(self._at_end, time.monotonic() + seconds)
