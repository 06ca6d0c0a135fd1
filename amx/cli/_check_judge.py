"""`amx check --judge`: the log of a run in the place of a run."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import sys
from collections.abc import Sequence

from amx import foreign_file
from amx.cli._check_show import missing_lane, show, terminal
from amx.cli._files import STANDARD, FileError
from amx.conformance.guest import judging
from amx.conformance.guest import log as _log
from amx.conformance.guest.log import Log, LogError
from amx.conformance.runner import Report
from amx.conformance.selection import Selection
from amx.printable import printable

__all__ = ["MOST_FILES", "judge", "judge_files"]

MOST_FILES = 2  # what a console said, and what came over a port beside it
LARGEST = 64 << 20  # bytes of a log


def judge_files(files: Sequence[str], arguments: argparse.Namespace) -> Report:
    """Judge what is in these files, and show it.

    Raises
    ------
    FileError: one cannot be read.
    LogError: there is nothing in them that could be judged.
    """
    source = " and ".join("the standard input" if file == STANDARD else printable(file) for file in files)
    try:
        found = _log.read([_read(file) for file in files])
    except LogError as error:
        raise LogError(f"{source} cannot be judged: {error}") from None
    selection = judging.chosen(found, arguments.selection, optional=arguments.optional)
    return judge(found, source, selection, arguments)


def judge(log: Log, source: str, selection: Selection, arguments: argparse.Namespace) -> Report:
    """Judge what was selected by a log, of what `source` names for people, and show it."""
    environment = judging.environment(log, source=source)
    shown = terminal(arguments)
    shown.begin(environment)
    runner = judging.LogRunner(log, environment, asked=selection.asked)
    results, interrupted = show(shown, runner, selection)
    missing = missing_lane(environment, arguments.require)
    report = judging.report(log, environment, selection, results, missing)
    report = dataclasses.replace(report, interrupted=interrupted)
    shown.end(report)
    return report


def _read(file: str) -> bytes:
    try:
        if file != STANDARD:
            return foreign_file.read(file, LARGEST)
        text = sys.stdin.buffer.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise OSError(errno.EFBIG, f"it has more than {LARGEST:,} bytes")
    except OSError as error:
        raise FileError("read", file, error) from None
    return text
