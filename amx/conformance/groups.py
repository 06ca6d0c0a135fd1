"""The groups of the catalogue, in its order; each is a module that declares its checks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from amx.conformance import check
from amx.conformance.check import Check

__all__ = ["GROUPS", "checks", "load", "subject"]

# What each is about.
GROUPS = {
    "DISC": "discovery, and what the interface does not offer",
    "PERM": "asking for permission",
    "INH": "what a new process, thread or program inherits",
    "FAULT": "faults of tile instructions",
    "ALT": "alternate signal stacks",
    "SIG": "the signal frame",
    "SRET": "what sigreturn takes from a frame",
    "PTR": "tile state through ptrace",
    "CORE": "tile state in core dumps",
    "CTX": "tile state over context switches",
    "LIFE": "the life of the buffer that holds tile data",
    "KVM": "permission for guests",
    "SBX": "permission in sandboxes",
    "XS": "the other extended components",
    "ISA": "what instructions do to user-space buffers",
}


def load() -> None:
    """Import every group, so that its checks are declared."""
    for group in GROUPS:
        importlib.import_module(f"amx.conformance.checks.{group.lower()}")


def subject(group: str) -> str:
    """What a group is about, empty for one of no module."""
    return GROUPS.get(group, "")


def checks() -> Iterator[Check]:
    """Every check, in the catalogue's order."""
    load()
    return iter(check._checks.values())
