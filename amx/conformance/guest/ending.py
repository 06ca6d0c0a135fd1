"""How a guest ended, as far as its log shows it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["End", "Ending"]


class End(enum.Enum):
    """How the log of a run ends."""

    DONE = "done"
    PANIC = "panic"
    REBOOTED = "rebooted"
    CUT = "cut"  # without any of these: the guest hung or was ended, or the log was


@dataclass(frozen=True, slots=True)
class Ending:
    """How a guest ended, as its log shows it; `during` is the check that was being made, or none."""

    end: End
    during: str = ""
    said: str = ""  # of a panic
    stopped: str = ""  # what the caller knows, where the log does not show its end

    def __str__(self) -> str:
        when = f"during {self.during}" if self.during else "outside of any check"
        match self.end:
            case End.DONE:
                return "the run is complete"
            case End.PANIC:
                return f"the kernel panicked {when}: {self.said}"
            case End.REBOOTED:
                return f"the guest rebooted {when}"
        return f"the log ends {when}, before the end of its run{f': {self.stopped}' * bool(self.stopped)}"
