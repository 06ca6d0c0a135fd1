"""A comparison as one page in the style of a run's: the changes, the matrix, and what each cell rests on.

Each cell of the matrix is a link to what was observed. That stands open, since not every browser opens what
it is led into.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from amx.conformance import groups
from amx.conformance.check import Expectation, Verdict
from amx.conformance.report import matrix_words as words
from amx.conformance.report import page
from amx.conformance.report.matrix import Kind, Matrix, Row
from amx.conformance.report.reading import Cell, Run

__all__ = ["render"]

TITLE = "AMX conformance of kernels"
EXPECTATION = ("", "expected", "observed")
# Beside the colour: what is read aloud or seen in black and white.
MARKS = {
    Kind.BROKEN: "▼",
    Kind.FAILS_OTHERWISE: "≠",
    Kind.REPAIRED: "▲",
    Kind.NOT_JUDGED: "◁",
    Kind.JUDGED: "▷",
}


def render(matrix: Matrix) -> str:
    """The text of the page."""
    return "\n".join(_page(matrix)) + "\n"


def _page(matrix: Matrix) -> Iterator[str]:
    yield from page.begin(f"{TITLE}: {', '.join(matrix.names)}", "page.css", "matrix.css")
    yield f"<h1>{TITLE}: {escape(words.headline(matrix))}</h1>"
    yield f'<p class="lead">{escape(words.summary(matrix))}</p>'
    yield from (
        f'<p class="unread">{escape(each.source)} cannot be read: {escape(each.why)}</p>'
        for each in matrix.unread
    )
    yield from _kernels(matrix)
    if len(matrix.runs) > 1:
        yield from _changes(matrix)
    if matrix.rows:
        yield from _matrix(matrix)
        yield from _bugs(matrix)
        yield "<h2>What was observed</h2>"
        for row in matrix.rows:
            yield from _seen(matrix, row)
    yield page.FOOTER
    yield "</body></html>"


def _kernels(matrix: Matrix) -> Iterator[str]:
    yield "<h2>The kernels</h2>"
    yield '<ol class="kernels">'
    for run, name in zip(matrix.runs, matrix.names, strict=True):
        yield (
            f"<li><details><summary><b>{escape(name)}</b> <span>{_counts(run)}</span>"
            f'<span class="reason">{escape(run.place)}</span></summary>'
        )
        what = [("file", run.source), ("linux-amx", run.version), ("verdicts", words.counts(run))]
        what += [("the kernel said", text) for text in run.remarks]
        if run.not_made:
            what.append(("not made", ", ".join(run.not_made)))
        yield page.listed("facts", (*filter(lambda each: each[1], what), *run.facts))
        yield "</details>"
        yield from (f'<p class="unread">trouble: {escape(text)}</p>' for text in run.trouble)
        yield "</li>"
    yield "</ol>"


def _counts(run: Run) -> str:
    return " ".join(
        f'<span class="verdict {each.value}">{run.count(each)} {each.value}</span>'
        for each in Verdict
        if run.count(each)
    )


def _changes(matrix: Matrix) -> Iterator[str]:
    yield "<h2>What changed</h2>"
    for column in range(1, len(matrix.runs)):
        found = list(words.steps(matrix, column))
        other = matrix.other_than_kernel(column - 1, column)
        yield f"<h3>From {escape(matrix.names[column - 1])} to {escape(matrix.names[column])}</h3>"
        if other:
            yield f'<p class="reason">Not the kernel alone differs: {escape(other)}.</p>'
        if not found:
            yield "<p>No change.</p>"
        else:
            yield f'<ul class="changes">{"".join(_step(each, column) for each in found)}</ul>'


def _step(found: words.Step, column: int) -> str:
    links = " ".join(f'<a class="id" href="#{_anchor(id, column)}">{id}</a>' for id in found.ids)
    what = f"{links} {escape(found.verdicts)}"
    why = f'<span class="reason">{escape(found.why)}</span>' if found.why else ""
    if len(found.ids) > 1:
        what = f"{len(found.ids)} checks, {escape(found.verdicts)}"
        why += f'<span class="links">{links}</span>'
    return (
        f'<li><span class="kind {found.kind.name}">{MARKS[found.kind]} {found.kind.value}</span> '
        f'<span class="what">{what}{why}</span></li>'
    )


def _matrix(matrix: Matrix) -> Iterator[str]:
    yield "<h2>The matrix</h2>"
    marks = ", ".join(f"{mark} {kind.value}" for kind, mark in MARKS.items())
    yield f'<p class="reason">Each verdict leads to what was observed. From the kernel before: {marks}.</p>'
    yield '<div class="scroll" role="region" aria-label="The matrix" tabindex="0"><table class="matrix">'
    head = "".join(
        f'<th scope="col"><div>{escape(name)}<span class="reason">{escape(run.place)}</span></div></th>'
        for name, run in zip(matrix.names, matrix.runs, strict=True)
    )
    yield f'<thead><tr><th scope="col">check</th>{head}</tr></thead>'
    for group, rows in groupby(matrix.rows, lambda row: row.group):
        subject = escape(groups.subject(group))
        yield (
            f'<tbody><tr class="group"><th scope="rowgroup">{group} <small>{subject}</small></th>'
            f'<td colspan="{len(matrix.runs)}"></td></tr>'
        )
        for row in rows:
            cells = "".join(_cell(matrix, row, column) for column in range(len(matrix.runs)))
            claim = f'<span class="claim">{escape(row.claim)}</span>'
            yield f'<tr><th scope="row"><a class="id" href="#{row.id}">{row.id}</a>{claim}</th>{cells}</tr>'
        yield "</tbody>"
    yield "</table></div>"


def _cell(matrix: Matrix, row: Row, column: int) -> str:
    cell, change = row.cells[column], row.change(column)
    kind = f" {change.kind.name}" if change else ""
    mark = f' <span class="mark">{MARKS[change.kind]} {change.kind.value}</span>' if change else ""
    if cell is None:
        absence = f'<a href="#{_anchor(row.id, column)}">{matrix.absence(row.id, column)}</a>'
        return f'<td class="absent{kind}">{absence}{mark}</td>'
    link = f'<a href="#{_anchor(row.id, column)}">{page.marked(cell.verdict.value)}</a>'
    return f'<td class="{cell.verdict.value}{kind}">{link}{mark}</td>'


def _bugs(matrix: Matrix) -> Iterator[str]:
    found = list(words.bugs(matrix))
    if found:
        yield "<h2>Known bugs <small>that these checks can show, and each kernel by its release</small></h2>"
        yield '<div class="scroll" role="region" aria-label="Known bugs" tabindex="0">'
        rows = [(id, what, span, *kernels) for id, what, span, kernels in found]
        yield page.table(("check", "bug", "releases", *matrix.names), rows)
        yield "</div>"


def _seen(matrix: Matrix, row: Row) -> Iterator[str]:
    yield f'<section class="seen" id="{row.id}">'
    yield f'<h3><span class="id">{row.id}</span> {escape(row.claim)}</h3>'
    if row.authority:
        yield f'<p class="reason">{escape(row.authority)}</p>'
    for column, (name, cell) in enumerate(zip(matrix.names, row.cells, strict=True)):
        yield f'<div class="run" id="{_anchor(row.id, column)}">'
        if cell is None:
            absence = escape(matrix.why_absent(row.id, column))
            yield f'<p><b>{escape(name)}</b> <span class="dim">{absence}</span></p>'
        else:
            yield from _run(name, cell)
        yield "</div>"
    yield "</section>"


def _run(name: str, cell: Cell) -> Iterator[str]:
    ending = f'<span class="dim">provocation: {escape(cell.ending)}</span>' if cell.ending else ""
    reason = f'<span class="reason">{escape(cell.reason)}</span>' if cell.reason else ""
    line = f"{page.marked(cell.verdict.value)} <b>{escape(name)}</b> {ending}{reason}"
    seen = "".join(_all_seen(cell))
    yield f"<details><summary>{line}</summary>{seen}</details>" if seen else f"<p>{line}</p>"
    if cell.broken:
        yield page.table(EXPECTATION, _expectations(cell.broken), [False] * len(cell.broken))
    about = [
        *(("known bug", each) for each in cell.known_bugs),
        *(("the kernel said", each) for each in cell.kernel),
        *(("note", each) for each in cell.notes),
    ]
    if about:
        yield page.listed("about", about)


def _all_seen(cell: Cell) -> Iterator[str]:
    if cell.expectations:
        holds = [each.holds for each in cell.expectations]
        yield page.table(EXPECTATION, _expectations(cell.expectations), holds)
    for text in ("\n".join(cell.observations), cell.details):
        if text:
            yield f'<pre class="raw">{escape(text)}</pre>'


def _expectations(found: Iterable[Expectation]) -> Iterator[tuple[str, str, str]]:
    return ((each.what, each.expected, each.observed) for each in found)


def _anchor(id: str, column: int) -> str:
    return f"{id}.{column + 1}"
