"""The checks of permission can fail: each deliberate fault fails exactly the rows it breaks.

On the model of a kernel with AMX, over the whole catalogue, and for what can be told without AMX also on
the kernel of this machine.
"""

import dataclasses
import functools
import json
import os

import children
import pytest

from amx.conformance import environment, provoke
from amx.conformance.check import Verdict
from amx.conformance.groups import checks
from amx.conformance.runner import Runner

try:
    PROGRAM = provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)

GROUPS = ("DISC", "PERM", "INH", "FAULT", "ALT", "SBX")
ASKED = ("PERM-10",)  # of the optional rows
JUDGED = (Verdict.PASS, Verdict.INFO)

# Every row that the fault breaks. Rows that depend on a broken one are skipped instead.
ON_THE_MODEL = {
    "supp-contradicts-cpuid": "DISC-01",
    "bad-pointer-accepted": "DISC-02",
    "dead-proposal-grants": "DISC-03",
    "unknown-op-accepted": "DISC-04",
    "cpuid-follows-permission": "DISC-05",
    "geometry-differs": "DISC-06",
    "auxv-without-tiles": "DISC-08",
    "tile17-missing-initially": "PERM-01",
    "permission-is-unreadable": "DISC-02 PERM-01",  # what else reads it depends on PERM-01
    "request-lies": "PERM-02",
    "request-returns-ebusy": "PERM-02",
    "request-replaces-mask": "PERM-02",
    "errno-swapped": "PERM-03",
    "every-number-is-known": "PERM-03",
    "permission-per-thread": "PERM-04 PERM-06",
    "refused-request-grants": "PERM-03 PERM-05",
    "second-request-fails": "PERM-05 PERM-08",
    "leader-alone-requests": "PERM-06",
    "leader-must-live": "PERM-07",
    "concurrent-requests-are-busy": "PERM-08",
    "tracer-may-request": "PERM-09",
    "request-needs-privilege": "PERM-10",
    "permission-shared-by-fork": "INH-01 INH-02",
    "permission-dropped-by-fork": "INH-01",
    "fork-keeps-tile-data": "INH-03",
    "thread-inherits-data": "INH-04",
    "config-not-inherited": "INH-03 INH-04",
    "exec-keeps-permission": "INH-05",
    "exec-keeps-config": "INH-05",
    "wrong-si-code": "FAULT-01",
    "wrong-si-addr": "FAULT-01",
    "store-without-permission": "FAULT-01",
    "config-needs-permission": "FAULT-02",
    "initial-data-needs-permission": "FAULT-02",
    "faulting-load-is-imprecise": "FAULT-03",
    "blocked-signal-waits": "FAULT-04",
    "ignored-signal-is-dropped": "FAULT-04",
    "bad-palette-accepted": "FAULT-05",
    "no-config-looks-like-no-permission": "FAULT-05",
    "load-is-not-retried": "FAULT-06",
    "altstack-ignored": "ALT-01",
    "altstack-refusal-as-documented": "ALT-01",
    "altstack-must-exceed-minimum": "ALT-02",
    "altstack-other-threads-ignored": "ALT-03",
    "small-altstack-after-permission": "ALT-04",
    "autodisarm-unchecked": "ALT-04",
    "altstack-race-is-lost": "ALT-06",
    "altstack-overflow-unnoticed": "ALT-07",
    "filter-takes-tiles": "SBX-02",
    "privilege-loss-takes-tiles": "SBX-02",
}
# Of these groups' rows, with AMX or without.
HERE = {
    "supp-contradicts-cpuid": "DISC-01 DISC-07",
    "permission-is-unreadable": "DISC-02 PERM-01",
    "bad-pointer-accepted": "DISC-02",
    "dead-proposal-grants": "DISC-03",
    "unknown-op-accepted": "DISC-04",
    "errno-swapped": "PERM-03",
    "every-number-is-known": "PERM-03",
    "tracer-may-request": "PERM-09",
    "frame-hides-start-row": "FAULT-07",
    "altstack-without-room-for-frame": "ALT-05",
    "altstack-overflow-unnoticed": "ALT-07",
    "lies-are-believed": "SBX-01",
    "filter-errno-changed": "SBX-01",
}
ONLY_REAL = {"DISC-07", "FAULT-07", "ALT-05", "SBX-01"}  # no model shows it
OPTIONAL = {"PERM-11", "DISC-09", "FAULT-08", "FAULT-09", "ALT-08"}  # and not asked for here
SLOW = {"ALT-06": "altstack autodisarm", "CTX-03": "fork", "SIG-07": "data"}  # run for faults of this


@functools.cache
def place(model):
    """Where the checks run: the model of a kernel with AMX, or this machine."""
    return environment.read(model=model)


def results(model, fault, ids):
    """The result of each row under a fault, by id."""
    runner = Runner(dataclasses.replace(place(model), fault=fault), asked=ASKED)
    return {check.id: runner.result(check) for check in checks() if check.id in ids}


def rows(fault=""):
    slow = {id for id, names in SLOW.items() if fault and not any(name in fault for name in names.split())}
    return {check.id for check in checks() if check.id not in {"LIFE-03", *slow}}


@functools.cache
def sound(model):
    """The rows that are judged where nothing is broken."""
    return {id for id, result in results(model, "", rows()).items() if result.verdict in JUDGED}


def fails_exactly(model, fault, expected, looked_at):
    made = results(model, fault, looked_at)
    failed = {id for id, result in made.items() if result.verdict is Verdict.FAIL}
    assert failed == set(expected.split())
    for id in looked_at - failed:
        dependent = made[id].verdict is Verdict.SKIP and made[id].reason.startswith("says nothing without")
        assert made[id].verdict in JUDGED or dependent, f"{id}: {made[id]}"


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["group", "all"])
@pytest.mark.parametrize("fault", ON_THE_MODEL)
def test_a_fault_fails_exactly_the_rows_that_it_breaks(fault, whole):
    """Of the groups in which it breaks one, or of the whole catalogue."""
    if fault == "request-needs-privilege" and os.geteuid() != 0:
        pytest.skip("without root this breaks every request")
    groups = {row.partition("-")[0] for row in ON_THE_MODEL[fault].split()}
    looked_at = {row for row in sound(True) & rows(fault) if whole or row.partition("-")[0] in groups}
    fails_exactly(True, fault, ON_THE_MODEL[fault], looked_at)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["group", "all"])
@pytest.mark.parametrize("fault", HERE)
def test_so_it_does_on_this_kernel(fault, whole):
    groups = GROUPS if whole else {row.partition("-")[0] for row in HERE[fault].split()}
    mine = {check.id for check in checks() if check.group in groups}
    looked_at = sound(False) & rows(fault) & mine
    if not looked_at.issuperset(HERE[fault].split()):
        reasons = {result.reason for result in results(False, "", set(HERE[fault].split())).values()}
        pytest.skip(f"{HERE[fault]} is not judged here: {' '.join(reasons)}")
    fails_exactly(False, fault, HERE[fault], looked_at)


def test_the_model_passes_every_row_that_it_can_carry():
    mine = {check.id for check in checks() if check.group in GROUPS}
    assert {id for id in mine - ONLY_REAL - OPTIONAL if id not in sound(True)} == set()


def test_a_row_that_depends_on_a_broken_one_names_it():
    made = results(True, "altstack-ignored", {"ALT-02", "ALT-06"})
    assert made["ALT-02"].verdict is made["ALT-06"].verdict is Verdict.SKIP
    assert "ALT-01" in made["ALT-02"].reason
    assert "ALT-03" in made["ALT-06"].reason


def test_each_group_has_two_faults():
    for group in GROUPS:
        breaking = {
            fault for breaks in (ON_THE_MODEL, HERE) for fault in breaks if f"{group}-" in breaks[fault]
        }
        assert len(breaking) >= 2, f"{group}: {breaking}"


def test_every_row_of_these_groups_can_fail():
    broken = {id for breaks in (ON_THE_MODEL, HERE) for ids in breaks.values() for id in ids.split()}
    mine = {check.id for check in checks() if check.group in GROUPS}
    assert mine - broken - OPTIONAL == set()


def test_the_program_knows_these_faults():
    listed = children.run([PROGRAM, "faults"], capture_output=True, text=True, check=True).stdout
    assert set(ON_THE_MODEL) | set(HERE) <= {json.loads(line)["fault"] for line in listed.splitlines()}
