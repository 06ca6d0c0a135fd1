"""amx-provoke's own runs through a log: the verdicts of a run here, on the machine and on the model."""

import json
import os
import subprocess
import sys

import guest_log
import pytest

from amx import cli
from amx._lib import lib
from amx.conformance import environment, provoke
from amx.conformance.check import Verdict
from amx.conformance.groups import checks
from amx.conformance.guest import judging, log
from amx.conformance.runner import Runner
from amx.conformance.selection import select

pytestmark = pytest.mark.skipif(lib.amx_is_stub() == 1, reason="this build has no machine layer")
GROUPS = ("DISC", "PERM", "FAULT", "SBX", "ISA", "KVM")
FAULTS = {  # of the program, on its model, and the row that it breaks
    "errno-swapped": ["PERM-03"],
    "wrong-si-code": ["FAULT-01"],
    "bad-palette-accepted": ["FAULT-05"],
    "altstack-ignored": ["ALT-01"],
}


def all_of(tmp_path, ids, *options):
    """The log of `amx-provoke all`."""
    plan = tmp_path / "plan"
    timeouts = {check.id: check.timeout for check in checks()}
    plan.write_text("".join(f"{id} {timeouts[id]:g}\n" for id in ids))
    command = [provoke.program(), "all", "--plan", str(plan), *options]
    variables = {**os.environ, provoke.DIRECTORY: str(tmp_path)}
    return subprocess.run(command, stdout=subprocess.PIPE, env=variables, timeout=300, check=False).stdout


def judged(*texts):
    found = log.read(texts)
    place = judging.environment(found, source="a.log")
    selection = judging.chosen(found, [])
    results = judging.LogRunner(found, place, asked=selection.asked).run(selection.checks)
    return judging.report(found, place, selection, results, "")


def verdicts(results):
    return {result.check.id: (result.verdict, result.reason) for result in results}


@pytest.mark.parametrize("framing", [["--frames"], []], ids=["frames", "lines"])
def test_a_log_of_this_machine_is_judged_as_the_run_here(tmp_path, framing):
    chosen = select(GROUPS)
    here = Runner(environment.read(model=False), asked=()).run(chosen.checks)
    ids = [check.id for check in chosen.checks]
    report = judged(all_of(tmp_path, ids, *framing))
    expected, found = verdicts(here), verdicts(report.results)
    asked = [id for id, (_, reason) in expected.items() if not reason.startswith("optional")]
    assert {id: found[id][0] for id in asked} == {id: expected[id][0] for id in asked}
    assert report.trouble == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_through_the_log_exactly_what_it_fails_here(tmp_path, fault):
    """Of its group, and of what that rests on."""
    wanted = {check.id for check in checks() if check.group == FAULTS[fault][0].partition("-")[0]}
    for check in reversed(list(checks())):
        wanted |= set(check.depends) if check.id in wanted else set()
    ids = [check.id for check in checks() if check.id in wanted]
    report = judged(all_of(tmp_path, ids, "--frames", "--model", "--fault", fault))
    failed = [result.check.id for result in report.results if result.verdict is Verdict.FAIL]
    assert failed == FAULTS[fault]
    assert not [result for result in report.results if result.verdict is Verdict.ERROR]
    assert (report.environment.fault, report.environment.lane.value) == (fault, "model")


def test_the_command_judges_files_and_writes_all_reports(tmp_path, capsys):
    """As of a run here; the status is the report's."""
    file, report = tmp_path / "\x1b[31mconsole.log", tmp_path / "report.json"
    file.write_bytes(all_of(tmp_path, ["ISA-01"], "--frames"))
    for option in ("--ktap", "--html", "--markdown"):
        cli.main(["check", "--judge", str(file), option, str(tmp_path / option)])
        assert (tmp_path / option).stat().st_size > 0
    status = cli.main(["check", "--judge", str(file), "--json", str(report)])
    found = json.loads(report.read_text())
    assert status == found["exit_status"]
    assert found["log"].endswith(r"\x1b[31mconsole.log")
    assert [each["id"] for each in found["checks"]] == ["ISA-01"]
    assert "\x1b" not in capsys.readouterr().out


def test_the_command_takes_the_standard_input(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "amx", "check", "--judge", "-", "--ktap=-"],
        input=guest_log.framed(guest_log.whole({"PERM-01": [{"end": True}]})),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 77  # what PERM-01 rests on is not in it
    assert done.stdout.startswith(b"KTAP version 1\n# lane: native: AMX of this machine")


def test_a_lane_can_be_required_of_a_log(tmp_path, capsys):
    file = tmp_path / "log"
    file.write_bytes(guest_log.framed(guest_log.whole({"PERM-01": []}, machine="ice-lake")))
    assert cli.main(["check", "--judge", str(file), "--require", "native"]) == 1
    assert "native lane (the lane is none. The processor has no AMX" in capsys.readouterr().out


def test_a_log_without_a_line_of_ours_has_status_1_and_one_sentence(tmp_path, capsys):
    file = tmp_path / "log"
    file.write_bytes(b"SeaBIOS\r\nBooting from ROM..\x1b[2J\r\n")
    assert cli.main(["check", "--judge", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"amx check: {file} cannot be judged: no line of amx-provoke is in it: the last lines are "
        "SeaBIOS / Booting from ROM..\n"
    )


@pytest.mark.parametrize(
    "words",
    [["a", "b", "c"], ["-", "-"], ["PERM"], ["a", "--model"], ["a", "--compare", "b", "c"]],
)
def test_wrong_usage_is_refused(words):
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "--judge", *words])
    assert ended.value.code == 2


def test_what_cannot_be_read_is_status_2(tmp_path, capsys):
    assert cli.main(["check", "--judge", str(tmp_path / "none")]) == 2
    assert cli.main(["check", "--judge", str(tmp_path)]) == 2
    with open(tmp_path / "large", "wb") as file:
        file.truncate((64 << 20) + 1)
    assert cli.main(["check", "--judge", str(tmp_path / "large")]) == 2
    assert "it has more than 67,108,864 bytes" in capsys.readouterr().err
