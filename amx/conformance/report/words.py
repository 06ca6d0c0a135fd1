"""The words that every report uses for the same thing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from amx.conformance.check import Expectation, KnownBug, Verdict, version
from amx.conformance.environment import Environment
from amx.conformance.runner import Report
from amx.conformance.verdict import Result
from amx.lane import Lane

__all__ = [
    "LACKS",
    "bug",
    "documented",
    "explanation",
    "has_fix",
    "kernel",
    "lane",
    "observation",
    "one_line",
    "span",
    "summary",
]

TROUBLE = "The run as a whole failed"
LACKS = "lacks the fix"
LANES = {
    Lane.NATIVE: "AMX of this machine",
    Lane.EMULATED: "an emulator runs the tiles: this says nothing of a CPU, nor of the kernel's frames",
    Lane.MODEL: "the suite's own model of the kernel: this says nothing about this machine",
    Lane.NONE: "no AMX",
}


def lane(environment: Environment) -> str:
    """The lane, and what it means."""
    emulated = environment.diagnosis.emulated
    meaning = f"{emulated}: this says nothing about the processor or the kernel" if emulated else ""
    if environment.unknown:
        meaning = "the log does not say what machine it is of"
    text = f"{environment.lane.value}: {meaning or LANES[environment.lane]}"
    if environment.source:
        text += f", judged from {environment.source}"
    return f"{text}, with the deliberate fault {environment.fault}" if environment.fault else text


def one_line(result: Result) -> str:
    """The reason, or the claim where there is none to give."""
    return result.reason or result.check.claim


def summary(report: Report) -> str:
    """One sentence on the whole run."""
    counts = ", ".join(f"{report.count(each)} {each.value}" for each in Verdict if report.count(each))
    made, lane = len(report.results), report.environment.lane.value
    text = f"{made} check{'s' * (made != 1)}, lane {lane}: {counts or 'none'}, in {report.seconds:.1f} s"
    if report.interrupted:
        missing = len(report.selected) - len(report.results)
        text = f"INTERRUPTED, {missing} not made. {text}"
    if report.exit_status == 77:
        text += ". Nothing could be judged"
    if report.trouble:
        text += f". {TROUBLE}: {'; '.join(report.trouble)}"
    return f"{text}. Required and missing: {report.missing_lane}" if report.missing_lane else f"{text}."


def explanation(result: Result, release: str) -> Iterator[str]:
    """What a FAIL or an ERROR is about, line by line."""
    check = result.check
    yield f"{check.id}: {check.claim}"
    yield f"{result.verdict.value}: {result.reason}"
    for expectation in result.broken:
        yield f"expected: {expectation.what}: {expectation.expected}"
        yield f"observed: {expectation.what}: {expectation.observed}"
    yield f"authority: {check.authority}"
    if check.since:
        yield f"holds since: {check.since}"
    if check.documented:
        yield f"documented otherwise: {check.documented}"
    yield from (f"known bug: {bug(each, release)}" for each in check.bugs)
    yield from (f"note: {note}" for note in result.notes)
    yield from (f"kernel: {text}" for text in result.kernel)
    yield from (f"saw: {observation(key, value)}" for key, value in result.observations)
    yield from result.details.splitlines()


def bug(known: KnownBug, release: str) -> str:
    """A known bug, where it is fixed, and whether this kernel can have it."""
    return f"{known.what} ({span(known)}; this kernel, {release}, {has_fix(known, release)})"


def span(known: KnownBug) -> str:
    """The releases between which kernels have a bug."""
    since = f"introduced in {known.introduced}, " if known.introduced else ""
    return f"{since}fixed in {known.fixed}"


def has_fix(known: KnownBug, release: str) -> str:
    """Whether a kernel, by its release, can have a bug."""
    if not version(release):
        return "has no release to go by"
    if known.may_be_in(release):
        return LACKS
    older = known.introduced and version(release) < version(known.introduced)
    return "is older than the bug" if older else "should have the fix"


def observation(key: str, value: Any) -> str:
    """One raw observation; large numbers are masks or addresses."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 9999:
        return f"{key} = {value} ({value:#x})"
    return f"{key} = {json.dumps(value)}"


def documented(report: Report) -> Iterator[tuple[Result, str]]:
    """Each check whose claim the kernel's documentation contradicts, and what was observed here."""
    for result in report.results:
        if result.check.documented:
            yield result, _observed(result)


def kernel(report: Report) -> Iterator[str]:
    """What the kernel said of itself in a log, and during which check."""
    for result in report.results:
        yield from (f"{result.check.id}: {text}" for text in result.kernel)
    yield from report.remarks


def _observed(result: Result) -> str:
    if result.verdict in (Verdict.SKIP, Verdict.ERROR):
        return f"not observed here ({result.verdict.value}: {result.reason})"
    seen: tuple[Expectation, ...] = result.broken or result.expectations
    return "; ".join(f"{each.what}: {each.observed}" for each in seen) or result.reason
