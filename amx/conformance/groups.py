"""The groups of the catalogue, in its order; each is a module that declares its checks."""

from __future__ import annotations

import importlib
import sys

__all__ = ["GROUPS", "load", "subject"]

GROUPS = (
    "DISC",
    "PERM",
    "INH",
    "FAULT",
    "ALT",
    "SIG",
    "SRET",
    "PTR",
    "CORE",
    "CTX",
    "LIFE",
    "KVM",
    "SBX",
    "XS",
    "ISA",
)


def load() -> None:
    """Import every group, so that its checks are declared."""
    for group in GROUPS:
        importlib.import_module(f"amx.conformance.{group.lower()}")


def subject(group: str) -> str:
    """What a group is about: the first line of its module, after the group's name."""
    module = sys.modules.get(f"amx.conformance.{group.lower()}")
    first = (module.__doc__ or "").partition("\n")[0] if module else ""
    return first.partition(": ")[2].rstrip(".")
