"""ci/kernels: what is expected of each kernel, what is otherwise, and what it refuses."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import children
import pytest

from amx.conformance.check import Verdict
from amx.conformance.groups import checks

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "tests/data/guests"


@pytest.fixture
def verdicts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "ci/guest")
    return importlib.import_module("verdicts")


@pytest.fixture
def report(tmp_path):
    """The file of a report with these verdicts."""

    def write(**found):
        each = [{"id": id.replace("_", "-"), "verdict": said, "reason": "why"} for id, said in found.items()]
        (tmp_path / "report").write_text(json.dumps({"checks": each}))
        return tmp_path / "report"

    return write


def run(*words, **environment):
    return children.run(
        [ROOT / "ci/kernels", *words],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_same_verdicts_are_no_difference(verdicts, report, tmp_path):
    (tmp_path / "expected").write_text("# AA-01 is good.\nPASS AA-01 # so is\nPASS AA-02\nSKIP BB-01\n")
    path = report(AA_01="PASS", AA_02="PASS", BB_01="SKIP")
    assert verdicts.main(str(path), str(tmp_path / "expected")) == 0


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"AA_01": "FAIL"}, "AA-01: FAIL (why), expected: PASS"),
        ({}, "AA-01: not made, expected: PASS"),
        ({"AA_01": "PASS", "BB_01": "SKIP"}, "BB-01: SKIP (why), expected: unknown"),
    ],
)
def test_what_is_otherwise_is_named(verdicts, report, tmp_path, capsys, found, line):
    (tmp_path / "expected").write_text("PASS AA-01\n")
    assert verdicts.main(str(report(**found)), str(tmp_path / "expected")) == 1
    assert capsys.readouterr().out == f"{line}\n"


def test_a_kernel_without_a_report_is_otherwise(verdicts, tmp_path):
    assert verdicts.main(str(tmp_path / "none"), str(tmp_path / "none")) == 1


def test_what_is_written_leaves_the_reasons(verdicts, report, tmp_path):
    file = tmp_path / "expected"
    file.write_text("# Reasons.\nPASS BB-01\n")
    assert verdicts.main("--write", str(report(AA_01="PASS", AA_02="SKIP")), str(file)) == 0
    assert file.read_text() == "# Reasons.\nPASS AA-01\nSKIP AA-02\n"


def test_each_kernel_has_expected_verdicts():
    names = [line.split()[0] for line in run("--list").stdout.splitlines()]
    assert sorted(names) == sorted(file.name for file in EXPECTED.iterdir())


@pytest.mark.parametrize("file", sorted(EXPECTED.iterdir()), ids=lambda file: file.name)
def test_they_are_of_all_checks_with_reasons(verdicts, file):
    found = verdicts.expected(file.read_text())
    assert set(found) == {check.id for check in checks()}
    assert set(found.values()) <= set(Verdict.__members__)
    assert file.read_text().startswith("# ")


def test_a_kernel_that_there_is_not():
    done = run("linux-0.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no kernel is named linux-0.1; there are linux-5.10 linux-6.1 " in done.stderr


def test_without_apt_the_status_is_77(tmp_path):
    for tool in ("bash", "dirname", "sed", "id", "nproc", "cut", "grep"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = run(PATH=str(tmp_path), PYTHON=sys.executable)
    words = "kernels: no apt-get, which installs qemu-system-x86_64 and downloads Debian's kernels\n"
    assert (done.returncode, done.stdout, done.stderr) == (77, "", words)
