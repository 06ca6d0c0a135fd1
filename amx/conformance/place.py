"""What the checks ask of the place beside the machine: who runs them, and what the system allows."""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Place", "here"]


@dataclass(frozen=True, slots=True)
class Place:
    """Read here, or taken from a log."""

    uid: int
    seccomp: bool  # a filter is at work
    yama: str  # kernel.yama.ptrace_scope, empty where there is none
    core_pattern: str
    core_limit: bool  # the hard limit of core files is not 0
    kvm: str  # "usable", "denied" or "absent"
    cmdline: str = ""  # the kernel's


def here() -> Place:
    """Where this process is."""
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return Place(
        uid=os.geteuid(),
        seccomp=re.search(r"^Seccomp:\s*2$", _text("/proc/thread-self/status"), re.MULTILINE) is not None,
        yama=_text("/proc/sys/kernel/yama/ptrace_scope"),
        core_pattern=_text("/proc/sys/kernel/core_pattern"),
        core_limit=resource.getrlimit(resource.RLIMIT_CORE)[1] != 0,
        kvm="usable" if usable else "denied" if os.path.exists("/dev/kvm") else "absent",
        cmdline=_text("/proc/cmdline"),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
