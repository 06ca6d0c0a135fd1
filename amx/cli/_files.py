"""Files that commands read and write: `-` is a standard stream; an old file stays until the new is whole."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from amx import written_file
from amx.cli._streams import WriteError
from amx.printable import printable

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
        return f"cannot {self._verb} {printable(name)}: {self.strerror}"


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
    """Where a file's bytes are written; see `amx.written_file`.

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
        with written_file.writing(file) as opened:
            yield opened
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
