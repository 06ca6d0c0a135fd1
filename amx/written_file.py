"""Files for others: the one way in which this package writes them, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["append", "writing"]

PERMISSIONS = 0o777  # without those of the owner to whoever executes it, which writing takes away, too
ACCESS_LIST = "system.posix_acl_access"  # acl(5); with it the mode's bits of the group are those of a mask


@contextlib.contextmanager
def writing(file: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Where a file's bytes are written: beside it, under a name of their own, until all are on the disk.

    What is no regular file (a terminal, a pipe, /dev/null), or cannot be replaced by one with its owner and
    group, is itself written at the end, once there is room for all.

    Raises
    ------
    OSError: it cannot be written; what was to be replaced is then still there.
    """
    # In this order: the kernel, when asked what is there, refuses to follow a link of others in /tmp, and
    # what is no link before is not followed.
    path = os.path.realpath(file) if os.path.islink(file) else os.fspath(file)
    try:
        old = os.stat(file)
    except FileNotFoundError:
        old = None
    made = _beside(path, old) if _can_be_replaced(path, old) else None
    if made is None:
        memory = io.BytesIO()
        yield memory
        _write_over(file, memory.getbuffer())
        return
    temporary, opened = made
    try:
        with opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def append(file: str | os.PathLike[str], content: bytes) -> None:
    """Add to the end of a file that others add to as well; it is made where there is none.

    Raises
    ------
    OSError: it cannot be written, or is no regular file: a pipe might never be read.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(file, flags, 0o666), "ab", buffering=0) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(file))
        _write_all(opened, memoryview(content))


def _can_be_replaced(path: str, old: os.stat_result | None) -> bool:
    """Whether another file under this name would be all that it is: not a device, a second name, a log."""
    directory = os.path.dirname(path) or os.curdir
    if old and not (
        stat.S_ISREG(old.st_mode)
        and old.st_nlink == 1
        and not _has_access_list(path)
        and os.access(path, os.W_OK)
        and not any(os.path.samestat(old, each) for each in _standard_streams())
        # In /tmp another user's file is theirs to remove, and the kernel decides who writes into it.
        and (old.st_uid == os.geteuid() or not os.stat(directory).st_mode & stat.S_ISVTX)
    ):
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _has_access_list(file: str | os.PathLike[str]) -> bool:
    try:
        return ACCESS_LIST in os.listxattr(file)
    except (OSError, AttributeError):  # a file system without, or another than Linux
        return False


def _standard_streams() -> Iterator[os.stat_result]:
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            yield os.fstat(descriptor)


def _beside(path: str, old: os.stat_result | None) -> tuple[str, BinaryIO] | None:
    """A new file, by name and open, with the owner, group and permissions of the old one.

    None where this user may not make such a file.
    """
    temporary = os.path.join(os.path.dirname(path), f".amx-{os.urandom(8).hex()}")
    # Whoever opens it before it has the old one's permissions reads what comes later.
    mode = 0o600 if old else 0o666
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        if old:
            _be_as_open_as(descriptor, old)
    except OSError:
        os.close(descriptor)
        os.unlink(temporary)
        return None
    return temporary, open(descriptor, "wb")


def _be_as_open_as(descriptor: int, old: os.stat_result) -> None:
    """To the same owner and group and no others, whatever the directory gives to new files in it."""
    with contextlib.suppress(OSError, AttributeError):  # it has none
        os.removexattr(descriptor, ACCESS_LIST)
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, old.st_mode & PERMISSIONS)


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
