"""What the kernel says of itself: panics, oopses and warnings, by the words of its sources."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

__all__ = ["Kind", "Message", "message"]

SHOWN = 200  # characters


class Kind(enum.Enum):
    """What a message means for a run."""

    PANIC = "panic"  # nothing can be judged from there on
    OOPS = "oops"  # the kernel is wrong, whatever the program saw
    NOTE = "note"  # shown, and no verdict
    BOOT = "boot"  # it starts anew


@dataclass(frozen=True, slots=True)
class Message:
    """One line that says something."""

    kind: Kind
    text: str


# kernel/panic.c, arch/x86/kernel/dumpstack.c (messages of die() end in "[#1]"), lib/bug.c.
# "traps: NAME[PID] general protection fault ip:" is about a program, not the kernel.
KINDS = (
    (Kind.PANIC, re.compile(r"Kernel panic - not syncing|\bPANIC: double fault")),
    (Kind.NOTE, re.compile(r"\bBUG: (?:soft lockup|workqueue lockup)|watchdog: .{0,40}\bhard LOCKUP")),
    (
        Kind.OOPS,
        re.compile(
            r"\bOops: |(?<![A-Z])BUG: |\bkernel BUG at |: [0-9a-f]{4} \[#[0-9]{1,9}\]|"
            r"\bgeneral protection fault(?:, |: )|\bUnable to handle kernel "
        ),
    ),
    (
        Kind.NOTE,
        re.compile(
            r"\bWARNING: (?:CPU|[\w./-]{1,80}:[0-9]{1,6} at )|\bhung task|\bblocked for more than [0-9]|"
            r"\bsoft lockup|\brcu: INFO: .{0,80}\bstall|\bself-detected stall|\bdetected stalls? on"
        ),
    ),
    (Kind.BOOT, re.compile(r"\bLinux version [0-9]{1,3}\.[0-9]{1,5}\S{0,80} \(")),
)
# One of these is in each of them: most lines are looked at once.
WORDS = re.compile(
    r"panic|PANIC|BUG|LOCKUP|Oops|\[#|general prot|Unable to|WARNING|hung task|blocked for|lockup|stall|"
    r"Linux version"
)
STAMP = re.compile(r"^\s*(?:<[0-9]{1,3}>)?\[\s*[0-9]{1,9}\.[0-9]{1,9}\](?:\[\s*[TC][0-9]{1,9}\])?\s*")


def message(text: str) -> Message | None:
    """What a line of the kernel says of itself; None for the many that say nothing."""
    if not WORDS.search(text):
        return None
    for kind, pattern in KINDS:
        found = pattern.search(text)
        if found:
            # Of a long line what is around the words.
            begin = max(0, found.start() - SHOWN // 2)
            return Message(kind, STAMP.sub("", text[begin : begin + SHOWN]).strip())
    return None
