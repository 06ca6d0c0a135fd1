"""`amx emulate -- amx check`: modelled rows pass, others say why not, and every report says "emulated"."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import children
import machines
import pytest
import stand_in
from preloading import SANITIZED

from amx import diagnosis, machine, xstate
from amx._lib import lib
from amx.conformance.check import Verdict
from amx.conformance.report import html, json_report, junit, ktap, words
from amx.conformance.runner import Report
from amx.conformance.verdict import Result
from amx.lane import Lane, lane_of

whole_programs = pytest.mark.skipif(
    bool(lib.amx_is_stub()) or SANITIZED,
    reason="no machine layer, or a sanitizer that must be preloaded first",
)
BY = "gnr, by amx emulate"
MAIN = "import sys; from amx import cli; sys.exit(cli.main())"
# Groups of which the emulator models every row that is not about the state that XSAVE moves.
MODELLED = [
    *(f"DISC-0{n}" for n in (1, 2, 3, 4, 5, 6, 8)),
    *(f"PERM-0{n}" for n in range(1, 9)),
    *(f"INH-0{n}" for n in (1, 3, 4, 5)),
    *(f"FAULT-0{n}" for n in (1, 2, 4, 5, 6)),
    *(f"ALT-0{n}" for n in (1, 2, 3, 4, 6)),
    *(f"CTX-0{n}" for n in (1, 2, 3)),
    "KVM-01",
    "SBX-02",
]
MODELLED_FROM_OUTSIDE = ["INH-02", "SBX-01"]  # by the tracer
NOT_MODELLED = {
    "SIG-03": "XSAVE of tiles is not modelled",
    "PTR-03": "XSAVE of tiles is not modelled",
    "FAULT-03": "XSAVE of tiles is not modelled",
    "DISC-07": "CPUID is the emulator's",
}


def report(tmp_path, *options):
    """The JSON of the whole suite in an emulated program, and what else the command gave."""
    file = tmp_path / "report.json"
    command = [sys.executable, "-c", MAIN]
    done = children.run(
        [*command, "emulate", "--cpu", "gnr", *options, "--", *command, "check", "--json", file, "--ktap"],
        env={**os.environ, "AMX_BACKEND": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text()), done


def works(way):
    from amx.emulation import probe

    return next(each for each in probe.survey().ways if each.name == way).works


def is_a_user(number):
    """Not in a user namespace that has no such one."""
    ranges = [
        [int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()
    ]
    return any(first <= number < first + count for first, _, count in ranges)


def absent():
    """What this CPU or kernel lacks: rows about it are skipped, and those that depend on them."""
    return [
        reason
        for reason, is_there in {
            "the CPU has no XSAVE": xstate.xcr0() is not None,
            "XINUSE cannot be read": xstate.xinuse() is not None,
            "the auxiliary vector has no AT_MINSIGSTKSZ": machine.Real().getauxval(xstate.AT_MINSIGSTKSZ) > 0,
            "cannot become user 65534": is_a_user(65534),
        }.items()
        if not is_there
    ]


@whole_programs
@pytest.mark.parametrize("options", [[], ["--ptrace"]], ids=["preload", "ptrace"])
def test_the_modelled_rows_pass_and_no_row_fails(tmp_path, options):
    if not works(" ".join(["amx emulate", *options])):
        pytest.skip("this way of emulating does not work here (amx emulate --probe)")
    found, done = report(tmp_path, *options)
    checks = {each["id"]: each for each in found["checks"]}
    wrong = {id: each["reason"] for id, each in checks.items() if each["verdict"] in ("FAIL", "ERROR")}
    assert not wrong
    assert done.returncode == 0
    # Without privileges the tracer has no access to processes that are not dumpable.
    modelled = [*MODELLED, *(MODELLED_FROM_OUTSIDE if options and os.geteuid() == 0 else ())]
    others = {id: checks[id]["reason"] for id in modelled if checks[id]["verdict"] != "PASS"}
    assert {id: reason for id, reason in others.items() if not any(each in reason for each in absent())} == {}
    for id, reason in NOT_MODELLED.items():
        assert checks[id]["verdict"] == "SKIP"
        assert checks[id]["reason"].startswith(reason)
    by = " ".join(["gnr, by amx emulate", *options])
    assert (found["lane"], found["emulated"]) == ("emulated", by)
    assert f"# lane: emulated: {by}: this says nothing about the processor" in done.stdout
    assert "# Subtest: emulated.PERM" in done.stdout


@whole_programs
def test_an_emulated_run_does_not_satisfy_who_requires_hardware():
    command = [sys.executable, "-c", MAIN]
    for lane, status in (("native", 1), ("emulated", 0)):
        done = children.run(
            [*command, "emulate", "--", *command, "check", "PERM-01", "--require", lane],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == status, done.stdout


def diagnosed():
    with machine.use(machines.load("sapphire-rapids")):
        return dataclasses.replace(diagnosis.explain(probe=True), emulated=BY)


def test_hardware_with_amx_is_no_native_lane_while_it_is_emulated():
    with machine.use(machines.load("sapphire-rapids")):
        assert lane_of(dataclasses.replace(diagnosed(), emulated="")) is Lane.NATIVE
        assert lane_of(diagnosed()) is Lane.EMULATED


def test_every_report_says_that_the_run_was_emulated():
    result = Result(stand_in.check("AA-01"), Verdict.PASS, "", "exit 0")
    place = stand_in.environment(lane=Lane.EMULATED, diagnosis=diagnosed())
    run = Report(place, (result.check,), (result,), 1.0)
    assert words.lane(place) == f"emulated: {BY}: this says nothing about the processor or the kernel"
    assert json.loads(json_report.render(run))["emulated"] == BY
    assert "ok 1 emulated.AA\n" in ktap.render(run)
    assert "<title>AMX conformance, emulated: " in html.render(run)
    assert "<h1>AMX conformance, emulated: " in html.render(run)
    assert ("emulated", BY) in list(junit.properties(result, place))


def test_a_report_of_hardware_does_not_say_so():
    result = Result(stand_in.check("AA-01"), Verdict.PASS, "", "exit 0")
    run = Report(stand_in.environment(), (result.check,), (result,), 1.0)
    assert json.loads(json_report.render(run))["emulated"] is None
    assert "emulated" not in ktap.render(run)
    assert "emulated" not in html.render(run)
