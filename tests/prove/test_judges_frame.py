"""The judges of saved register state on what a kernel seldom does: observations of the model, one changed."""

import functools

import pytest

from amx.conformance import provoke, verdict
from amx.conformance.check import Verdict
from amx.conformance.groups import checks

try:
    provoke.program()
except FileNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)

CHECKS = {check.id: check for check in checks()}
KILLED = {"signal": 9, "core": False}


@functools.cache
def complete(id):
    """A complete run on the model."""
    run = provoke.provoke(id, model=True, fault="", timeout=30)
    assert run.complete, run
    return run


def judged(id, observations):
    return verdict.judge(CHECKS[id], provoke.Run(observations=tuple(observations), complete=True))


def changed(id, key, value):
    """The result when the observations of a key are others; None takes them away."""
    seen = [(name, value if name == key else old) for name, old in complete(id).observations]
    return judged(id, [(name, what) for name, what in seen if what is not None])


def broken(result):
    return [expectation.what for expectation in result.broken]


@pytest.mark.parametrize(
    "id", ["PTR-01", "PTR-03", "PTR-06", "SIG-05", "CTX-01", "CTX-02", "CTX-03", "CTX-04"]
)
def test_unchanged_they_pass(id):
    assert judged(id, complete(id).observations).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("id", "child", "ending"),
    [
        ("PTR-01", "the tracee", "tracee"),
        ("PTR-02", "the tracee", "tracee"),
        ("PTR-03", "the tracee", "tracee"),
        ("PTR-06", "the tracee", "tracee"),
        ("SIG-05", "the child", "child_ending"),
        ("CTX-04", "the process", "ending"),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_child_that_was_killed_is_fail_whatever_it_had_seen(id, child, ending, count):
    seen = [each for each in complete(id).observations if each[0] != ending][:count]
    result = judged(id, [*seen, (ending, KILLED)])
    assert (result.verdict, broken(result)) == (Verdict.FAIL, [f"how {child} ended"])


def test_a_killed_child_of_a_process_with_a_virtual_cpu_is_fail():
    result = judged("KVM-02", [("after_vcpu", -16), ("guest", 0x600E7), ("child_ending", KILLED)])
    assert (result.verdict, broken(result)) == (Verdict.FAIL, ["how the child ended"])


def test_one_state_is_not_enough_where_there_are_tiles():
    seen = [
        (key, value) for key, value in complete("PTR-01").observations if key in ("size", "xcr0", "tracee")
    ]
    first = [("state", "fresh"), ("length", 11008), ("sw", dict(seen)["xcr0"]), ("xstate_bv", 0)]
    assert broken(judged("PTR-01", [*seen, *first, ("granted", 1)])) == ["states looked at"]
    refused = judged("PTR-01", [*seen, *first, ("granted", 0)])
    assert refused.verdict is Verdict.PASS
    assert "PERM-02" in refused.notes[0]


@pytest.mark.parametrize("id", ["CTX-01", "CTX-02"])
def test_a_few_context_switches_are_not_enough(id):
    """Waiting for threads and children alone makes a few."""
    assert broken(changed(id, "switches", 6)) == ["context switches meanwhile"]


def test_registers_are_kept_over_more_than_a_few_context_switches():
    run = provoke.provoke("XS-02", model=False, fault="", timeout=30)
    if run.cannot:
        pytest.skip(run.cannot)
    for who in ("threads", "processes"):
        seen = [(key, 5 if key == f"{who}.switches" else value) for key, value in run.observations]
        assert broken(judged("XS-02", seen)) == [f"{who} on one CPU: context switches"]


def test_what_did_not_happen_to_live_tiles_is_fail():
    """But what needs a second CPU, AVX or /proc where that lacks."""
    seen = dict(complete("CTX-03").observations)
    assert seen["probes"] == 21
    happened = complete("CTX-03").observations
    for name in (
        "fork and wait",
        "futex wait",
        "migration to other CPUs",
        "AVX and VZEROUPPER",
        "procfs read",
    ):
        missing = [("left_out" if what == name else key, what) for key, what in happened]
        missing = [(key, {"cpus": 2, "avx": 1, "procfs": 1}.get(key, what)) for key, what in missing]
        assert broken(judged("CTX-03", missing)) == ["what did not happen"], name
        excused = [(key, {"cpus": 1, "avx": 0, "procfs": 0}.get(key, what)) for key, what in missing]
        forgiven = name not in ("fork and wait", "futex wait")
        assert (judged("CTX-03", excused).verdict is Verdict.PASS) is forgiven, name
