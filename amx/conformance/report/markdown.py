"""One run or several as Markdown of GitHub, for summaries of CI: what changed and failed first, then all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from amx.conformance.check import Verdict
from amx.conformance.report import json_report
from amx.conformance.report import matrix_words as words
from amx.conformance.report.matrix import Matrix, Row, matrix
from amx.conformance.report.reading import Cell
from amx.conformance.runner import Report

__all__ = ["of_matrix", "of_report"]

LARGEST = 1_000_000  # bytes; a step's summary on GitHub has a mebibyte
MOST_SAID = 50  # lines of a kernel
LONGEST = 300  # characters of a text
SIGNS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.SKIP: "➖",
    Verdict.INFO: "🔹",
    Verdict.ERROR: "💥",
}
# What would be form, a link, somebody's name or an issue's number; of a table's row also what ends a cell.
SPECIAL = re.compile(r"[&<>|\\`*_\[\]~@#!$]|(?<=www)\.|:(?=//)")


def of_report(report: Report) -> str:
    """The text for one run."""
    return of_matrix(matrix([("", json_report.as_json(report))]))


def of_matrix(found: Matrix) -> str:
    """The text for several."""
    text = _joined(_lines(found))
    whole = text + _joined(_all(found))
    return whole if len(whole.encode()) <= LARGEST else f"{text}Too large for all checks to be shown here.\n"


def _lines(found: Matrix) -> Iterator[str]:
    yield f"## AMX conformance: {plain(words.headline(found))}"
    yield ""
    yield from _table(
        ("kernel", "where", "verdicts"),
        ((name, run.place, words.counts(run)) for name, run in zip(found.names, found.runs, strict=True)),
    )
    for each in found.unread:
        yield f"- {plain(each.source)} cannot be read: {plain(each.why)}"
    for column in range(1, len(found.runs)):
        changes = list(words.steps(found, column))
        yield ""
        yield f"**{plain(words.title(found, column))}**{'' if changes else ': no change.'}"
        yield ""
        if changes:
            yield from _table(
                ("change", "checks", "verdicts", "why"),
                ((each.kind.value, " ".join(each.ids), each.verdicts, each.why) for each in changes),
            )
    rows = [row for row in found.rows if row.failed]
    if rows:
        yield "### Failed"
        yield ""
        yield from _rows(found, rows)
    said = [
        f"- {plain(f'{name}: {text}' if len(found.runs) > 1 else text)}"
        for name, run in zip(found.names, found.runs, strict=True)
        for text in islice(words.whole(run), MOST_SAID)
    ]
    if said:
        yield from ("### The run as a whole", "", *said, "")
    bugs = [(id, what, span, *kernels) for id, what, span, kernels in words.bugs(found, in_question=True)]
    if bugs:
        yield "<details><summary>Known bugs</summary>"
        yield ""
        yield from _table(("check", "bug", "releases", *found.names), bugs)
        yield "</details>"
        yield ""


def _all(found: Matrix) -> Iterator[str]:
    if found.rows:
        yield f"<details><summary>{plain(words.rest(found))} All checks</summary>"
        yield ""
        yield from _rows(found, found.rows)
        yield "</details>"


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _rows(found: Matrix, rows: Iterable[Row]) -> Iterator[str]:
    yield from _table(
        ("check", *found.names, "claim, and why it failed"),
        ((row.id, *map(_cell, row.cells), _why(row)) for row in rows),
    )


def _cell(cell: Cell | None) -> str:
    return f"{SIGNS[cell.verdict]} {cell.verdict.value}" if cell else words.verdict(cell)


def _why(row: Row) -> str:
    reasons = dict.fromkeys(
        cell.reason for cell in row.cells if cell and cell.verdict in (Verdict.FAIL, Verdict.ERROR)
    )
    return " ".join((row.claim, *reasons))


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(map(plain, names))} |"
    yield f"|{'---|' * len(names)}"
    yield from (f"| {' | '.join(map(plain, row))} |" for row in rows)
    yield ""


def plain(text: str) -> str:
    """A text of one line that is nothing else."""
    line = " ".join(text.split())
    short = line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
    return SPECIAL.sub(lambda found: f"&#{ord(found[0])};", short)
