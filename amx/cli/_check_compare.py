"""`amx check --compare`: reports of earlier runs beside each other; no kernel is provoked."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator

from amx.cli._check_show import for_people, write_reports
from amx.conformance.report.matrix import Matrix, Unread, compare
from amx.conformance.report.reading import ReportError, Run, load
from amx.printable import printable

__all__ = ["add_options", "run"]

TROUBLE = 2
MOST = 32  # runs: what is read of them stays in memory
OF_A_RUN = ("ktap", "require", "optional", "list", "model", "judge")  # options that mean nothing here


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--compare",
        metavar="FILE",
        nargs="+",
        help="run nothing: compare reports of earlier runs (--json), in this order. The reports are then of "
        "the comparison. Status 0 when all can be read and no check broke from one to the next, else 1",
    )


def run(arguments: argparse.Namespace, ids: Iterable[str] | None) -> int:
    """Compare; `ids` are the checks that were selected, None for all that the reports have."""
    refuse: Callable[[str], None] = arguments.usage_error
    for option in OF_A_RUN:
        if getattr(arguments, option):
            refuse(f"--{option} is about a run, and --compare makes none")
    if not 2 <= len(arguments.compare) <= MOST:
        refuse(f"--compare takes 2 to {MOST} reports, not {len(arguments.compare)}")
    runs: list[Run] = []
    unread: list[Unread] = []
    for file in arguments.compare:
        try:
            runs.append(load(file))
        except OSError as error:
            unread.append(Unread(printable(file), error.strerror or str(error)))
        except ReportError as error:
            unread.append(Unread(printable(file), str(error)))
    return show(compare(runs, unread=unread, only=ids), arguments)


def show(matrix: Matrix, arguments: argparse.Namespace) -> int:
    """Show a matrix and write its reports; the exit status."""
    from amx.conformance.report import matrix_terminal

    matrix_terminal.show(matrix, for_people(arguments))
    return matrix.exit_status if write_reports(_reports(matrix, arguments)) else TROUBLE


def _reports(matrix: Matrix, arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if arguments.json:
        from amx.conformance.report import matrix_json

        yield arguments.json, matrix_json.render(matrix)
    if arguments.html:
        from amx.conformance.report import matrix_page

        yield arguments.html, matrix_page.render(matrix)
    if arguments.markdown:
        from amx.conformance.report import markdown

        yield arguments.markdown, markdown.of_matrix(matrix)
