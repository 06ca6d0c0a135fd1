"""What all ways of `amx check` share: results as they are made, reports, and what `--require` asks for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from amx.cli._files import STANDARD, FileError, write_text
from amx.cli._streams import print_error
from amx.conformance.environment import Environment
from amx.conformance.runner import Runner
from amx.conformance.selection import Selection
from amx.conformance.verdict import Result
from amx.lane import Lane

if TYPE_CHECKING:
    from amx.conformance.report.terminal import Terminal

__all__ = ["LANES", "REPORTS", "for_people", "missing_lane", "show", "terminal", "write_reports"]

REPORTS = ("json", "ktap", "html", "markdown")
LANES = {
    "native": (Lane.NATIVE,),
    "emulated": (Lane.EMULATED,),
    "any": (Lane.NATIVE, Lane.EMULATED),
}


def for_people(arguments: argparse.Namespace) -> TextIO:
    """What people read: a report on standard output is for a program that expects nothing else there."""
    files = [getattr(arguments, option) for option in REPORTS]
    return sys.stderr if STANDARD in files else sys.stdout


def terminal(arguments: argparse.Namespace) -> Terminal:
    """Where a run is shown."""
    from amx.conformance.report.terminal import Terminal

    return Terminal(for_people(arguments))


def write_reports(reports: Iterable[tuple[str, str]]) -> bool:
    """Write each text into its file; whether all are written. What is not is said."""
    is_written = True
    for file, text in reports:
        try:
            write_text(file, text)
        except FileError as error:  # the others can still be
            print_error(f"amx check: {error}")
            is_written = False
    return is_written


def show(shown: Terminal, runner: Runner, selection: Selection) -> tuple[list[Result], bool]:
    """Make the checks, each shown as soon as it is made; whether they were interrupted too."""
    results: list[Result] = []
    try:
        with shown.progress(selection.checks):
            for check in selection.checks:
                shown.about_to(check)
                results.append(runner.result(check))
                shown.show(results[-1])
    except KeyboardInterrupt:
        return results, True
    return results, False


def missing_lane(environment: Environment, required: str | None) -> str:
    """What `--require` asks for and is not there; empty where it is."""
    if required is None or environment.lane in LANES[required]:
        return ""
    cause = environment.diagnosis.cause
    found = f"the lane is {environment.lane.value}"
    return f"{required} lane ({found}{f'. {cause.words}. {cause.remedy}' if cause else ''})"
