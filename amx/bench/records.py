"""A report as JSON and as CSV; docs/json.md describes the keys."""

from __future__ import annotations

import csv
import dataclasses
from typing import Any, TextIO

from amx.bench.calls import CallRow
from amx.bench.ceiling import CeilingRow
from amx.bench.emulation import Costs
from amx.bench.grid import Case
from amx.bench.kernels import KernelRow
from amx.bench.session import Report
from amx.bench.timing import Summary

__all__ = ["CSV_COLUMNS", "SCHEMA", "as_json", "costs_as_json", "write_csv"]

SCHEMA = 1


def as_json(report: Report) -> dict[str, object]:
    """One object of plain values."""
    return {
        "schema": SCHEMA,
        "version": report.version,
        "conditions": {
            "processor": report.processor,
            "kernel": report.kernel,
            "threads": report.threads,
            "native": [dtype.value for dtype in report.native],
            "seed": report.seed,
            **dataclasses.asdict(report.pace),
        },
        "ceiling": [_ceiling(row) for row in report.ceiling.rows],
        "kernels": [_kernel(row) for row in report.kernels],
        "calls": [_call(row) for row in report.calls],
        "peers": [dataclasses.asdict(peer) for peer in report.peers],
        "left_out": [{**_case(left.case), "reason": left.reason} for left in report.left_out],
        "differences": list(report.differences),
    }


def costs_as_json(costs: Costs) -> dict[str, object]:
    """What emulated instructions cost, as one object of plain values."""
    return {
        "schema": SCHEMA,
        "version": costs.version,
        "conditions": {
            "processor": costs.processor,
            "kernel": costs.kernel,
            **dataclasses.asdict(costs.pace),
        },
        "costs": [
            {"what": row.what, "how": row.how.value, "seconds": _summary(row.seconds)} for row in costs.rows
        ],
        "missing": [{"how": how.value, "reason": reason} for how, reason in costs.missing],
        "wrong": [how.value for how in costs.wrong],
    }


def _case(case: Case) -> dict[str, object]:
    return {"case": str(case), "dtype": case.dtype.value, **dataclasses.asdict(case.shape)}


def _summary(summary: Summary | None) -> dict[str, Any] | None:
    return None if summary is None else dataclasses.asdict(summary)


def _ceiling(row: CeilingRow) -> dict[str, object]:
    return {
        "name": row.name,
        "dtype": row.dtype and row.dtype.value,
        "unit": row.unit.value,
        "threads": row.threads,
        "rate": _summary(row.rate),
        "reason": row.reason,
    }


def _kernel(row: KernelRow) -> dict[str, object]:
    return {
        **_case(row.case),
        "native": row.native,
        "threads": row.threads,
        "seconds": _summary(row.seconds),
        "gops": row.gops,
        "of_ceiling": _summary(row.of_ceiling),
        "b_gbs": row.b_gbs,
        "of_stream": _summary(row.of_stream),
        "scaling": _summary(row.scaling),
        "difference": row.difference,
    }


def _call(row: CallRow) -> dict[str, object]:
    return {
        **_case(row.case),
        "library": row.library,
        "form": row.form.value,
        "threads": row.threads,
        "seconds": _summary(row.seconds),
        "gops": row.gops,
        "ratio": _summary(row.ratio),
        "difference": row.difference,
        "reason": row.reason,
        "amx": row.amx and {"verdict": row.amx.verdict.value, "evidence": row.amx.evidence},
    }


CSV_COLUMNS = (
    "table", "dtype", "batch", "m", "n", "k", "library", "form", "threads", "unit", "rate",
    "seconds_median", "seconds_low", "seconds_high", "ratio_median", "ratio_low", "ratio_high",
    "of_ceiling", "of_stream", "scaling", "amx", "note",
)  # fmt: skip


def write_csv(report: Report, file: TextIO) -> None:
    """One line for each row of the three tables; columns that do not apply are empty."""
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for limit in report.ceiling.rows:
        writer.writerow(
            {
                "table": "ceiling",
                "dtype": limit.dtype.value if limit.dtype else "",
                "library": limit.name,
                "threads": limit.threads,
                "unit": limit.unit.value,
                "rate": limit.rate.median if limit.rate else "",
                "note": limit.reason,
            }
        )
    for kernel in report.kernels:
        writer.writerow(
            {
                "table": "kernels",
                **_shape(kernel.case),
                "library": "amx",
                "form": "packed",
                "threads": kernel.threads,
                "unit": "GOP/s",
                "rate": kernel.gops,
                **_columns("seconds", kernel.seconds),
                "of_ceiling": kernel.of_ceiling.median if kernel.of_ceiling else "",
                "of_stream": kernel.of_stream.median if kernel.of_stream else "",
                "scaling": kernel.scaling.median if kernel.scaling else "",
                "amx": "yes" if kernel.native else "no",
                "note": kernel.difference,
            }
        )
    for call in report.calls:
        writer.writerow(
            {
                "table": "calls",
                **_shape(call.case),
                "library": call.library,
                "form": call.form.value,
                "threads": call.threads,
                "unit": "GOP/s",
                "rate": "" if call.gops is None else call.gops,
                **_columns("seconds", call.seconds),
                **_columns("ratio", call.ratio),
                "amx": call.amx.verdict.value if call.amx else "",
                "note": call.difference or call.reason,
            }
        )


def _shape(case: Case) -> dict[str, object]:
    return {"dtype": case.dtype.value, **dataclasses.asdict(case.shape)}


def _columns(name: str, summary: Summary | None) -> dict[str, float]:
    if summary is None:
        return {}
    return {f"{name}_median": summary.median, f"{name}_low": summary.low, f"{name}_high": summary.high}
