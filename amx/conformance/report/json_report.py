"""A run as one JSON object; docs/json.md describes it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from amx.conformance.check import Verdict
from amx.conformance.report import words
from amx.conformance.runner import Report
from amx.conformance.verdict import Result
from amx.version import __version__

__all__ = ["as_json", "render"]

SCHEMA = 1


def render(report: Report) -> str:
    """The text of the file."""
    return json.dumps(as_json(report), indent=2) + "\n"


def as_json(report: Report) -> dict[str, object]:
    """The run as docs/json.md describes it."""
    environment = report.environment
    cause = environment.diagnosis.cause
    return {
        "schema": SCHEMA,
        "version": __version__,
        "lane": environment.lane.value,
        "emulated": environment.diagnosis.emulated or None,
        "fault": environment.fault or None,
        "log": environment.source or None,
        "cause": {"name": cause.name, "words": cause.words, "remedy": cause.remedy} if cause else None,
        "kernel": environment.release,
        "machine": [{"name": name, "text": text} for name, text in environment.facts],
        "interrupted": report.interrupted,
        "missing_lane": report.missing_lane or None,
        "trouble": list(report.trouble),
        "remarks": list(report.remarks),
        "exit_status": report.exit_status,
        "seconds": round(report.seconds, 3),
        "counts": {verdict.value: report.count(verdict) for verdict in Verdict},
        "checks": [_check(result, environment.upstream) for result in report.results],
        "not_made": [check.id for check in report.selected[len(report.results) :]],
    }


def _check(result: Result, release: str) -> dict[str, Any]:
    check = result.check
    return {
        "id": check.id,
        "group": check.group,
        "claim": check.claim,
        "authority": check.authority,
        "since": check.since,
        "needs": sorted(need.name for need in check.needs),
        "depends": list(check.depends),
        "covers": list(check.covers),
        "documented": check.documented or None,
        "verdict": result.verdict.value,
        "reason": result.reason,
        "ending": result.ending or None,
        "seconds": round(result.seconds, 4),
        "expectations": [dataclasses.asdict(expectation) for expectation in result.expectations],
        "observations": [{key: value} for key, value in result.observations],
        "notes": list(result.notes),
        "kernel": list(result.kernel),
        "known_bugs": [words.bug(bug, release) for bug in check.bugs]
        if result.verdict is Verdict.FAIL
        else [],
        "details": result.details or None,
    }
