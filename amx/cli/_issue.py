"""All that an issue should say of a machine, as one block: no name of a host, a user or a path is in it."""

from __future__ import annotations

import io
import os
import platform
from importlib import metadata

from amx import machine
from amx._console import open_console
from amx.cli import info
from amx.cli._markdown import fenced
from amx.diagnosis import Diagnosis
from amx.version import __version__

__all__ = ["block"]

BESIDE = ("numpy", "cffi")


def block(diagnosis: Diagnosis) -> str:
    """In Markdown."""
    facts = io.StringIO()
    info.show(info.gather(), open_console(facts))
    lines = (line.rstrip() for line in facts.getvalue().splitlines())
    return fenced("\n".join([*_versions(), "", str(diagnosis), "", *lines]))


def _versions() -> list[str]:
    kernel = machine.current().kernel()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    beside = [f"{name} {_version(name)}" for name in BESIDE]
    versions = [
        ", ".join([f"linux-amx {__version__}", python, *beside]),
        ", ".join(
            filter(
                None,
                [f"{kernel.sysname} {kernel.release}", platform.machine(), " ".join(platform.libc_ver())],
            )
        ),
    ]
    if backend := os.environ.get("AMX_BACKEND"):
        versions.append(f"AMX_BACKEND={backend}")
    return versions


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not found"
