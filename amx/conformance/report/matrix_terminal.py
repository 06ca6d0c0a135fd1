"""A comparison on the terminal: what changed, the rows that failed, the rest as counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from amx._console import open_console
from amx.conformance.check import Verdict
from amx.conformance.report import matrix_words as words
from amx.conformance.report.matrix import Kind, Matrix, Row
from amx.conformance.report.reading import Cell
from amx.conformance.report.terminal import COLOURS

__all__ = ["show"]

OF_KINDS = {
    Kind.BROKEN: COLOURS[Verdict.FAIL],
    Kind.FAILS_OTHERWISE: COLOURS[Verdict.FAIL],
    Kind.REPAIRED: COLOURS[Verdict.PASS],
    Kind.NOT_JUDGED: COLOURS[Verdict.SKIP],
    Kind.JUDGED: COLOURS[Verdict.INFO],
}


def show(matrix: Matrix, stream: TextIO) -> None:
    """Write all of it to a stream."""
    console = open_console(stream)
    for number, (run, name) in enumerate(zip(matrix.runs, matrix.names, strict=True), start=1):
        console.print(Text(f"{number}  {name}: {words.counts(run)}"))
        console.print(Text(f"   {run.place}"))
        for text in run.trouble:
            console.print(Text(f"   trouble: {text}", style=COLOURS[Verdict.FAIL]))
    for each in matrix.unread:
        console.print(Text(f"{each.source} cannot be read: {each.why}", style=COLOURS[Verdict.ERROR]))
    for column in range(1, len(matrix.runs)):
        _step(matrix, column, console)
    rows = [row for row in matrix.rows if row.failed]
    if rows:
        console.print()
        console.print(_table(matrix, rows))
    _bugs(matrix, console)
    console.print()
    if matrix.rows:
        console.print(Text(words.rest(matrix)))
    console.print(Text(f"{words.summary(matrix)} In short: {words.headline(matrix)}."))


def _step(matrix: Matrix, column: int, console: Console) -> None:
    found = list(words.steps(matrix, column))
    console.print()
    console.print(Text(f"{words.title(matrix, column)}:{'' if found else ' no change.'}"))
    for each in found:
        kind = (f"{each.kind.value:<16}", OF_KINDS[each.kind])
        ids = f"{each.ids[0]:<9}" if len(each.ids) == 1 else f"{len(each.ids)} checks,"
        console.print(Text.assemble("  ", kind, f" {ids} {each.verdicts}{each.why and f': {each.why}'}"))
        if len(each.ids) > 1:
            console.print(Text(f"    {' '.join(each.ids)}", style="dim"))


def _table(matrix: Matrix, rows: Iterable[Row]) -> Table:
    """The columns are numbers, so that it fits; the list of kernels above says which."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("check")
    for number in range(1, len(matrix.runs) + 1):
        table.add_column(str(number))
    for row in rows:
        table.add_row(row.id, *map(_cell, row.cells))
    return table


def _cell(cell: Cell | None) -> Text:
    return Text(words.verdict(cell), style=COLOURS[cell.verdict] if cell else "dim")


def _bugs(matrix: Matrix, console: Console) -> None:
    for id, what, span, kernels in words.bugs(matrix, in_question=True):
        console.print()
        console.print(Text(f"known bug, {id}: {what} ({span})"))
        for number, text in enumerate(kernels, start=1):
            console.print(Text(f"  {number}  {text}"))
