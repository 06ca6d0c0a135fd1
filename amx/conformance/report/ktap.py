"""A run as KTAP 1 (the kernel's Documentation/dev-tools/ktap.rst): groups, with the checks as subtests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from amx.conformance.check import Verdict
from amx.conformance.provoke import HUNG
from amx.conformance.report import words
from amx.conformance.runner import Report
from amx.conformance.verdict import Result
from amx.printable import printable

__all__ = ["render"]

INDENT = "  "


def render(report: Report) -> str:
    """The text. The plans count the checks that were chosen, so that an interrupted run shows as such."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"# lane: {_plain(words.lane(report.environment))}"
    yield from (f"# {name}: {_plain(value)}" for name, value in report.environment.facts)
    results = {result.check.id: result for result in report.results}
    prefix = "emulated." if report.environment.diagnosis.emulated else ""
    groups = [
        (prefix + name, list(checks)) for name, checks in groupby(report.selected, lambda each: each.group)
    ]
    yield f"1..{len(groups)}"
    for number, (name, checks) in enumerate(groups, start=1):
        made = [results[check.id] for check in checks if check.id in results]
        if not made:
            break
        yield f"{INDENT}KTAP version 1"
        yield f"{INDENT}# Subtest: {name}"
        yield f"{INDENT}1..{len(checks)}"
        for place, result in enumerate(made, start=1):
            yield from (f"{INDENT}{line}" for line in _result(place, result, report.environment.upstream))
        yield _group(number, name, made, complete=len(made) == len(checks))
    yield from (f"# kernel: {_plain(text)}" for text in report.remarks)
    yield from (f"# trouble: {_plain(text)}" for text in report.trouble)
    yield f"# {_plain(words.summary(report))}"


def _result(number: int, result: Result, release: str) -> Iterator[str]:
    # A kernel's own words are in reasons: what parsers take for a directive ("# SKIP") is none there.
    id, reason = result.check.id, _plain(result.reason).replace(" #", r" \#")
    if result.verdict in (Verdict.FAIL, Verdict.ERROR):
        yield from (f"# {id}: {_plain(line)}" for line in words.explanation(result, release))
    else:
        yield from (f"# {id}: kernel: {_plain(text)}" for text in result.kernel)
    match result.verdict:
        case Verdict.PASS:
            yield f"ok {number} {id}"
        case Verdict.INFO:
            yield f"ok {number} {id} # {reason or 'information, no claim'}"
        case Verdict.SKIP:
            yield f"ok {number} {id} # SKIP {reason}"
        case Verdict.FAIL if result.ending == HUNG:
            yield f"not ok {number} {id} # TIMEOUT {reason}"
        case Verdict.FAIL:
            yield f"not ok {number} {id} # {reason}"
        case Verdict.ERROR:
            yield f"not ok {number} {id} # ERROR {reason}"


def _group(number: int, name: str, results: list[Result], *, complete: bool) -> str:
    if any(result.verdict in (Verdict.FAIL, Verdict.ERROR) for result in results):
        return f"not ok {number} {name}"
    if not complete:
        return f"not ok {number} {name} # ERROR interrupted"
    skipped = all(result.verdict is Verdict.SKIP for result in results)
    return f"ok {number} {name} # SKIP all of its checks" if skipped else f"ok {number} {name}"


def _plain(text: str) -> str:
    return printable(" ".join(text.split()))
