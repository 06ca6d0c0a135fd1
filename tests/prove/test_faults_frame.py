"""The checks of saved register state can fail: each deliberate fault fails exactly the rows it breaks.

Against the kernel of this machine, and against the model where that can stand in. Rows that need AMX are
judged where there is AMX.
"""

import dataclasses
import functools
import json
from concurrent.futures import ThreadPoolExecutor

import children
import pytest

from amx.conformance import environment, provoke
from amx.conformance.check import Verdict
from amx.conformance.groups import checks
from amx.conformance.runner import Runner
from amx.lane import Lane

GROUPS = ("SIG", "SRET", "PTR", "CORE", "CTX", "LIFE", "KVM", "XS", "ISA")
ASKED = ("KVM-04", "LIFE-04")  # of the optional rows; LIFE-03 takes a CPU away
SLOW = ("SIG-07", "CTX-03")  # run where a row of their group is broken
JUDGED = (Verdict.PASS, Verdict.INFO)

# Every row of these groups that the fault breaks; those with + only where they find tiles to lose. Rows that
# depend on a broken one are skipped instead.
XS = "XS-02 XS-05 XS-06 XS-07 XS-19"
BREAKS = {
    "frame-claims-tile-data": "SIG-01 SIG-02 SIG-05",
    "frame-compacted": "SIG-08",
    "frame-without-magic2": f"SIG-01 SIG-02 SIG-03 {XS}",
    "frame-size-of-permission": "SIG-02 SIG-05",
    "frame-writes-released-tiles": "SIG-04",
    "frame-hides-hi16": "XS-07",
    "handler-starts-configured": "SIG-06",
    "sigreturn-repairs-magic": "SRET-03",
    "sigreturn-ignores-header": "SRET-04",
    "sigreturn-drops-edits": f"SRET-01 SRET-02 SRET-03 SRET-04 SRET-07 {XS}",
    "sigreturn-loses-opmask": "XS-05",
    "sigreturn-grants-claims": "SRET-05",
    "sigreturn-loops": "SRET-06",
    "sigreturn-loses-tiles": "SIG-06 SIG-07 SRET-01 SRET-03+ SRET-04+ SRET-07",
    "regset-short": "PTR-01",
    "regset-takes-short": "PTR-04",
    "regset-takes-headers": "PTR-05 PTR-06",
    "regset-shows-stale-tiles": "PTR-02",
    "regset-kills": f"PTR-03 PTR-04 PTR-05 PTR-06 {XS}",
    "regset-drops-hi16": "XS-07",
    "regset-drops-tiles": "PTR-03",
    "core-layout-moved": "CORE-02",
    "core-without-layout": "CORE-02",
    "core-shares-tiles": "CORE-01",
    "core-stale-tiles": "CORE-01",
    "switch-loses-tiles": "CTX-01 CTX-02 CTX-03 CTX-04",
    "switch-leaks-configuration": "CTX-02",
    "switch-loses-avx": "XS-02 XS-06",  # a VEX instruction of 256 bits clears what is above
    "switch-loses-opmask": "XS-05",
    "switch-loses-hi256": "XS-06",
    "children-die-at-birth": "SRET-06 PTR-01 PTR-04 PTR-05 CORE-01 CORE-02 CTX-02 CTX-03 CTX-04"
    f" LIFE-04 KVM-02 {XS}",
    "buffers-leak": "LIFE-01",
    "buffer-for-every-thread": "LIFE-01",
    "guest-grants-host": "KVM-01",
    "guest-checks-signal-stack": "KVM-01",
    "guest-never-locked": "KVM-02",
    "guest-locked-though-granted": "KVM-03",
    "kvm-undersizes": "KVM-04",
    "kvm-offers-too-much": "KVM-04",
    "xsave-skips-tile-data": "ISA-01",
    "xsavec-writes-all": "ISA-01",
}


@functools.cache
def place(model):
    """Where the checks run: this machine, or the model of a kernel with AMX."""
    return environment.read(model=model)


def results(model, fault, ids):
    """The result of each row under a fault, by id."""
    runner = Runner(dataclasses.replace(place(model), fault=fault), asked=ASKED)
    chosen = [check for check in checks() if check.id in ids]
    with ThreadPoolExecutor(4) as pool:  # some rows do little but wait
        return {result.check.id: result for result in pool.map(runner.result, chosen)}


@functools.cache
def sound(model):
    """The rows of these groups that are judged where nothing is broken."""
    rows = [check.id for check in checks() if check.group in GROUPS and check.id != "LIFE-03"]
    made = results(model, "", rows)
    return {id for id, result in made.items() if result.verdict in JUDGED}


def broken(fault, model):
    """The rows that must fail: of those that a fault breaks, the ones that are judged."""
    native = place(model).lane is Lane.NATIVE
    rows = {row.rstrip("+") for row in BREAKS[fault].split() if native or not row.endswith("+")}
    return rows & sound(model)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["group", "all"])
@pytest.mark.parametrize("fault", BREAKS)
def test_a_fault_fails_exactly_the_rows_that_it_breaks(fault, whole):
    """Of the groups in which it breaks one, or of all of these."""
    places = [model for model in (False, True) if broken(fault, model)]
    if not places:
        cause = place(False).diagnosis.cause
        why = cause.words if cause else "see `amx check`"
        pytest.skip(f"{BREAKS[fault]} is judged neither here nor on the model: {why}")
    groups = {row.partition("-")[0] for row in BREAKS[fault].split()}
    for model in places:
        rows = {row for row in sound(model) if row.partition("-")[0] in groups or (whole and row not in SLOW)}
        made = results(model, fault, rows)
        failed = {id for id, result in made.items() if result.verdict is Verdict.FAIL}
        assert failed == broken(fault, model), f"on {'the model' if model else 'this machine'}"
        for id in rows - failed:
            dependent = made[id].verdict is Verdict.SKIP and made[id].reason.startswith(
                "says nothing without"
            )
            assert made[id].verdict in JUDGED or dependent, f"{id}: {made[id]}"


def test_every_failure_says_what_was_expected_and_observed():
    made = results(False, "regset-takes-short", {"PTR-04"})["PTR-04"]
    assert ("-EFAULT", "0") in {(each.expected, each.observed) for each in made.broken}


@pytest.mark.parametrize("fault", ["buffers-of-others-freed-late", "buffers-of-others-once"])
def test_other_processes_do_not_fail_the_count_of_buffers(fault):
    """The count is the whole system's: those gone may still be in it, and others come and go."""
    if "LIFE-01" not in sound(True):
        pytest.skip(f"LIFE-01 is not judged on the model: {results(True, '', {'LIFE-01'})}")
    made = results(True, fault, {"LIFE-01"})["LIFE-01"]
    assert made.verdict is Verdict.PASS, made


def test_permission_that_cannot_be_read_is_no_error_of_the_harness():
    """As under a filter that denies ARCH_GET_XCOMP_PERM alone, which PERM-01 is the row for."""
    made = results(True, "permission-unreadable", sound(True) - set(SLOW) | {"PERM-01"})
    assert made.pop("PERM-01").verdict is Verdict.FAIL
    assert {id: result for id, result in made.items() if result.verdict is Verdict.ERROR} == {}


def test_every_row_of_these_groups_can_fail():
    """But LIFE-03, which takes a CPU away, and LIFE-05, which claims nothing."""
    broken = {row.rstrip("+") for rows in BREAKS.values() for row in rows.split()}
    mine = {check.id for check in checks() if check.group in GROUPS}
    assert mine - broken == {"LIFE-03", "LIFE-05"}


def test_each_group_has_two_faults():
    for group in GROUPS:
        breaking = [fault for fault, rows in BREAKS.items() if f"{group}-" in rows]
        assert len(breaking) >= 2, f"{group}: {breaking}"


def test_the_program_knows_these_faults():
    listed = children.run([provoke.program(), "faults"], capture_output=True, text=True, check=True).stdout
    assert set(BREAKS) <= {json.loads(line)["fault"] for line in listed.splitlines()}
