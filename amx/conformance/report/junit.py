"""What pytest's --junitxml says of a check, as properties of its test case."""

from __future__ import annotations

import json
from collections.abc import Iterator

from amx.conformance.environment import Environment
from amx.conformance.verdict import Result

__all__ = ["properties"]


def properties(result: Result, environment: Environment) -> Iterator[tuple[str, str]]:
    """Names and values, the raw observations as one JSON array of objects with one key each."""
    check = result.check
    yield "id", check.id
    yield "claim", check.claim
    yield "authority", check.authority
    yield "since", check.since
    yield "lane", environment.lane.value
    yield "emulated", environment.diagnosis.emulated
    yield "verdict", result.verdict.value
    yield "reason", result.reason
    yield "ending", result.ending
    yield "seconds", f"{result.seconds:.4f}"
    yield "observations", json.dumps([{key: value} for key, value in result.observations])
    for expectation in result.expectations:
        yield (
            "expectation",
            f"{expectation.what}: expected {expectation.expected}, observed {expectation.observed}",
        )
    yield from (("note", note) for note in result.notes)
