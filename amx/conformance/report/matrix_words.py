"""The words that every form of a comparison uses for the same thing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from amx.conformance.check import Verdict
from amx.conformance.report import words
from amx.conformance.report.matrix import Change, Kind, Matrix
from amx.conformance.report.reading import Cell, Run

__all__ = ["Step", "bugs", "counts", "headline", "rest", "steps", "summary", "title", "verdict", "whole"]

ABSENT = "absent"
RESTS_ON = re.compile(r"says nothing without (\S+), which is")  # the runner's words, one in another


@dataclass(frozen=True, slots=True)
class Step:
    """Checks whose verdicts changed alike from one kernel to the next."""

    kind: Kind
    ids: tuple[str, ...]
    verdicts: str
    why: str


def headline(matrix: Matrix) -> str:
    """What came of it, in a few words."""
    broken = sum(each.kind is Kind.BROKEN for each in matrix.changes)
    failed = sum(row.failed for row in matrix.rows)
    parts = []
    if len(matrix.runs) > 1:
        parts.append(
            f"{_several(broken, 'check')} broke from one kernel to the next" if broken else "nothing broke"
        )
    if failed and not broken:
        parts.append(f"{_several(failed, 'check')} failed")
    troubled = sum(bool(run.trouble) for run in matrix.runs)
    if troubled:
        parts.append(f"{_several(troubled, 'run')} failed as a whole")
    if len(matrix.runs) == 1:
        parts += _of_one(matrix.runs[0])
    if matrix.unread:
        parts.append(f"{_several(len(matrix.unread), 'report')} cannot be read")
    return ", ".join(parts) or ("nothing failed" if matrix.runs else "nothing was read")


def _of_one(run: Run) -> Iterator[str]:
    """What else than a failure makes a run no success."""
    if run.missing_lane:
        yield "a required lane is missing"
    if run.not_made:
        yield "interrupted"
    if not any(run.count(each) for each in Verdict if each is not Verdict.SKIP):
        yield "nothing could be judged"


def whole(run: Run) -> Iterator[str]:
    """What concerns a run as a whole, and what its kernel said of itself."""
    yield from (f"trouble: {text}" for text in run.trouble)
    yield from (f"{cell.id}: {text}" for cell in run.cells.values() for text in cell.kernel)
    yield from run.remarks


def summary(matrix: Matrix) -> str:
    """One sentence on the whole."""
    kinds = Counter(each.kind for each in matrix.changes)
    text = ", ".join(f"{kinds[kind]} {kind.value}" for kind in Kind if kinds[kind])
    kernels = f"{_several(len(matrix.rows), 'check')} on {_several(len(matrix.runs), 'kernel')}"
    return f"{kernels}: {text or 'no change'}." if len(matrix.runs) > 1 else f"{kernels}."


def counts(run: Run) -> str:
    """How many checks have each verdict."""
    text = ", ".join(f"{run.count(each)} {each.value}" for each in Verdict if run.count(each)) or "no check"
    if run.not_made:
        text += f"; interrupted, {len(run.not_made)} not made"
    return f"{text}; required and missing: {run.missing_lane}" if run.missing_lane else text


def title(matrix: Matrix, column: int) -> str:
    """From which kernel to which, and what else differs between the two."""
    text = f"From {matrix.names[column - 1]} to {matrix.names[column]}"
    other = matrix.other_than_kernel(column - 1, column)
    return f"{text} (not the kernel alone: {other})" if other else text


def steps(matrix: Matrix, column: int) -> Iterator[Step]:
    """What changed towards a kernel; checks that changed alike, for one reason, are one step."""
    found: dict[tuple[Kind, str, str], list[str]] = {}
    for row in matrix.rows:
        if each := row.change(column):
            before, after = row.cells[each.before], row.cells[column]
            on = f" on {matrix.names[each.before]}" if each.before != column - 1 else ""
            verdicts = f"{verdict(before)}{on}, then {verdict(after)}"
            found.setdefault((each.kind, verdicts, _why(matrix, each, after, row.claim)), []).append(each.id)
    steps = (Step(kind, tuple(ids), verdicts, why) for (kind, verdicts, why), ids in found.items())
    return iter(sorted(steps, key=lambda step: list(Kind).index(step.kind)))


def _why(matrix: Matrix, found: Change, after: Cell | None, claim: str) -> str:
    if after is None:
        return matrix.why_absent(found.id, found.after)
    if found.kind is Kind.NOT_JUDGED:
        rests_on = RESTS_ON.findall(after.reason)
        if rests_on:
            return f"says nothing without {rests_on[-1]}"
        return after.reason.replace(found.id, "its id")  # in what is said of optional checks
    if after.broken:
        return "; ".join(
            f"{each.what}: expected {each.expected}, observed {each.observed}" for each in after.broken
        )
    return after.reason or ("" if found.kind is Kind.JUDGED else claim)


def verdict(cell: Cell | None) -> str:
    """Its word, or that the run lacks the check."""
    return cell.verdict.value if cell else ABSENT


def rest(matrix: Matrix) -> str:
    """The checks that failed nowhere, counted by the last verdict that they have."""
    others = [row for row in matrix.rows if not row.failed]
    found = Counter(next(cell.verdict for cell in reversed(row.cells) if cell) for row in others)
    text = ", ".join(f"{found[each]} {each.value}" for each in Verdict if found[each]) or "none"
    where = "failed nowhere" if len(matrix.runs) > 1 else "did not fail"
    last = "in the end " if len(matrix.runs) > 1 else ""
    return f"{_several(len(others), 'check')} {where}: {last}{text}."


def bugs(matrix: Matrix, *, in_question: bool = False) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Known bugs of the kernel that the rows can show: id, what, releases, and how each kernel stands.

    in_question: only those that a kernel may have, by its release or since the check failed.
    """
    for row in matrix.rows:
        for bug in row.bugs:
            fixes = [words.has_fix(bug, run.upstream) for run in matrix.runs]
            if in_question and not row.failed and words.LACKS not in fixes:
                continue
            kernels = tuple(f"{verdict(cell)}, {fix}" for cell, fix in zip(row.cells, fixes, strict=True))
            yield row.id, bug.what, words.span(bug), kernels


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
