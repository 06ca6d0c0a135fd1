"""`amx check`: selection, files, exit status, interruption, and what it says in hostile places."""

import dataclasses
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import children
import machines
import pytest
import stand_in
from stand_in import END, check, see

from amx import cli, machine
from amx._lib import lib
from amx.conformance import check as check_module
from amx.conformance import environment, groups, provoke
from amx.conformance.check import Verdict
from amx.conformance.groups import checks
from amx.conformance.runner import Runner
from amx.lane import Lane

pytestmark = pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")
UNDER_SECCOMP = children.SUPPORT / "under_seccomp.py"
GOOD, BAD = f"{see('x', 3)}; {END}", f"{see('x', 4)}; {END}"
CHECKS = [check("AA-01"), check("AA-02"), check("BB-01")]


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run `amx check` with stand-in provocations on a machine with AMX: (status, output, errors)."""
    monkeypatch.setattr(groups, "load", lambda: None)
    monkeypatch.setattr(check_module, "_checks", {each.id: each for each in CHECKS})
    monkeypatch.setattr(environment, "read", lambda **asked: stand_in.environment())

    def run(texts, *words):
        program = stand_in.write(tmp_path, dict(zip([each.id for each in CHECKS], texts, strict=False)))
        monkeypatch.setenv(provoke.PROGRAM, str(program))
        status = cli.main(["check", *words])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("texts", "status"),
    [
        ([GOOD, GOOD, GOOD], 0),
        ([GOOD, "exit 77", "exit 77"], 0),
        (["exit 77", "exit 77", "exit 77"], 77),
        ([GOOD, BAD, GOOD], 1),
        ([GOOD, "kill -9 $$", GOOD], 1),
        ([GOOD, "exit 70", GOOD], 1),
        (["exit 77", "exit 70", "exit 77"], 1),
    ],
)
def test_the_exit_status(run, texts, status):
    assert run(texts)[0] == status


def test_a_selection_runs_nothing_else(run):
    status, output, _ = run([GOOD, BAD, BAD], "aa-01")
    assert status == 0
    assert "AA-02" not in output
    assert "1 check, lane native: 1 PASS" in output


@pytest.mark.parametrize(
    "words",
    [
        ["ZZ"],
        ["--require", "model"],
        ["--ktap", "AA-01"],
        ["--json", "/no/such/directory/x"],
        ["--html", "/"],
        ["--ktap", "-", "--json", "-"],
    ],
)
def test_wrong_usage_is_2(run, words, capsys):
    with pytest.raises(SystemExit) as ended:
        run([GOOD], *words)
    assert ended.value.code == 2


def test_the_list_names_every_check_and_runs_none(run):
    status, output, _ = run(["exit 70"] * 3, "--list")
    assert status == 0
    assert [line.split()[0] for line in output.splitlines()] == ["AA-01", "AA-02", "BB-01"]


def test_the_files_are_written(run, tmp_path):
    files = {option: tmp_path / option for option in ("json", "ktap", "html")}
    status, output, _ = run([GOOD, BAD, GOOD], *(f"--{option}={file}" for option, file in files.items()))
    assert status == 1
    assert "FAIL  AA-02" in output
    assert json.loads(files["json"].read_text())["counts"]["FAIL"] == 1
    assert files["ktap"].read_text().startswith("KTAP version 1\n")
    assert files["html"].read_text().startswith("<!DOCTYPE html>\n")


@pytest.mark.parametrize("words", [["--ktap"], ["--json", "-"], ["--html", "-"]])
def test_a_report_on_standard_output_stands_there_alone(run, words):
    _, output, errors = run([GOOD, BAD, GOOD], *words)
    assert output.startswith(("KTAP version 1\n", "{\n", "<!DOCTYPE html>\n"))
    assert "FAIL  AA-02" in errors


def test_a_report_that_cannot_be_written_is_2_and_says_so_and_the_others_are(run, tmp_path):
    """Here one that could be at first: a full device."""
    status, output, errors = run([GOOD] * 3, "--json", "/dev/full", "--ktap", str(tmp_path / "ktap"))
    assert status == 2
    assert errors == "amx check: cannot write /dev/full: No space left on device\n"
    assert "3 PASS" in output
    assert (tmp_path / "ktap").read_text().startswith("KTAP version 1\n")


@pytest.mark.parametrize(("lane", "status"), [("native", 0), ("any", 0), ("emulated", 1)])
def test_a_required_lane_that_is_missing_is_a_failure(run, lane, status):
    found, output, _ = run([GOOD] * 3, "--require", lane)
    assert found == status
    assert ("Required and missing: emulated lane" in output) == bool(status)


# The whole command in a process of its own, on the stand-in checks.
COMMAND = """
import sys
import stand_in
from amx.cli import main
stand_in.install(*(stand_in.check(id) for id in ("AA-01", "AA-02", "BB-01")))
sys.exit(main(["check", *sys.argv[1:]]))
"""


def start(tmp_path, *texts, arguments=(), **more):
    program = stand_in.write(tmp_path, dict(zip(("AA-01", "AA-02", "BB-01"), texts, strict=True)))
    return children.start(
        [sys.executable, "-c", COMMAND, *arguments],
        env={**os.environ, "PYTHONPATH": str(children.SUPPORT), provoke.PROGRAM: str(program)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def wait_for(path):
    for _ in range(1000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} does not appear")


def test_an_interrupt_gives_a_partial_summary(tmp_path):
    """What was made is reported, what was not is named, and it is no success."""
    there, report = tmp_path / "there", tmp_path / "report"
    child = start(tmp_path, GOOD, f"touch {there}; exec sleep 20", GOOD, arguments=["--json", str(report)])
    wait_for(there)
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert errors == ""
    assert re.search("INTERRUPTED, 2 not made. 1 check, lane .*: 1 PASS, in", output)
    assert json.loads(report.read_text())["not_made"] == ["AA-02", "BB-01"]


# The weak points of the kernel's own selftest.


def test_nothing_vanishes_when_the_output_is_piped(tmp_path):
    """Not even when the run itself is killed: each line has left before the next check begins."""
    there = tmp_path / "there"
    child = start(tmp_path, GOOD, BAD, f"touch {there}; exec sleep 20")
    wait_for(there)
    child.kill()
    output = child.communicate(timeout=60)[0]
    assert re.search("^PASS  AA-01", output, re.MULTILINE)
    assert re.search("^FAIL  AA-02", output, re.MULTILINE)


def test_no_failure_ends_in_exit_status_0(tmp_path):
    child = start(tmp_path, GOOD, BAD, GOOD)
    child.communicate(timeout=60)
    assert child.returncode == 1


def test_a_provocation_that_is_killed_keeps_its_output_when_piped():
    """The program itself writes each observation at once: a kill right after one does not lose it."""
    code = f"import os; os.execv({provoke.program()!r}, ['amx-provoke', 'run', 'DISC-07'])"
    done = children.run_python(UNDER_SECCOMP, "kill", "0x1021", code)
    assert children.how_it_ended(done) == "SIGSYS"
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"xcr0", "cpuid"} <= {key for each in seen for key in each}


@pytest.mark.parametrize(
    ("id", "right", "wrong"),
    [("DISC-02", -errno.EFAULT, -errno.EPERM), ("ALT-01", -errno.ENOSPC, -errno.ENOMEM)],
)
def test_a_wrong_errno_is_a_failure(tmp_path, monkeypatch, id, right, wrong):
    """The selftest takes any error for the right one. Here the model's answer is falsified on its way."""
    real = provoke.program()
    declared = {each.id: each for each in checks()}
    place = stand_in.environment(lane=Lane.MODEL)
    for replacement, verdict in ((right, Verdict.PASS), (wrong, Verdict.FAIL)):
        text = f'{shlex.quote(real)} run {id} --model | sed "s/{right}\\b/{replacement}/"'
        program = stand_in.write(tmp_path, {id: text})
        monkeypatch.setenv(provoke.PROGRAM, str(program))
        alone = dataclasses.replace(declared[id], depends=())
        assert Runner(place, catalogue=[alone]).result(alone).verdict is verdict


FAKE_CATALOGUE = """
import sys
sys.path.insert(0, {tests!r})
import stand_in
stand_in.install(*(stand_in.check(id) for id in ("AA-01", "AA-02", "BB-01", "CC-01")))
"""


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("-p", "no:faulthandler", "-s")])
def test_pytest_judges_alike(tmp_path, arguments):
    """PASS, FAIL, SKIP and ERROR are pytest's; JUnit has id, claim, verdict and what was seen."""
    program = stand_in.write(tmp_path, {"AA-01": GOOD, "AA-02": BAD, "BB-01": "exit 77", "CC-01": "exit 70"})
    (tmp_path / "fake.py").write_text(FAKE_CATALOGUE.format(tests=str(children.SUPPORT)))
    done = children.run(
        [
            *(sys.executable, "-X", "faulthandler", "-m", "pytest", "--pyargs", "amx.conformance", "-rA"),
            *("-p", "fake", "-p", "no:cacheprovider", "--junitxml=junit.xml", *arguments),
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path), provoke.PROGRAM: str(program)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search("1 failed, 1 passed, 1 skipped.* 1 error", done.stdout), done.stdout
    assert "observed: x: 4" in done.stdout
    cases = {case.get("name"): case for case in ElementTree.parse(tmp_path / "junit.xml").iter("testcase")}
    assert set(cases) == {f"test_conformance[{id}]" for id in ("AA-01", "AA-02", "BB-01", "CC-01")}
    seen = {
        each.get("name"): each.get("value")
        for each in cases["test_conformance[AA-02]"].findall("./properties/property")
    }
    assert (seen["id"], seen["claim"], seen["verdict"]) == ("AA-02", "claim of AA-02", "FAIL")
    assert json.loads(seen["observations"]) == [{"x": 4}]
    assert cases["test_conformance[AA-02]"].find("failure") is not None
    assert cases["test_conformance[CC-01]"].find("error") is not None
    assert cases["test_conformance[BB-01]"].find("skipped") is not None


# The real catalogue, in places that do not let it have its way.

REAL = "import sys; from amx.cli import main; sys.exit(main(['check', '--json', sys.argv[-1]]))"
OPERATIONS = "0x1021,0x1022,0x1023,0x1024,0x1025"


def truthful(done, report):
    """No traceback, no error of the harness, and the summary is that of the report; the report."""
    assert "Traceback" not in done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert [each["id"] for each in found["checks"]] == [each.id for each in checks()]
    assert [each["id"] for each in found["checks"] if each["verdict"] == "ERROR"] == []
    assert found["exit_status"] == done.returncode
    counts = ", ".join(f"{count} {name}" for name, count in found["counts"].items() if count)
    assert f"{len(found['checks'])} checks, lane {found['lane']}: {counts}, in " in done.stdout
    return found


def test_a_deliberate_fault_is_found_named_and_what_rests_on_it_is_skipped(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(environment.MODEL, "1")
    monkeypatch.setenv(environment.FAULT, "request-lies")
    report = tmp_path / "report"
    assert cli.main(["check", "PERM-01", "PERM-02", "PERM-04", "--json", str(report)]) == 1
    found = json.loads(report.read_text())
    assert (found["lane"], found["fault"]) == ("model", "request-lies")
    assert [each["verdict"] for each in found["checks"]] == ["PASS", "FAIL", "SKIP"]
    assert "PERM-02, which is FAIL" in found["checks"][2]["reason"]
    assert "with the deliberate fault request-lies" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["errno=0", "errno=1", "errno=38", "kill"])
def test_under_a_seccomp_filter_it_ends_with_a_truthful_summary(tmp_path, action):
    """Where the kernel does not answer, DISC-01 cannot hold, and nothing that needs AMX is judged."""
    report = tmp_path / "report"
    code = f"import sys; sys.argv = ['amx', {str(report)!r}]; {REAL}"
    done = children.run_python(UNDER_SECCOMP, action, OPERATIONS, code)
    found = truthful(done, report)
    verdicts = {each["id"]: each for each in found["checks"]}
    assert verdicts["DISC-01"]["verdict"] == "FAIL"
    assert ("SIGSYS" in verdicts["DISC-01"]["reason"]) == (action == "kill")
    assert found["exit_status"] == 1
    assert found["lane"] == "none"
    assert {each["verdict"] for each in found["checks"] if "AMX" in each["needs"]} == {"SKIP"}
    assert "seccomp filter" in {each["name"]: each["text"] for each in found["machine"]}["user"]


def test_on_a_recorded_old_kernel_nothing_is_judged(tmp_path, capsys):
    report = tmp_path / "report"
    with machine.use(machines.load("kernel-5.15")):
        status = cli.main(["check", "--json", str(report)])
    assert status == 77
    found = json.loads(report.read_text())
    assert found["kernel"].startswith("5.15")
    assert found["counts"]["SKIP"] == len(found["checks"])
    native = [each for each in found["checks"] if {"AMX", "OPT_IN"} & set(each["needs"]) == {"AMX"}]
    reasons = {each["reason"] for each in native}
    assert reasons == {"The kernel is older than 5.16 and knows nothing of AMX"}
    assert "Nothing could be judged" in capsys.readouterr().out


def test_on_a_kernel_that_calls_itself_old_later_claims_are_not_judged(tmp_path):
    """The real kernel, with the release that personality(UNAME26) gives and the operations unknown."""
    report = tmp_path / "report"
    code = (
        "import ctypes, sys; assert ctypes.CDLL(None).personality(0x0020000) >= 0; "
        f"sys.argv = ['amx', {str(report)!r}]; {REAL}"
    )
    done = children.run_python(UNDER_SECCOMP, "errno=22", OPERATIONS, code)
    found = truthful(done, report)
    assert found["kernel"].startswith("2.6.")
    judged = [each for each in found["checks"] if each["verdict"] in ("PASS", "FAIL")]
    assert not any(re.match(r"\d", each["since"]) for each in judged)
    assert not [each["id"] for each in judged if each["verdict"] == "FAIL"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_as_another_user_it_ends_with_a_truthful_summary():
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are closed to others
        os.chmod(place, 0o777)
        found = as_nobody(Path(place))
    assert {each["verdict"] for each in found["checks"] if "ROOT" in each["needs"]} <= {"SKIP"}
    assert found["counts"]["FAIL"] == 0
    assert "uid 65534" in {each["name"]: each["text"] for each in found["machine"]}["user"]


def as_nobody(place):
    report = place / "report"
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c"]
    if not shutil.which("setpriv") or children.run([*other, "import amx"], check=False).returncode:
        pytest.skip("no setpriv, or another user cannot reach this interpreter and the package")
    done = children.run(
        [*other, REAL, report],
        env={**os.environ, "TMPDIR": str(place), "HOME": str(place)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return truthful(done, report)


def test_here_nothing_is_broken(tmp_path):
    """On the machine of the tests, as its user, with faulthandler and the output piped."""
    report = tmp_path / "report"
    done = children.run(
        [sys.executable, "-X", "faulthandler", "-c", REAL, report],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = truthful(done, report)
    failed = [
        (each["id"], each["reason"]) for each in found["checks"] if each["verdict"] == Verdict.FAIL.value
    ]
    assert failed == []
    assert Path(report).exists()
