"""The standard streams of `amx` as a program, as coreutils treat theirs: nothing is lost silently.

A stream that was closed is opened again so that its use fails and no other file gets its number; programs
that are executed find it closed. Characters that the encoding of a stream lacks are written as escapes.
"""

from __future__ import annotations

import contextlib
import io
import locale
import os
import signal
import sys
from typing import TextIO

from amx.printable import printable_lines

__all__ = ["WriteError", "die_of", "errors_were_lost", "print_error", "take_over"]


class WriteError(Exception):
    """The standard output cannot be written. No OSError: rich and argparse catch some of those themselves."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"write error: {cause.strerror}")
        self.errno = cause.errno


class _Stream(io.TextIOWrapper):
    """Text over the bytes of a stream; `has_failed` once something could not be written."""

    has_failed = False

    def __init__(self, descriptor: int, before: TextIO | None) -> None:
        """`before` is Python's own stream, None where the descriptor was closed."""
        super().__init__(
            io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)),
            before.encoding if before else locale.getencoding(),
            "backslashreplace",
            # PYTHONUNBUFFERED is by lines here: without a buffer Python ignores that a write was cut short.
            line_buffering=bool(
                before and (before.line_buffering or getattr(before, "write_through", False))
            ),
        )

    def write(self, text: str) -> int:
        """As a file's, but for errors."""
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        """As a file's, but for errors; nothing after one, since Python flushes once more at its end."""
        if not self.has_failed:
            try:
                super().flush()
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """As a file's; Python, which closes it at its end, tells no error that was told before."""
        try:
            super().close()
        except OSError:
            if not self.has_failed:
                raise

    def _fail(self, error: OSError) -> None:
        self.has_failed = True


class _Output(_Stream):
    """The standard output."""

    def _fail(self, error: OSError) -> None:
        super()._fail(error)
        raise WriteError(error) from None


def take_over() -> None:
    """Put such streams in the place of sys.stdin, sys.stdout and sys.stderr."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number; reading from the input and writing to the outputs is EBADF.
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDONLY if descriptor else os.O_WRONLY)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)))
    sys.stdout = _Output(1, sys.stdout)
    sys.stderr = _Stream(2, sys.stderr)


def print_error(text: str) -> None:
    """What a command has to say on the standard error, where names that others gave are text."""
    print(printable_lines(text), file=sys.stderr)


def errors_were_lost() -> bool:
    """Whether something could not be written to the standard error."""
    sys.stderr.flush()
    return isinstance(sys.stderr, _Stream) and sys.stderr.has_failed


def die_of(number: signal.Signals) -> int:
    """End this process by a signal, without a word; the status for the shell where the signal is blocked."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
