"""The groups of the catalogue, in its order; each is a module that declares its checks."""

from __future__ import annotations

import importlib

__all__ = ["GROUPS", "load"]

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
