"""How many processes of a program could not write what they were to: csrc/trap/files/unrecorded.h.

It is made before the program starts, with its block on the disk, since it is needed when there are none left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from amx import foreign_file
from amx.errors import errno_name

__all__ = ["Unrecorded", "prepare", "read", "reason_of"]

NAME = "unrecorded"
SIZE = 4096
ENTRIES = struct.Struct("<Ii Ii")  # struct unrecorded of traces, and of reports


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Processes of which nothing was recorded, or not all, and why the first was not.

    There were `processes` or more; None where they could not be counted.
    """

    processes: int | None = 0
    reason: str = ""

    def __bool__(self) -> bool:
        return self.processes != 0

    def __str__(self) -> str:
        if self.processes is None:
            return f"an unknown number of processes: {self.reason}"
        return f"{self.processes} process{'es' if self.processes != 1 else ''} or more: {self.reason}"


def reason_of(error: int) -> str:
    """An errno in words and by its name."""
    return f"{os.strerror(error)} ({errno_name(error)})"


def prepare(directory: str) -> None:
    """Make the file in a directory. Without room it has no length, and processes count nothing in it.

    Raises
    ------
    OSError: there can be no file in this directory.
    """
    descriptor = os.open(os.path.join(directory, NAME), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with contextlib.suppress(OSError):
            if (
                os.pwrite(descriptor, bytes(SIZE), 0) < SIZE
            ):  # not allocated only: that may not be written in place
                os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def read(directory: str | Path) -> tuple[Unrecorded, Unrecorded]:
    """Of traces, and of reports; none where the file was not prepared."""
    try:
        content = foreign_file.read(Path(directory, NAME), SIZE, owned=True, links=False)
    except FileNotFoundError:
        return Unrecorded(), Unrecorded()
    except OSError as error:
        unknown = Unrecorded(None, f"the file that counts them cannot be read: {error.strerror}")
        return unknown, unknown
    if len(content) < SIZE:
        unknown = Unrecorded(None, f"there was no room to note it: {reason_of(errno.ENOSPC)}")
        return unknown, unknown
    traces, trace_error, reports, report_error = ENTRIES.unpack_from(content)
    return _entry(traces, trace_error), _entry(reports, report_error)


def _entry(processes: int, error: int) -> Unrecorded:
    return Unrecorded(processes, reason_of(error) if processes else "")
