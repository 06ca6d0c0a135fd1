"""`amx explain`: the ladder of evidence, the first rung that fails, and what helps."""

from __future__ import annotations

import argparse
import json

from amx.diagnosis import Diagnosis, Outcome, explain

__all__ = ["add_parser", "run", "show"]

SCHEMA = 1
COLOURS = {Outcome.OK: "green", Outcome.FAILED: "red", Outcome.SKIPPED: "yellow", Outcome.NOT_REACHED: "dim"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "explain",
        help="whether AMX can be used here, on what evidence, and if not, why",
        description="Climb from the processor to an executed tile, and name the first rung that fails, its "
        "cause and its remedy. Status 0 when AMX is usable, else 1.",
    )
    parser.add_argument(
        "--no-probe",
        action="store_true",
        help="only read; by default calls and a tile are also tried in child processes",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object (see docs/json.md)")
    form.add_argument(
        "--issue",
        action="store_true",
        help="print a block to paste into an issue: this, amx info, and versions; nothing personal is in it",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the diagnosis; 0 when AMX is usable."""
    diagnosis = explain(probe=not arguments.no_probe)
    if arguments.json:
        print(json.dumps(as_json(diagnosis), indent=2))
    elif arguments.issue:
        from amx.cli._issue import block

        print(block(diagnosis))
    else:
        show(diagnosis)
    return 0 if diagnosis.usable else 1


def as_json(diagnosis: Diagnosis) -> dict[str, object]:
    """The diagnosis as docs/json.md describes it."""
    cause = diagnosis.cause
    return {
        "schema": SCHEMA,
        "usable": diagnosis.usable,
        "emulated": diagnosis.emulated or None,
        "failure": diagnosis.failure.name.value if diagnosis.failure else None,
        "cause": {"name": cause.name, "words": cause.words, "remedy": cause.remedy} if cause else None,
        "rungs": [
            {
                "name": rung.name.value,
                "outcome": rung.outcome.value,
                "evidence": list(rung.evidence),
                "cause": rung.cause.name if rung.cause else None,
            }
            for rung in diagnosis.rungs
        ],
        "disagreements": [str(disagreement) for disagreement in diagnosis.disagreements],
    }


def show(diagnosis: Diagnosis) -> None:
    """Print it for people."""
    from rich.table import Table
    from rich.text import Text

    from amx._console import open_console

    console = open_console()
    if diagnosis.emulated:
        console.print(f"AMX is emulated here: {diagnosis.emulated}. This says nothing of the processor.")
        console.print()
    table = Table("rung", "", "evidence", box=None, pad_edge=False)
    for rung in diagnosis.rungs:
        outcome = Text(rung.outcome.value, COLOURS[rung.outcome])
        table.add_row(rung.name.value, outcome, "\n".join(rung.evidence))
    console.print(table)
    for disagreement in diagnosis.disagreements:
        console.print(f"Note: {disagreement}")
    console.print()
    if diagnosis.cause:
        console.print(f"AMX is not usable. {diagnosis.cause.words}.")
        console.print(f"{diagnosis.remedy}.")
    else:
        console.print(f"AMX is usable{', emulated' if diagnosis.emulated else ''}.")
