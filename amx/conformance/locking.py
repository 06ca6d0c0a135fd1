"""One check at a time where it must be: among workers of pytest-xdist, and between runs on one machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["turn"]


@contextlib.contextmanager
def turn(*, alone: bool, directory: Path | None = None) -> Iterator[None]:
    """Hold the machine for one check, with others at the same time or `alone`.

    Whoever waits to be alone holds the gate, so that a stream of others cannot keep it out for ever.
    """
    with _lock_files(directory) as (room, gate):
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextlib.contextmanager
def _lock_files(directory: Path | None) -> Iterator[tuple[int, int]]:
    """Two descriptors to lock; closing them unlocks.

    Where no temporary file can be made, those of this package's files: then among its own runs alone.
    """
    with contextlib.ExitStack() as opened:
        try:
            place = directory or Path(tempfile.gettempdir())
            names = ("amx-conformance.lock", "amx-conformance.gate")
            files = [opened.enter_context(_lock_file(place / name)) for name in names]
        except OSError:
            here = Path(__file__)
            files = [opened.enter_context(_lock_file(path)) for path in (here, here.parent)]
        yield files[0], files[1]


@contextlib.contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    """A descriptor to lock; closing it unlocks. Readable for all users: a lock needs no more."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        # Not with O_CREAT at once: fs.protected_regular forbids it on another user's file in /tmp.
        with contextlib.suppress(FileExistsError):
            created = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(created, 0o644)  # whatever the umask
            os.close(created)
        descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
