"""A report as JSON and as CSV; docs/json.md describes the keys."""

from __future__ import annotations

import csv
import dataclasses
from typing import Any, TextIO

from amx.bench.calls import CallRow
from amx.bench.ceiling import CeilingRow
from amx.bench.emulation import Costs
from amx.bench.goals import Standing, standings
from amx.bench.grid import Case
from amx.bench.kernels import KernelRow
from amx.bench.layers import LayerRow
from amx.bench.recorded import Recorded, recorded
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
            "engines": {dtype.value: engine.value for dtype, engine in report.engines},
            "families": {dtype.value: family for dtype, family in report.families if family},
            "emulated": report.emulated or None,
            "seed": report.seed,
            **dataclasses.asdict(report.pace),
        },
        "ceiling": [_ceiling(row) for row in report.ceiling.rows],
        "kernels": [_kernel(row) for row in report.kernels],
        "calls": [_call(row, report) for row in report.calls],
        "layers": [_layer(row) for row in report.layers],
        "goals": [_goal(row) for row in standings(report.kernels, report.calls)],
        "recorded": [_recorded(row) for row in _recorded_of(report)],
        "peers": [dataclasses.asdict(peer) for peer in report.peers],
        "interrupted": report.interrupted,
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
        "limits": [dtype.value for dtype in row.limits],
    }


def _kernel(row: KernelRow) -> dict[str, object]:
    return {
        **_case(row.case),
        "engine": row.engine.value,
        "native": row.native,
        "threads": row.threads,
        "seconds": _summary(row.seconds),
        "gops": row.gops,
        "ceiling": row.ceiling,
        "of_ceiling": _summary(row.of_ceiling),
        "copies": row.copies,
        "b_gbs": row.b_gbs,
        "stream_gbs": row.stream_gbs,
        "of_stream": _summary(row.of_stream),
        "scaling": _summary(row.scaling),
        "of_neighbour": _summary(row.of_neighbour),
        "difference": row.difference,
    }


def _call(row: CallRow, report: Report) -> dict[str, object]:
    return {
        **_case(row.case),
        "library": row.library,
        "float32": row.float32,
        "form": row.form.value,
        "threads": row.threads,
        "seconds": _summary(row.seconds),
        "gops": row.gops,
        "ratio": _summary(row.ratio),
        "of_neighbour": _summary(row.of_neighbour),
        "difference": row.difference,
        "wrong": row.wrong,
        "reason": row.reason,
        "amx": row.amx and {"verdict": report.said_of(row.amx), "evidence": row.amx.evidence},
    }


def _layer(row: LayerRow) -> dict[str, object]:
    return {
        **_case(row.case),
        "library": row.library,
        "weights": row.weights.value,
        "threads": row.threads,
        "copies": row.copies,
        "seconds": _summary(row.seconds),
        "gops": row.gops,
        "ratio": _summary(row.ratio),
        "of_product": _summary(row.of_product),
        "of_int8": _summary(row.of_int8),
        "wrong": row.wrong,
        "reason": row.reason,
    }


def _goal(row: Standing) -> dict[str, object]:
    return {
        **_case(row.case),
        "threads": row.threads,
        "engine": row.engine.value,
        "native": row.native,
        "figure": row.figure.value,
        "of": row.form.value if row.form else "kernel",
        "against": row.against,
        "wrong": list(row.wrong),
        "goal": row.goal,
        "measured": _summary(row.measured),
    }


def _recorded_of(report: Report) -> list[Recorded]:
    found = (recorded(kernel.case, kernel.threads) for kernel in report.kernels)
    return [row for row in found if row]


def _recorded(row: Recorded) -> dict[str, object]:
    return {
        **_case(row.case),
        "threads": row.threads,
        "libxsmm": row.libxsmm,
        "onednn": row.onednn,
        "onednn_packed": row.onednn_packed,
    }


CSV_COLUMNS = (
    "table", "dtype", "batch", "m", "n", "k", "ld", "library", "form", "threads", "unit", "rate",
    "seconds_median", "seconds_low", "seconds_high", "ratio_median", "ratio_low", "ratio_high",
    "of_ceiling", "of_stream", "scaling", "of_neighbour", "weights", "of_product", "of_int8",
    "figure", "measured", "goal", "amx", "engine", "note",
)  # fmt: skip


def write_csv(report: Report, file: TextIO) -> None:
    """One line for each row of the tables; columns that do not apply are empty."""
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
                "of_neighbour": kernel.of_neighbour.median if kernel.of_neighbour else "",
                "amx": "yes" if kernel.native else "no",
                "engine": kernel.engine.value,
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
                "of_neighbour": call.of_neighbour.median if call.of_neighbour else "",
                "amx": report.said_of(call.amx) if call.amx else "",
                "note": call.reason or call.difference,
            }
        )
    for layer in report.layers:
        writer.writerow(
            {
                "table": "layers",
                **_shape(layer.case),
                "library": layer.library,
                "weights": layer.weights.value,
                "threads": layer.threads,
                "unit": "GOP/s",
                "rate": "" if layer.gops is None else layer.gops,
                **_columns("seconds", layer.seconds),
                **_columns("ratio", layer.ratio),
                "of_product": layer.of_product.median if layer.of_product else "",
                "of_int8": layer.of_int8.median if layer.of_int8 else "",
                "note": layer.reason,
            }
        )
    for standing in standings(report.kernels, report.calls):
        writer.writerow(
            {
                "table": "goals",
                **_shape(standing.case),
                "library": "amx",
                "form": standing.form.value if standing.form else "kernel",
                "threads": standing.threads,
                "figure": standing.figure.value,
                "measured": standing.measured.median if standing.measured else "",
                "goal": standing.goal,
                "amx": "yes" if standing.native else "no",
                "engine": standing.engine.value,
                "note": "; ".join(
                    [standing.against] * bool(standing.against)
                    + [f"{library} is wrong" for library in standing.wrong]
                ),
            }
        )
    for found in _recorded_of(report):
        for library, form, rate in (
            ("libxsmm", "packed", found.libxsmm),
            ("oneDNN", "plain", found.onednn),
            ("oneDNN", "packed", found.onednn_packed),
        ):
            if rate is not None:
                writer.writerow(
                    {
                        "table": "recorded",
                        **_shape(found.case),
                        "library": library,
                        "form": form,
                        "threads": found.threads,
                        "unit": "GOP/s",
                        "rate": rate,
                        "note": "on another machine",
                    }
                )


def _shape(case: Case) -> dict[str, object]:
    return {"dtype": case.dtype.value, **dataclasses.asdict(case.shape)}


def _columns(name: str, summary: Summary | None) -> dict[str, float]:
    if summary is None:
        return {}
    return {f"{name}_median": summary.median, f"{name}_low": summary.low, f"{name}_high": summary.high}
