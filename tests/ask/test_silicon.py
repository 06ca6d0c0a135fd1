"""ci/silicon: refuses where there is no AMX, and its record says what became of each step."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import children
import pytest

import amx

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "ci" / "silicon.py"


@pytest.fixture(scope="module")
def silicon():
    specification = importlib.util.spec_from_file_location("silicon", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["silicon"] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def record(tmp_path):
    directory = tmp_path / "record"
    directory.mkdir()
    return directory


def step(silicon, name, code, *, limit=60, output=""):
    return silicon.Step(name, (sys.executable, "-c", code), limit, output)


def run(silicon, record, *planned):
    status = silicon.run_all(list(planned), record, record.parent, ["a machine"], rehearsal=True)
    return status, (record / "summary.md").read_text()


@pytest.mark.skipif(amx.explain().usable, reason="this machine has AMX, and the run would take hours")
def test_without_amx_nothing_is_recorded_and_the_diagnosis_is_shown():
    before = sorted((ROOT / "docs/records").glob("*"))
    done = children.run(
        [sys.executable, SCRIPT], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 77
    assert f"cause: {amx.explain(probe=True).cause.words}" in done.stderr
    assert sorted((ROOT / "docs/records").glob("*")) == before


def test_a_failed_step_is_told_and_the_next_one_runs(silicon, record):
    status, text = run(
        silicon,
        record,
        step(silicon, "first", "print('FAILED tests/test_x.py::test_y'); raise SystemExit(3)"),
        step(silicon, "second", "print('{}')", output="second.json"),
        step(silicon, "third", "raise SystemExit(77)"),
    )
    assert status == 1
    assert "| first | failed (status 3) |" in text
    assert "FAILED tests/test_x.py::test_y" in text
    assert "| second | passed |" in text
    assert (record / "second.json").read_text() == "{}\n"
    assert "| third | could not run |" in text


def test_a_step_at_its_limit_is_ended_with_what_it_started(silicon, record):
    fifo = record / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sleeper = "import time; time.sleep(600)"
    code = (
        f"import subprocess, sys; end = open({str(fifo)!r}, 'w'); end.write('started'); end.flush();"
        f"subprocess.run([sys.executable, '-c', {sleeper!r}], stdout=end)"
    )
    status, text = run(silicon, record, step(silicon, "endless", code, limit=3), step(silicon, "next", ""))
    assert os.read(reader, 100) == b"started"
    assert os.read(reader, 100) == b""  # nobody is left to write; with a writer this raises BlockingIOError
    os.close(reader)
    assert status == 1
    assert "| endless | stopped after 3 s |" in text
    assert "| next | passed |" in text


def test_what_an_interrupt_leaves_is_recorded(silicon, record):
    planned = [step(silicon, "first", ""), step(silicon, "second", ""), step(silicon, "third", "")]

    def interrupted(one, record, logs):
        if one.name == "second":
            raise KeyboardInterrupt
        return silicon.End(one, 0, 1.0, record / "log")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(silicon, "run", interrupted)
        status, text = run(silicon, record, *planned)
    assert status == 130
    assert "Interrupted." in text
    assert "| first | passed |" in text
    assert "| second | not run |" in text


def test_goals_are_told_apart(silicon, record):
    def goal(case, measured, *, native=True):
        figures = measured and {"median": measured, "low": measured / 2, "high": measured * 2}
        row = {"case": case, "dtype": "int8", "threads": 1, "of": "kernel", "figure": "of_ceiling"}
        return {**row, "against": "", "goal": 0.75, "measured": figures, "native": native}

    goals = [goal("512x512x512", 0.8), goal("64x64x64", 0.5), goal("16x16x16", None)]
    (record / "goals-1.json").write_text(json.dumps({"goals": goals}))
    _, text = run(silicon, record, step(silicon, "any", ""))
    reached, missed = text.index("## Reached"), text.index("## Not reached")
    assert reached < text.index("512x512x512") < missed
    assert missed < text.index("64x64x64") < text.index("## Not measured") < text.index("16x16x16")
    assert "0.50 (0.25 to 1.00), goal 0.75" in text


def test_a_failed_check_is_named_in_the_summary(silicon, record):
    checks = [
        {"id": "PERM-01", "verdict": "FAIL", "claim": "A claim."},
        {"id": "PERM-02", "verdict": "PASS", "claim": "Other."},
    ]
    (record / "check.json").write_text(json.dumps({"counts": {"PASS": 1, "FAIL": 1}, "checks": checks}))
    _, text = run(silicon, record, step(silicon, "any", ""))
    assert "1 PASS, 1 FAIL." in text
    assert "* PERM-01 FAIL: A claim." in text
    assert "PERM-02" not in text


def test_digests_of_another_cpu_that_differ_are_a_finding(silicon, record, monkeypatch, tmp_path):
    def write(path, **digests):
        entries = [{"family": family, "seed": 1, "sha256": digest} for family, digest in digests.items()]
        path.write_text(json.dumps({"digests": entries}))

    monkeypatch.setattr(silicon, "DIGESTS", tmp_path / "digests.json")
    write(record / "digests.json", int8="a", fp16="b")
    assert silicon.keep_digests(record) == ""
    assert json.loads(silicon.DIGESTS.read_text()) == json.loads((record / "digests.json").read_text())
    write(silicon.DIGESTS, int8="c", bf16="d")
    assert silicon.keep_digests(record) == "differ from digests.json: int8 1"


@pytest.mark.parametrize("page", ["performance.md", "numerics.md"])
def test_every_record_is_shown(page):
    text = (ROOT / "docs" / page).read_text()
    for directory in (ROOT / "docs/records").glob("*/"):
        assert f"records/{directory.name}/summary.md" in text
