"""Directories that are this user's, in places where others can take their names before."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator

__all__ = ["is_own", "places"]

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def places() -> Iterator[str]:
    """Where they can be made: in the user's runtime directory, and among temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        yield runtime
    with contextlib.suppress(OSError):
        yield os.path.abspath(tempfile.gettempdir())


def is_own(found: os.stat_result, mode: int = stat.S_IRWXU) -> bool:
    """Whether that is a directory of this user's, where all others can do no more than the mode says."""
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & OTHERS & ~mode
