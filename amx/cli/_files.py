"""Files that commands read and write: `-` is a standard stream; an old file stays until the new is whole."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from amx.cli._streams import WriteError

__all__ = ["STANDARD", "FileError", "reading", "refusal", "write_text", "writing"]

STANDARD = "-"
FORBIDDEN = "it may not be written"  # by its permissions, or on a file system that is only read


class FileError(OSError):
    """A file cannot be read or written; the text says which, and why."""

    def __init__(self, verb: str, file: str | Path, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause) or type(cause).__name__, str(file))
        self._verb = verb

    def __str__(self) -> str:
        name = self.filename if self.filename != STANDARD else "the standard input"
        return f"cannot {self._verb} {name}: {self.strerror}"


def refusal(file: str | Path | None) -> str:
    """Why a file could not be written, as far as it can be seen beforehand; empty where it seems it could."""
    if file is None or str(file) == STANDARD:
        return ""
    try:
        if os.path.exists(file):
            if os.path.isdir(file):
                return "that is a directory"
            return "" if os.access(file, os.W_OK) else FORBIDDEN
        directory = os.path.dirname(os.path.realpath(file))
    except OSError as error:  # relative to a directory that is no more
        return os.strerror(error.errno or errno.EIO)
    if not os.path.isdir(directory):
        return "there is no such directory"
    return "" if os.access(directory, os.W_OK | os.X_OK) else FORBIDDEN


@contextlib.contextmanager
def reading(file: str | Path) -> Iterator[BinaryIO]:
    """A file, to be read once from its beginning to its end: it may be a pipe.

    Raises
    ------
    FileError: it cannot be read.
    """
    try:
        if str(file) == STANDARD:
            yield sys.stdin.buffer
            return
        with open(file, "rb") as opened:
            yield opened
    except OSError as error:
        raise FileError("read", file, error) from None


@contextlib.contextmanager
def writing(file: str | Path) -> Iterator[BinaryIO]:
    """Where a file's bytes are written: beside it, under a name of their own, until all are on the disk.

    What is no regular file (a terminal, a pipe, /dev/null), or cannot be replaced as it is, is itself written
    at the end, once there is room for all.

    Raises
    ------
    FileError: it cannot be written; what was to be replaced is then still there.
    WriteError: the standard output cannot be written.
    """
    if str(file) == STANDARD:
        with _to_standard_output() as memory:
            yield memory
        return
    try:
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
    except OSError as error:
        raise FileError("write", file, error) from None


def write_text(file: str | Path, text: str) -> None:
    """A text as UTF-8; see `writing`."""
    with writing(file) as opened:
        opened.write(text.encode(errors="backslashreplace"))


@contextlib.contextmanager
def _to_standard_output() -> Iterator[BinaryIO]:
    memory = io.BytesIO()
    yield memory
    sys.stdout.flush()
    try:
        sys.stdout.buffer.write(memory.getbuffer())
    except OSError as error:
        sys.stdout.flush()  # which says it too, and gives up what is left
        raise WriteError(error) from None
    sys.stdout.flush()


def _can_be_replaced(file: str | Path, directory: str) -> bool:
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


def _write_over(file: str | Path, content: memoryview) -> None:
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
