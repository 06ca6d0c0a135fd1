"""One check at a time where it must be: among workers of pytest-xdist, and between runs of one user.

What others can lock, they can lock for ever: the lock is in a directory that is this user's alone. Where none
can be made, it is on files that others can open too, and nobody waits for that so long.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from amx.own_directory import is_own, places
from amx.printable import printable

__all__ = ["turn"]

SILENT = 5.0  # seconds of waiting, then a word about it
PATIENCE = 600.0  # seconds of waiting for what others can lock: as long as a check may take, emulated
PAUSE = 0.02  # seconds between two looks at that
_is_patient = True
OPENED = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class _TakenError(OSError):
    """The name of our directory is in use for something else."""


@contextlib.contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Hold the machine for one check, with others at the same time or `alone`.

    Whoever waits to be alone holds the gate, so that a stream of others cannot keep it out for ever.
    """
    with contextlib.ExitStack() as opened:  # closing a descriptor unlocks it
        found = _files(opened)
        if found is not None:
            name, gate, room, is_ours = found
            wait = fcntl.flock if is_ours else _flock_in_time
            _lock(gate, fcntl.LOCK_EX, name, wait)
            _lock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, name, wait)
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def _lock(descriptor: int, kind: int, name: str, wait: Callable[[int, int], object]) -> None:
    """Wait for a lock; where that takes long, say what for."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return
    text = (
        f"amx check: waiting for another run, which has locked {printable(name)} (lslocks names the process)"
    )
    notice = threading.Timer(SILENT, print, [text], {"file": sys.stderr})
    notice.daemon = True
    notice.start()
    try:
        wait(descriptor, kind)
    finally:
        notice.cancel()


def _flock_in_time(descriptor: int, kind: int) -> None:
    """As flock(2), but for no longer than PATIENCE; then this process goes on without, now and later."""
    global _is_patient
    waited = 0.0
    while _is_patient and waited < PATIENCE:
        time.sleep(PAUSE)
        waited += PAUSE
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
    _is_patient = False
    _warn(f"the lock has not been given back in {PATIENCE:.0f} s")


def _files(opened: contextlib.ExitStack) -> tuple[str, int, int, bool] | None:
    """A name, two descriptors to lock, gate and room, and whether only we can. None where our name is taken.

    Where no file can be made, those of this package: then among the runs from here alone.
    """
    taken = ""
    for place in places():
        name = os.path.join(place, f"amx-conformance-{os.geteuid()}")
        try:
            return name, *_files_in(name, opened), True
        except _TakenError:
            taken = name
        except OSError:
            pass
    if taken:
        _warn(f"{printable(taken)} is not a directory of this user alone")
        return None
    here = Path(__file__)
    gate, room = (_open(opened, path) for path in (here.parent, here))
    return str(here), gate, room, False


def _files_in(name: str, opened: contextlib.ExitStack) -> tuple[int, int]:
    """A directory that nobody else can open, and a file in it; they stay."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700)
    try:
        directory = _open(opened, name, os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EACCES) and os.path.lexists(name):
            raise _TakenError from error
        raise
    if not is_own(os.fstat(directory)):
        raise _TakenError
    return directory, _open(opened, "lock", os.O_CREAT, directory)


def _open(
    opened: contextlib.ExitStack, path: str | Path, flags: int = 0, directory: int | None = None
) -> int:
    descriptor = os.open(path, OPENED | flags, 0o600, dir_fd=directory)
    opened.callback(os.close, descriptor)
    return descriptor


@functools.cache
def _warn(why: str) -> None:
    print(
        f"amx check: {why}, so checks that need the machine to themselves may meet those of other runs. "
        "Set TMPDIR to a directory of your own",
        file=sys.stderr,
    )
