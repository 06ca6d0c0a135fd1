"""Reports of `amx bench` as JSON and as CSV: each row is there."""

import csv
import dataclasses
import io
import json

import benching
import pytest
from benching import kernel_row, report_of

from amx.bench import goals, records, session

emulated, small = benching.emulated, benching.small  # fixtures


def test_the_json_holds_every_row(emulated, small):
    report = records.as_json(report_of("8x9x10", "3x8x9x10", "512x512x512"))
    report = json.loads(json.dumps(report))
    assert report["schema"] == records.SCHEMA
    assert list(report) == [
        "schema", "version", "conditions", "ceiling", "kernels", "calls", "layers", "goals", "recorded",
        "peers", "interrupted", "left_out", "differences",
    ]  # fmt: skip
    assert report["conditions"]["rounds"] == session.QUICK.rounds
    assert report["conditions"]["seed"] == 7
    rows = report["kernels"]
    assert [row["case"] for row in rows] == ["8x9x10:int8", "3x8x9x10:int8"]
    assert rows[0]["seconds"]["low"] <= rows[0]["seconds"]["median"] <= rows[0]["seconds"]["high"]
    assert rows[0]["gops"] == pytest.approx(2 * 8 * 9 * 10 / rows[0]["seconds"]["median"] / 1e9)
    assert rows[0]["scaling"] is None
    assert [(row["library"], row["form"]) for row in report["calls"][:3]] == [
        ("amx", "plain"), ("amx", "packed"), ("fake", "plain"),
    ]  # fmt: skip
    assert report["conditions"]["engines"] == {"int8": "emulated"}
    assert [(row["engine"], row["native"], row["copies"]) for row in rows] == [("emulated", False, 1)] * 2
    limits = {row["name"] for row in report["ceiling"] if "int8" in row["limits"]}
    assert {row["ceiling"] for row in rows} == (limits or {""})  # of one thread and of all, or none
    assert all((row["of_ceiling"] is not None) == bool(limits) for row in rows)
    assert not any(row["float32"] for row in report["calls"])
    assert [left["case"] for left in report["left_out"]] == ["512x512x512:int8"]
    assert report["interrupted"] is False
    beside = [row for row in report["goals"] if row["figure"] == "of_neighbour"]
    assert [(row["case"], row["of"], row["against"]) for row in beside] == [
        (text, of, against)
        for text, against in (("8x9x10:int8", "16x16x64"), ("3x8x9x10:int8", "3x16x16x64"))
        for of in ("kernel", "plain", "packed")
    ]
    assert beside[0]["goal"] == pytest.approx(0.85 * 8 * 9 * 10 / (16 * 16 * 64))
    assert beside[0]["measured"] == rows[0]["of_neighbour"]
    assert beside[1]["measured"] == report["calls"][0]["of_neighbour"]
    assert beside[0]["measured"]["count"] == session.QUICK.rounds
    assert (beside[0]["engine"], beside[0]["native"]) == ("emulated", False)
    of_peers = [
        (row["of"], row["goal"], row["against"]) for row in report["goals"] if row["figure"] == "ratio"
    ]
    assert of_peers[:2] == [("plain", 1.0, "fake"), ("packed", 1.0, "")]


def test_json_and_csv_quote_what_was_recorded(emulated, small):
    report = dataclasses.replace(report_of("8x9x10"), kernels=(kernel_row("64x64x64"),), calls=())
    (quoted,) = records.as_json(report)["recorded"]
    assert (quoted["case"], quoted["libxsmm"], quoted["onednn_packed"]) == ("64x64x64:int8", 1968, 769)
    (of_ceiling,) = (row for row in records.as_json(report)["goals"] if row["figure"] == "of_ceiling")
    assert (of_ceiling["goal"], of_ceiling["of"], of_ceiling["native"]) == (0.45, "kernel", True)
    text = io.StringIO()
    records.write_csv(report, text)
    text.seek(0)
    lines = [line for line in csv.DictReader(text) if line["table"] == "recorded"]
    assert [(line["library"], line["form"], line["rate"]) for line in lines] == [
        ("libxsmm", "packed", "1968"), ("oneDNN", "plain", "656"), ("oneDNN", "packed", "769"),
    ]  # fmt: skip


def test_the_csv_has_one_line_for_each_row(emulated, small):
    report = report_of("8x9x10")
    text = io.StringIO()
    records.write_csv(report, text)
    text.seek(0)
    lines = list(csv.DictReader(text))
    standings = goals.standings(report.kernels, report.calls)
    rows = len(report.ceiling.rows) + len(report.kernels) + len(report.calls) + len(standings)
    assert len(lines) == rows
    assert {line["table"] for line in lines} == {"ceiling", "kernels", "calls", "goals"}
    of_goals = [line for line in lines if line["table"] == "goals"]
    assert [(line["figure"], line["form"]) for line in of_goals] == [
        ("ratio", "plain"), ("ratio", "packed"),
        *(("of_neighbour", of) for of in ("kernel", "plain", "packed")),
    ]  # fmt: skip
    assert float(of_goals[2]["measured"]) == report.kernels[0].of_neighbour.median
    assert float(of_goals[2]["goal"]) == pytest.approx(0.85 * 8 * 9 * 10 / (16 * 16 * 64))
    ours = next(line for line in lines if line["table"] == "calls")
    assert (ours["m"], ours["n"], ours["k"], ours["library"]) == ("8", "9", "10", "amx")
    assert float(ours["seconds_low"]) > 0
