"""Files that others have made, or may be changing meanwhile: the one way in which this package opens them.

A name can lead to a FIFO that nobody writes to, to a device without end, to what another user has put there,
or to a file of more bytes than there is memory for. None of these may stop or exhaust who looks into it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Self

__all__ = ["ForeignFile", "opened", "read"]

FURTHEST = 2**63 - 1  # off_t


class ForeignFile:
    """An open regular file. Where it is cut short meanwhile there is less to read, and no signal."""

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self.status = status
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of it; fewer where it ends before. The caller bounds `size`."""
        if not 0 <= offset <= FURTHEST:
            return b""
        parts = []
        rest = min(size, FURTHEST - offset)
        while rest > 0 and (part := os.pread(self._descriptor, rest, offset)):
            parts.append(part)
            offset += len(part)
            rest -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """At the end."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened(
    path: str | os.PathLike[str], *, owned: bool = False, links: bool = True, most: int = FURTHEST
) -> ForeignFile:
    """Open a file for reading, without waiting for anything.

    owned: it has to be this user's or root's.
    links: its name may be a symbolic link.
    most: bytes that it may have.

    Raises
    ------
    OSError: it cannot be read, or is another than asked for: the text says which.
    """
    _check(_stat(path, links), path, owned, most)  # before it is opened, which some devices take as a command
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        _check(found, path, owned, most)
    except BaseException:
        os.close(descriptor)
        raise
    return ForeignFile(descriptor, found)


def read(path: str | os.PathLike[str], most: int, *, owned: bool = False, links: bool = True) -> bytes:
    """All bytes of a file that has no more than `most`; the rest is as of `opened`.

    Raises
    ------
    OSError: see `opened`.
    """
    with opened(path, owned=owned, links=links, most=most) as file:
        content = file.read(0, most + 1)
    if len(content) > most:  # it grew
        raise _too_large(path, most)
    return content


def _stat(path: str | os.PathLike[str], links: bool) -> os.stat_result:
    try:
        return os.stat(path, follow_symlinks=links)
    except ValueError:
        raise OSError(errno.EINVAL, "there is a NUL in its name", os.fspath(path)) from None


def _check(found: os.stat_result, path: str | os.PathLike[str], owned: bool, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    if owned and found.st_uid not in (os.geteuid(), 0):
        raise PermissionError(errno.EPERM, "it is another user's", os.fspath(path))
    if found.st_size > most:
        raise _too_large(path, most)


def _too_large(path: str | os.PathLike[str], most: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {most:,} bytes", os.fspath(path))
