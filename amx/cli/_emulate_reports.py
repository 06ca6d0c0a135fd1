"""What `amx emulate` says and writes once the program has ended; no failure here changes its status."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from amx.cli._files import write_text
from amx.cli._streams import WriteError
from amx.emulation import launcher, report, scratch, unrecorded
from amx.emulation.report import Process
from amx.emulation.traced import Ended
from amx.emulation.unrecorded import Unrecorded
from amx.errors import AmxError, EmulationError
from amx.printable import printable_lines

if TYPE_CHECKING:
    from amx.emulation.trace import Trace

__all__ = ["Reports"]


class Reports:
    """The ones that were asked for: --stats, --stats-file and --trace."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._stats: bool = arguments.stats
        self._stats_file: str | None = arguments.stats_file
        self._trace: str | None = arguments.trace
        self._cpu: str = arguments.cpu

    @property
    def name(self) -> str:
        """The options."""
        asked = {"--stats": self._stats, "--stats-file": self._stats_file, "--trace": self._trace}
        return " and ".join(option for option, is_asked in asked.items() if is_asked)

    def of_directory(self, directory: str, status: int) -> None:
        """Of a program whose processes wrote there."""
        with _said("the counts could not be read"):
            self._counts(*_counted(directory), status)
        self._recorded(directory)

    def of_tracer(self, path: str, ended: Ended, directory: str) -> None:
        """Of a program that was traced."""
        if ended.failure:
            _say(f"amx emulate: the tracer failed, and killed {path}: {ended.failure}")
        with _said("the counts could not be read"):
            self._counts((Process(None, path, ended.counts),), Unrecorded(), ended.status)
        self._recorded(directory, (str(ended.unrecorded),) if ended.unrecorded else ())

    def _counts(self, processes: tuple[Process, ...], missing: Unrecorded, status: int) -> None:
        if self._stats:
            _say(report.table(processes, missing))
        if self._stats_file:
            said = report.as_json(processes, missing, cpu=self._cpu, status=status)
            with _said(f"--stats-file {self._stats_file} could not be written"):
                write_text(self._stats_file, json.dumps(said, indent=2) + "\n")

    def _recorded(self, directory: str, missing: tuple[str, ...] = ()) -> None:
        if self._trace is None:
            return
        with _said("the trace could not be read"):
            from amx.emulation import trace

            scratch.require(directory)
            found = trace.read(directory)
            found = dataclasses.replace(found, unrecorded=found.unrecorded + missing)
            with _said(f"--trace {self._trace} could not be written"):
                write_text(self._trace, found.to_json())
            if sys.stderr is not None and sys.stderr.isatty():
                _write(_tables(found))
            else:
                _say(str(found))


def _counted(directory: str) -> tuple[tuple[Process, ...], Unrecorded]:
    """What processes reported, and what is missing there. What is wrong with the report is a part of that."""
    try:
        scratch.require(directory)
        processes, unreadable = report.read(launcher.report_file(directory))
    except EmulationError as error:
        return (), Unrecorded(None, error.cause)
    except FileNotFoundError:
        processes, unreadable = (), Unrecorded()
    except OSError as error:
        processes, unreadable = (), Unrecorded(None, f"the report cannot be read: {error.strerror}")
    _, missing = unrecorded.read(directory)
    if missing and unreadable:
        missing = dataclasses.replace(missing, reason=f"{missing.reason}; {unreadable.reason}")
    return processes, missing or unreadable


def _tables(found: Trace) -> str:
    from amx._console import open_console
    from amx.emulation.trace_tables import show

    console = open_console(stderr=True)
    with console.capture() as capture:
        show(found, console)
    return capture.get().rstrip("\n")


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """Whatever goes wrong is said on standard error, and is the end of it."""
    try:
        yield
    except KeyboardInterrupt:
        _say(f"amx emulate: {what}: interrupted")
    except (AmxError, OSError, WriteError) as error:
        _say(f"amx emulate: {what}: {getattr(error, 'strerror', '') or error}")
    except Exception as error:
        _say(f"amx emulate: {what}: {type(error).__name__}: {error}")


def _say(text: str) -> None:
    _write(printable_lines(text))


def _write(text: str) -> None:
    """On standard error, if that can be; not through Python's buffer, which fails once more at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed from the beginning: None
        sys.stderr.flush()
        rest = f"{text}\n".encode(sys.stderr.encoding, "backslashreplace")
        while rest:
            rest = rest[os.write(sys.stderr.fileno(), rest) :]
