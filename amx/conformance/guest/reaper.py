"""A program by itself: runs a command; when that or this one's parent ends, kills all that has come of it.

`python -I -S reaper.py COMMAND...` ends as the command does. A command of a user's may start an emulator in
another session, where the command's own end, and a signal to its group, leave it running.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # uapi/linux/prctl.h
CANNOT_RUN = 127  # as a shell's


def main(command: Sequence[str]) -> int:
    """Run it; its exit status, 128 + n when signal n killed it."""
    prctl = ctypes.CDLL(None).prctl
    signal.signal(signal.SIGTERM, _terminate)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what loses its parent becomes a child of this process
    prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    try:
        try:
            child = subprocess.Popen(command)
        except OSError as error:
            sys.stderr.write(f"{error.strerror}\n")
            return CANNOT_RUN
        while True:
            pid, status = os.wait()
            if pid == child.pid:
                number = os.waitstatus_to_exitcode(status)
                return number if number >= 0 else 128 - number
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _kill_children()


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _kill_children() -> None:
    """Until there are none; those of a child that has ended are then this process's."""
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.wait()


def _children() -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
            if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(entry))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
