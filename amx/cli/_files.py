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
        super().__init__(cause.errno, cause.strerror, str(file))
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
    """A file's bytes, in memory where they come from a pipe or the like.

    Raises
    ------
    FileError: they cannot be read.
    """
    try:
        if str(file) == STANDARD:
            yield io.BytesIO(sys.stdin.buffer.read())
            return
        with open(file, "rb") as opened:
            is_regular = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
            yield opened if is_regular else io.BytesIO(opened.read())
    except OSError as error:
        raise FileError("read", file, error) from None


@contextlib.contextmanager
def writing(file: str | Path) -> Iterator[BinaryIO]:
    """Where a file's bytes are written: beside it, under a name of their own, until all are there.

    What is no regular file (a terminal, a pipe, /dev/null), or cannot be replaced as it is, is itself written
    at the end.

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
        if _can_be_replaced(file):
            with _beside(Path(os.path.realpath(file))) as opened:
                yield opened
        else:
            memory = io.BytesIO()
            yield memory
            with open(file, "wb") as opened:
                opened.write(memory.getbuffer())
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


def _can_be_replaced(file: str | Path) -> bool:
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
    return os.access(os.path.dirname(os.path.realpath(file)), os.W_OK | os.X_OK)


def _standard_streams() -> Iterator[os.stat_result]:
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            yield os.fstat(descriptor)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".amx-{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as opened:
            if path.exists():
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            yield opened
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
