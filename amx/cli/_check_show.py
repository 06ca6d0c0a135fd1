"""What all ways of `amx check` share: results as they are made, and what `--require` asks for."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from amx.cli._files import STANDARD
from amx.conformance.environment import Environment
from amx.conformance.runner import Runner
from amx.conformance.selection import Selection
from amx.conformance.verdict import Result
from amx.lane import Lane

if TYPE_CHECKING:
    from amx.conformance.report.terminal import Terminal

__all__ = ["LANES", "REPORTS", "missing_lane", "show", "terminal"]

REPORTS = ("json", "ktap", "html", "markdown")
LANES = {
    "native": (Lane.NATIVE,),
    "emulated": (Lane.EMULATED,),
    "any": (Lane.NATIVE, Lane.EMULATED),
}


def terminal(arguments: argparse.Namespace) -> Terminal:
    """Where a run is shown: a report on standard output is for a program that expects nothing else there."""
    from amx.conformance.report.terminal import Terminal

    files = [getattr(arguments, option) for option in REPORTS]
    return Terminal(sys.stderr if STANDARD in files else sys.stdout)


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
