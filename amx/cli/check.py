"""`amx check`: run the conformance suite, show what came of it, and write reports."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable

from amx.cli import _check_boot, _check_compare, _check_judge
from amx.cli._check_show import LANES, REPORTS, missing_lane, show, terminal, write_reports
from amx.cli._files import STANDARD, FileError, refusal
from amx.cli._streams import print_error
from amx.conformance import environment as _environment
from amx.conformance.check import Need
from amx.conformance.guest.log import LogError
from amx.conformance.runner import Report, Runner
from amx.conformance.selection import Selection, select
from amx.errors import GuestError

__all__ = ["add_parser", "run"]

TROUBLE = 2
UNJUDGED = 1  # a log with nothing in it: whatever ran, it was no success


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="does the kernel keep the AMX ABI: the conformance suite",
        description="Provoke the kernel in processes made for it, and judge what it does. Status 0 when all "
        "that was judged passed, 1 when something failed, 2 for wrong usage or a report that cannot be "
        "written, 77 when nothing was judged, 130 when interrupted. docs/conformance.md says what the checks "
        "protect.",
    )
    parser.add_argument(
        "selection",
        nargs="*",
        metavar="SELECTION",
        help="groups (PERM), checks (ALT-03) or beginnings of ids (PTR-0); all without",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write one JSON object (see docs/json.md); - for stdout, here and with the other reports",
    )
    parser.add_argument(
        "--ktap",
        metavar="FILE",
        nargs="?",
        const=STANDARD,
        help="write KTAP as kernel CI reads it; to stdout without FILE",
    )
    parser.add_argument("--html", metavar="FILE", help="write one self-contained page")
    parser.add_argument(
        "--markdown", metavar="FILE", help='write a table for summaries of CI ("$GITHUB_STEP_SUMMARY")'
    )
    _check_compare.add_options(parser)
    parser.add_argument(
        "--require",
        choices=LANES,
        help="fail unless tiles run on the CPU (native), in an emulator, or either",
    )
    parser.add_argument(
        "--judge",
        nargs="+",
        metavar="FILE",
        help="judge a log of amx-provoke instead of this kernel: a console's, with that of a second port "
        "where there is one; - for the standard input",
    )
    _check_boot.add_options(parser)
    parser.add_argument("--optional", action="store_true", help="run the optional checks too")
    parser.add_argument("--list", action="store_true", help="list the checks, and run none")
    parser.add_argument("--model", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run, usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Run what was selected; the exit status is the report's."""
    _check_boot.separate(arguments)
    selection = _selection(arguments)
    if arguments.compare:
        chosen = [check.id for check in selection.checks] if arguments.selection else None
        return _check_compare.run(arguments, chosen)
    if arguments.list:
        _list(selection)
        return 0
    try:
        if arguments.initramfs:
            return _check_boot.write_initramfs(selection, arguments)
        if len(arguments.boot or ()) > 1:
            return _check_boot.run_all(selection, arguments)
        report = (
            _check_judge.judge_files(arguments.judge, arguments)
            if arguments.judge
            else _check_boot.run(selection, arguments)
            if arguments.boot
            else _run(selection, arguments)
        )
    except (FileError, GuestError, LogError) as error:
        print_error(f"amx check: {error}")
        return UNJUDGED if isinstance(error, LogError) else TROUBLE
    return report.exit_status if write_reports(_reports(report, arguments)) else TROUBLE


def _selection(arguments: argparse.Namespace) -> Selection:
    refuse: Callable[[str], None] = arguments.usage_error
    words = arguments.selection
    try:
        selection = select(words, optional=arguments.optional)
    except ValueError as error:
        refuse(str(error))
        raise
    names = {check.group for check in selection.checks} | {check.id for check in selection.checks}
    for option in REPORTS:
        file = getattr(arguments, option)
        if file in names:
            refuse(f"--{option} {file}: that is a check. Give the selection first, or --{option}={STANDARD}")
        elif refused := refusal(file):
            refuse(f"--{option} {file}: {refused}")
    for file in arguments.judge or ():
        if file in names:
            refuse(f"--judge {file}: that is a check. Give the selection first")
    if len(arguments.judge or ()) > _check_judge.MOST_FILES:
        refuse("--judge takes one log: of a console, with that of a port beside it")
    if (arguments.judge or []).count(STANDARD) > 1:
        refuse("--judge can read the standard input once")
    if arguments.judge and arguments.model:
        refuse("--judge makes no provocation, on the model neither")
    if [getattr(arguments, option) for option in REPORTS].count(STANDARD) > 1:
        refuse("only one report can go to the standard output")
    ways = ("boot", "compare", "initramfs", "judge")
    if len(asked := [f"--{way}" for way in ways if getattr(arguments, way)]) > 1:
        refuse(f"ask for one of {' and '.join(asked)}")
    _check_boot.refuse(arguments)
    return selection


def _list(selection: Selection) -> None:
    for check in selection.checks:
        needs = ", ".join(
            need.name.lower().replace("_", " ")
            for need in Need
            if need in check.needs and need is not Need.ALONE
        )
        print(f"{check.id:<9} {check.claim}{f' [{needs}]' if needs else ''}")


def _run(selection: Selection, arguments: argparse.Namespace) -> Report:
    shown = terminal(arguments)
    start = time.monotonic()
    environment = _environment.read(model=arguments.model or None)
    shown.begin(environment)
    results, interrupted = show(shown, Runner(environment, asked=selection.asked), selection)
    report = Report(
        environment,
        selection.checks,
        tuple(results),
        time.monotonic() - start,
        interrupted,
        missing_lane(environment, arguments.require),
    )
    shown.end(report)
    return report


def _reports(report: Report, arguments: argparse.Namespace) -> Iterable[tuple[str, str]]:
    if arguments.json:
        from amx.conformance.report import json_report

        yield arguments.json, json_report.render(report)
    if arguments.ktap:
        from amx.conformance.report import ktap

        yield arguments.ktap, ktap.render(report)
    if arguments.html:
        from amx.conformance.report import html

        yield arguments.html, html.render(report)
    if arguments.markdown:
        from amx.conformance.report import markdown

        yield arguments.markdown, markdown.of_report(report)
