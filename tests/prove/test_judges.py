"""Judges look at all that a provocation saw: a run on the model of which one observation is altered fails."""

import dataclasses
import errno

import pytest

from amx.conformance import provoke, verdict
from amx.conformance.check import Need, Verdict
from amx.conformance.groups import checks

try:
    provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)

CATALOGUE = {check.id: check for check in checks()}
XTILEDATA = 1 << 18


@pytest.fixture(scope="module")
def runs():
    """Sound runs on the model, by id; each is made once."""
    made = {}

    def run(id):
        if id not in made:
            made[id] = provoke.provoke(id, model=True, fault="", timeout=CATALOGUE[id].timeout)
        return made[id]

    return run


def judged(id, run, alter=lambda key, value: value):
    """The result after `alter(key, value)`; None leaves the observation out."""
    altered = [(key, alter(key, value)) for key, value in run.observations]
    seen = tuple((key, value) for key, value in altered if value is not None)
    return verdict.judge(CATALOGUE[id], dataclasses.replace(run, observations=seen))


def put(name, value):
    """One observation replaced; `value` may be a function of the old value."""

    def alter(key, old):
        if key != name:
            return old
        return value(old) if callable(value) else value

    return alter


def refusals(known):
    """Answers to requests for 0 to 63, 18 left out, by a kernel that knows the numbers below `known`."""
    return [
        0 if number == 18 else -errno.EOPNOTSUPP if number < known else -errno.EINVAL for number in range(64)
    ]


@pytest.mark.parametrize(
    ("release", "known", "expected"),
    [
        ("5.16.0", 19, Verdict.PASS),
        ("6.15.9", 19, Verdict.PASS),
        ("6.12.0-55.el10.x86_64", 20, Verdict.PASS),  # APX may be brought back
        ("6.15.9", 17, Verdict.FAIL),
        ("6.16.0", 19, Verdict.FAIL),
        ("6.16.0", 20, Verdict.PASS),
        ("7.3.0", 31, Verdict.PASS),
        ("7.3.0", 32, Verdict.FAIL),
        ("6.15.9", 64, Verdict.FAIL),
        ("7.3.0", 64, Verdict.FAIL),
    ],
)
def test_which_numbers_a_kernel_knows(runs, release, known, expected):
    def alter(key, value):
        return {"release": release, "below 64": refusals(known)}.get(key, value)

    assert judged("PERM-03", runs("PERM-03"), alter).verdict is expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("requests", 16 * 1000 - 1),
        ("threads meanwhile", 0),
        ("permission", lambda permission: permission & ~XTILEDATA),
    ],
)
def test_concurrent_requests_are_counted_and_grant(runs, key, value):
    run = runs("PERM-08")
    assert judged("PERM-08", run).verdict is Verdict.PASS
    assert judged("PERM-08", run, put(key, value)).verdict is Verdict.FAIL


@pytest.mark.parametrize("how", ["by the leader", "by a thread", "spawned"])
def test_each_exec_of_the_chain_is_looked_at(runs, how):
    run = runs("INH-05")
    assert judged("INH-05", run).verdict is Verdict.PASS
    last = max(number for number, (key, _) in enumerate(run.observations) if key == how)
    shortened = run.observations[:last] + run.observations[last + 1 :]
    assert judged("INH-05", dataclasses.replace(run, observations=shortened)).verdict is Verdict.FAIL


def test_a_race_that_never_took_place_is_no_success(runs):
    run = runs("ALT-06")
    assert judged("ALT-06", run).verdict is Verdict.PASS
    none_met = {"met the stack": 0, "missed the stack": run_races(run)}
    failed = judged("ALT-06", run, lambda key, value: none_met.get(key, value))
    assert (failed.verdict, failed.reason) == (Verdict.FAIL, "requests that the small stack refused")


def run_races(run):
    return dict(run.observations)["races"]


def test_an_answer_in_a_race_that_is_neither_a_grant_nor_enospc_fails(runs):
    run = runs("ALT-06")
    one = {"other answers": 1, "met the stack": run_races(run) - 1, "missed the stack": 0}
    assert judged("ALT-06", run, lambda key, value: one.get(key, value)).verdict is Verdict.FAIL


def test_what_loads_all_cpus_is_alone():
    assert all(Need.ALONE in CATALOGUE[id].needs for id in ("PERM-08", "ALT-06"))
