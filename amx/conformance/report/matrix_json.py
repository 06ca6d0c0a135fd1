"""A comparison as one JSON object; docs/json.md describes it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from amx.conformance.check import Verdict
from amx.conformance.report import words
from amx.conformance.report.matrix import Matrix, Row
from amx.conformance.report.reading import Cell, Run
from amx.version import __version__

__all__ = ["as_json", "render"]

SCHEMA = 1


def render(matrix: Matrix) -> str:
    """The text of the file."""
    return json.dumps(as_json(matrix), indent=2) + "\n"


def as_json(matrix: Matrix) -> dict[str, object]:
    """The matrix as docs/json.md describes it."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "exit_status": matrix.exit_status,
        "kernels": [_run(run, name) for run, name in zip(matrix.runs, matrix.names, strict=True)],
        "unread": [dataclasses.asdict(each) for each in matrix.unread],
        "changes": [
            {"id": each.id, "kind": each.kind.value, "before": each.before, "after": each.after}
            for each in matrix.changes
        ],
        "checks": [_row(matrix, row) for row in matrix.rows],
    }


def _run(run: Run, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": run.source,
        "kernel": run.kernel,
        "lane": run.lane,
        "emulated": run.emulated or None,
        "fault": run.fault or None,
        "processor": run.processor or None,
        "version": run.version,
        "not_made": list(run.not_made),
        "missing_lane": run.missing_lane or None,
        "trouble": list(run.trouble),
        "remarks": list(run.remarks),
        "counts": {verdict.value: run.count(verdict) for verdict in Verdict},
    }


def _row(matrix: Matrix, row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "group": row.group,
        "claim": row.claim,
        "authority": row.authority,
        "known_bugs": [
            {
                "what": bug.what,
                "introduced": bug.introduced or None,
                "fixed": bug.fixed,
                "kernels": [words.has_fix(bug, run.upstream) for run in matrix.runs],
            }
            for bug in row.bugs
        ],
        "cells": [_cell(cell) for cell in row.cells],
    }


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {
        "verdict": cell.verdict.value,
        "reason": cell.reason,
        "ending": cell.ending or None,
        "broken": [
            {"what": each.what, "expected": each.expected, "observed": each.observed} for each in cell.broken
        ],
        "notes": list(cell.notes),
        "kernel": list(cell.kernel),
    }
