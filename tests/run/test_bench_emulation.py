"""What emulation costs, and that nothing measured where AMX is emulated is taken for AMX."""

import csv
import dataclasses
import io
import json

import benching
import children
from benching import BLINK, report_of
from rich.console import Console

from amx import cli
from amx.bench import emulation, records, tables
from amx.bench.peers.peer import AmxUse, Verdict
from amx.bench.timing import Summary

emulated, small = benching.emulated, benching.small  # fixtures


EMULATED = """
import sys, amx
from amx.cli import main
with amx.emulate("spr"):
    sys.exit(main(["bench", "--quick", *sys.argv[1:]]))
"""


def bench_where_amx_is_emulated(*words):
    """What `amx bench` prints in a process whose tile instructions are all emulated."""
    done = children.run_python("-c", EMULATED, *words, AMX_TEST_LANE="", AMX_BACKEND="auto")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_report_takes_an_emulated_rate_for_one_of_amx():
    """Tile instructions run and are timed there, and no word says that they are the CPU's."""
    words = ("64x64x64", "100x100x100", "--dtype", "int8", "--peers", "none")
    report = json.loads(bench_where_amx_is_emulated(*words, "--json"))
    assert report["conditions"]["emulated"] == "spr, by amx.emulate()"
    assert report["conditions"]["native"] == []
    assert all(row["of_ceiling"] for row in report["kernels"])  # by tile instructions
    assert not any(row["native"] for row in (*report["kernels"], *report["goals"]))
    assert {row["figure"] for row in report["goals"]} == {"ratio", "of_neighbour"}  # those of every backend

    lines = list(csv.DictReader(io.StringIO(bench_where_amx_is_emulated(*words, "--csv"))))
    assert {line["amx"] for line in lines if line["table"] in ("kernels", "goals")} == {"no"}

    text = bench_where_amx_is_emulated(*words)
    assert "engines: int8 emulated" in text
    assert "AMX is emulated here (spr, by amx.emulate()): no rate measured here is one of AMX." in text
    rows = [line.split() for line in text.splitlines()]
    assert {row[2] for row in rows if row[1:2] == ["int8"] and row[2:3] in (["yes"], ["emulated"])} == {
        "emulated"
    }


def test_emulated_costs_are_none_of_hardware():
    report = json.loads(bench_where_amx_is_emulated("--emulation", "--json"))
    assert {row["how"] for row in report["costs"]} == {"call"}
    reasons = {entry["how"]: entry["reason"] for entry in report["missing"]}
    assert "AMX is emulated here (spr, by amx.emulate())" in reasons["hardware"]


def test_a_library_that_used_emulated_amx_used_none(emulated, small, capsys):
    report = report_of("8x9x10")
    use = AmxUse(Verdict.YES, "419 instructions")
    theirs = [dataclasses.replace(row, amx=use) for row in report.calls if row.library == "fake"]
    for name, said in (("", "yes"), ("spr, by amx emulate", "emulated")):
        seen = dataclasses.replace(report, calls=tuple(theirs), emulated=name)
        assert [row["amx"]["verdict"] for row in records.as_json(seen)["calls"]] == [said] * len(theirs)
        text = io.StringIO()
        records.write_csv(seen, text)
        text.seek(0)
        assert {row["amx"] for row in csv.DictReader(text) if row["table"] == "calls"} == {said}
        tables.show(seen, Console(width=240))
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "419 instructions" in line)
        assert line.split()[:3] == ["fake", "int8", said]
    no = dataclasses.replace(report, emulated="spr, by amx emulate")
    assert no.said_of(AmxUse(Verdict.NO, "")) == "no"
    assert no.said_of(AmxUse(Verdict.UNKNOWN, "")) == "unknown"


def test_costs_of_emulation():
    """In a child, whose signal handlers change: a figure for each instruction and way, right products."""
    script = "import sys; from amx.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ("bench", "--emulation", "--quick", "--json")
    result = children.run_python("-c", script, *words, AMX_TEST_LANE="")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    missing = {entry["how"] for entry in report["missing"]}
    expected = {
        (what, how.value)
        for what in (*emulation.INSTRUCTIONS, emulation.PRODUCT)
        for how in emulation.How
        if how.value not in missing
    }
    assert {(row["what"], row["how"]) for row in report["costs"]} == expected
    assert "call" not in missing
    assert not {"patched", "trapped"} & missing
    assert all(row["seconds"]["low"] > 0 for row in report["costs"])
    assert report["wrong"] == []


def test_a_wrong_emulated_product_is_exit_status_1(capsys, monkeypatch):
    how = emulation.How.PATCHED
    row = emulation.Cost("tilezero", how, Summary(4.3e-8, 4e-8, 5e-8, 3))
    missing = ((emulation.How.HARDWARE, "no tiles here"),)
    costs = emulation.Costs("1", "a processor", "6", BLINK, (row,), missing, (how,))
    monkeypatch.setattr(emulation, "measure", lambda **_: costs)
    assert cli.main(["bench", "--emulation"]) == 1
    text = capsys.readouterr()
    assert "43 ns" in text.out
    assert "no tiles here" in text.out
    assert "patched: the product is wrong" in text.err
