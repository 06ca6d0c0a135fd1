"""Files for others: the one way in which this package writes them, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["writing"]


@contextlib.contextmanager
def writing(file: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Where a file's bytes are written: beside it, under a name of their own, until all are on the disk.

    What is no regular file (a terminal, a pipe, /dev/null), or cannot be replaced as it is, is itself written
    at the end, once there is room for all.

    Raises
    ------
    OSError: it cannot be written; what was to be replaced is then still there.
    """
    # In this order: the kernel, when asked what is there, refuses to follow a link of others in /tmp, and
    # what is no link before is not followed.
    path = os.path.realpath(file) if os.path.islink(file) else os.fspath(file)
    if _can_be_replaced(file, os.path.dirname(path)):
        with _beside(path) as opened:
            yield opened
    else:
        memory = io.BytesIO()
        yield memory
        _write_over(file, memory.getbuffer())


def _can_be_replaced(file: str | os.PathLike[str], directory: str) -> bool:
    """Whether another file under this name would be all that it is: not a device, a second name, a log."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        found = None
    if found and not (
        stat.S_ISREG(found.st_mode)
        and found.st_nlink == 1
        and (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
        and os.access(file, os.W_OK)
        and not any(os.path.samestat(found, each) for each in _standard_streams())
    ):
        return False
    return os.access(directory or os.curdir, os.W_OK | os.X_OK)


def _standard_streams() -> Iterator[os.stat_result]:
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            yield os.fstat(descriptor)


@contextlib.contextmanager
def _beside(path: str) -> Iterator[BinaryIO]:
    temporary = os.path.join(os.path.dirname(path), f".amx-{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as opened:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))
            yield opened
            opened.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _write_over(file: str | os.PathLike[str], content: memoryview) -> None:
    """What a file holds stays where there is no room for the content."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o666), "wb", buffering=0) as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode):
            _write_all(opened, content)
            return
        try:
            if content:
                os.posix_fallocate(opened.fileno(), 0, len(content))
        except OSError as error:
            opened.truncate(found.st_size)
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):  # of the file system
                raise
        _write_all(opened, content)
        opened.truncate(len(content))
        os.fsync(opened.fileno())


def _write_all(opened: io.FileIO, content: memoryview) -> None:
    while content:
        content = content[opened.write(content) :]
