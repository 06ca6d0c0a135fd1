"""The runner of the conformance suite: verdicts, the watchdog, what a check needs, and what it depends on."""

import dataclasses
import errno
import os

import children
import pytest
import stand_in
from stand_in import END, check, see

from amx.conformance import provoke
from amx.conformance.check import KnownBug, Need, Verdict
from amx.conformance.groups import checks
from amx.conformance.runner import Report, Runner
from amx.conformance.selection import select
from amx.lane import Lane

GOOD = f"{see('x', 3)}; {END}"
CANNOT = see("cannot", '"no luck"') + "; exit 77"
BROKEN = see("broken", '"mmap: ENOMEM"') + "; exit 70"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run stand-in checks: `run({id: shell text}, check, ...)` gives the last one's result."""

    def run(provocations, *declared, place=None, asked=(), **more):
        monkeypatch.setenv(provoke.PROGRAM, str(stand_in.write(tmp_path, provocations)))
        runner = Runner(place or stand_in.environment(**more), asked=asked, catalogue=declared)
        return runner.result(declared[-1])

    return run


def judge_nothing(seen):
    """A judge that looks at an observation and expects nothing of it."""
    seen.note(f"x is {seen['x']}")


def test_every_expectation_that_holds_is_pass(run):
    result = run({"T-01": GOOD}, check("T-01"))
    assert (result.verdict, result.reason, result.ending) == (Verdict.PASS, "", "exit 0")
    assert result.observations == (("x", 3),)
    assert [each.observed for each in result.expectations] == ["3"]


def test_an_expectation_that_does_not_hold_is_fail_and_is_named(run):
    result = run({"T-01": f"{see('x', 4)}; {END}"}, check("T-01"))
    assert (result.verdict, result.reason) == (Verdict.FAIL, "x")
    assert [(each.expected, each.observed) for each in result.broken] == [("3", "4")]


def test_a_judge_without_expectation_is_an_error(run):
    """A check that cannot fail must not look like one that passed."""
    result = run({"T-01": GOOD}, check("T-01", judge_nothing))
    assert result.verdict is Verdict.ERROR
    assert "cannot fail" in result.reason


def test_information_needs_no_expectation(run):
    result = run({"T-01": GOOD}, check("T-01", judge_nothing, information=True))
    assert (result.verdict, result.reason) == (Verdict.INFO, "x is 3")


def test_information_whose_expectation_does_not_hold_is_fail(run):
    result = run({"T-01": f"{see('x', 4)}; {END}"}, check("T-01", information=True))
    assert (result.verdict, result.reason) == (Verdict.FAIL, "x")


@pytest.mark.parametrize("text", [END, f"{see('x', 3)}; {see('x', 3)}; {END}"])
def test_a_missing_or_repeated_observation_is_an_error_of_the_harness(run, text):
    result = run({"T-01": text}, check("T-01"))
    assert result.verdict is Verdict.ERROR
    assert "KeyError" in result.details


def test_an_exception_in_the_judge_is_an_error(run):
    def divide(seen):
        seen.equal("x", seen["x"] / 0, 1)

    result = run({"T-01": GOOD}, check("T-01", divide))
    assert result.verdict is Verdict.ERROR
    assert "ZeroDivisionError" in result.details


@pytest.mark.parametrize(("signo", "name"), [(11, "SIGSEGV"), (4, "SIGILL"), (9, "SIGKILL")])
def test_a_provocation_that_dies_has_failed_and_keeps_what_it_saw(run, signo, name):
    result = run({"T-01": f"{see('x', 3)}; kill -{signo} $$"}, check("T-01"))
    assert (result.verdict, result.ending) == (Verdict.FAIL, name)
    assert name in result.reason
    assert "after 1 observation" in result.reason
    assert result.observations == (("x", 3),)


def test_sigsys_is_explained(run):
    assert "seccomp" in run({"T-01": "kill -SYS $$"}, check("T-01")).reason


def test_an_exit_before_the_end_has_failed(run):
    """Exit status 0 alone says nothing: the program must have reached its end."""
    result = run({"T-01": see("x", 3)}, check("T-01"))
    assert result.verdict is Verdict.FAIL
    assert "before its end" in result.reason


def test_another_exit_status_has_failed(run):
    result = run({"T-01": f"{GOOD}; exit 3"}, check("T-01"))
    assert (result.verdict, result.ending) == (Verdict.FAIL, "exit 3")


def test_a_program_that_does_not_start_is_an_error(run):
    """Its loader could not, for want of memory perhaps: nothing of the kernel's has been seen."""
    result = run({"T-01": "echo no memory >&2; exit 127"}, check("T-01"))
    assert (result.verdict, result.reason) == (Verdict.ERROR, "amx-provoke does not start: no memory")


def test_exit_77_is_skip_with_the_reason(run):
    result = run({"T-01": f"{see('x', 4)}; {CANNOT}"}, check("T-01"))
    assert (result.verdict, result.reason) == (Verdict.SKIP, "no luck")


def test_exit_70_is_an_error_with_the_reason(run):
    result = run({"T-01": BROKEN}, check("T-01"))
    assert result.verdict is Verdict.ERROR
    assert "mmap: ENOMEM" in result.reason


def test_an_id_the_program_does_not_know_is_an_error(run):
    result = run({}, check("T-01"))
    assert result.verdict is Verdict.ERROR
    assert "no provocation T-01" in result.reason


def test_a_line_that_is_no_observation_is_an_error(run):
    result = run({"T-01": f"echo hello; {GOOD}"}, check("T-01"))
    assert result.verdict is Verdict.ERROR
    assert "hello" in result.reason


def test_a_program_that_is_not_there_is_an_error(run, monkeypatch, tmp_path):
    monkeypatch.setattr("amx.conformance.__path__", [str(tmp_path)])
    monkeypatch.delenv(provoke.PROGRAM, raising=False)
    result = Runner(stand_in.environment(), catalogue=[]).result(check("T-01"))
    assert result.verdict is Verdict.ERROR
    assert str(tmp_path / "amx-provoke") in result.reason


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_without_processes_or_descriptors_a_check_is_skip(run, monkeypatch, error):
    def refuse(*_, **__):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(provoke.subprocess, "Popen", refuse)
    result = run({"T-01": GOOD}, check("T-01"))
    why = f"no process can be made here: {os.strerror(error)}"
    assert (result.verdict, result.reason) == (Verdict.SKIP, why)


def test_another_program_may_be_named_from_the_current_directory(monkeypatch, tmp_path):
    """It is started in another one."""
    program = stand_in.write(tmp_path, {"T-01": GOOD})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(provoke.PROGRAM, program.name)
    declared = check("T-01")
    runner = Runner(stand_in.environment(), asked=(), catalogue=(declared,))
    assert runner.result(declared).verdict is Verdict.PASS


def test_a_hang_is_fail_with_what_was_seen_and_the_whole_group_is_killed(run):
    text = 'sleep 1000 & echo "{\\"child\\": $!}"; ' + f"{see('x', 3)}; wait"
    result = run({"T-01": text}, check("T-01", timeout=0.5))
    assert (result.verdict, result.ending) == (Verdict.FAIL, "hung")
    assert "hung" in result.reason
    assert [each.holds for each in result.expectations] == [True]
    assert children.gone(dict(result.observations)["child"])


def test_what_a_finished_provocation_leaves_behind_is_killed(run):
    text = 'sleep 1000 & echo "{\\"child\\": $!}"; ' + GOOD
    result = run({"T-01": text}, check("T-01"))
    assert result.verdict is Verdict.PASS
    assert children.gone(dict(result.observations)["child"])


def test_a_hang_does_not_end_the_run(run):
    runner_saw = run({"T-01": "sleep 1000", "T-02": GOOD}, check("T-01", timeout=0.2), check("T-02"))
    assert runner_saw.verdict is Verdict.PASS


def test_each_provocation_has_a_directory_of_its_own_that_goes_away(run):
    text = 'echo x > "$AMX_PROVOKE_TMPDIR/left"; echo "{\\"pwd\\": \\"$PWD\\"}"; ' + (
        f'echo "{{\\"tmp\\": \\"$AMX_PROVOKE_TMPDIR\\"}}"; {GOOD}'
    )
    seen = dict(run({"T-01": text}, check("T-01")).observations)
    assert seen["pwd"] == seen["tmp"]
    assert not os.path.exists(seen["tmp"])


def test_each_provocation_has_a_session_of_its_own(run):
    text = 'echo "{\\"pid\\": $$}"; read pid comm state ppid group session rest < /proc/self/stat; '
    text += f'echo "{{\\"session\\": $session}}"; {GOOD}'
    seen = dict(run({"T-01": text}, check("T-01")).observations)
    assert seen["session"] == seen["pid"]


def test_model_and_fault_reach_the_program(run):
    text = f'echo "{{\\"arguments\\": \\"$*\\"}}"; {GOOD}'
    result = run({"T-01": text}, check("T-01"), lane=Lane.MODEL, fault="lies")
    assert dict(result.observations)["arguments"] == "--model --fault lies"
    assert dict(run({"T-01": text}, check("T-01")).observations)["arguments"] == ""


def test_what_lacks_is_skip_with_its_reason_and_nothing_runs(run):
    result = run({}, check("T-01", needs=frozenset({Need.KVM})), lacking={Need.KVM: "/dev/kvm is absent"})
    assert (result.verdict, result.reason, result.ending) == (Verdict.SKIP, "/dev/kvm is absent", "")


def test_an_optional_check_runs_only_when_asked_for(run):
    optional = check("T-01", needs=frozenset({Need.OPT_IN}))
    assert run({"T-01": GOOD}, optional).verdict is Verdict.SKIP
    assert run({"T-01": GOOD}, optional, asked=["T-01"]).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("since", "version", "judged"),
    [
        ("5.16", (5, 15, 7), False),
        ("5.16 (exact: 5.18)", (5, 16), True),
        ("6.12", (6, 1, 50), False),
        ("6.12", (6, 12), True),
        ("", (4, 4), True),
        ("old", (4, 4), True),
    ],
)
def test_a_claim_is_not_held_against_an_older_kernel(run, since, version, judged):
    declared = dataclasses.replace(check("T-01"), since=since)
    result = run({"T-01": GOOD}, declared, kernel_version=version)
    assert (result.verdict is Verdict.PASS) == judged
    assert judged or since in result.reason


def test_what_depends_on_a_failed_check_is_skip_and_names_it(run):
    bad = f"{see('x', 4)}; {END}"
    result = run({"T-01": bad, "T-02": GOOD}, check("T-01"), check("T-02", depends=("T-01",)))
    assert result.verdict is Verdict.SKIP
    assert "T-01" in result.reason
    assert "FAIL" in result.reason


@pytest.mark.parametrize("text", ["exit 77", "exit 70", "kill -9 $$"])
def test_a_dependency_that_did_not_pass_says_nothing_whatever_the_cause(run, text):
    result = run({"T-01": text, "T-02": GOOD}, check("T-01"), check("T-02", depends=("T-01",)))
    assert result.verdict is Verdict.SKIP


def test_a_dependency_outside_the_selection_runs_once(run, tmp_path):
    count = tmp_path / "count"
    result = run(
        {"T-01": f"echo x >> {count}; {GOOD}", "T-02": GOOD, "T-03": GOOD},
        check("T-01"),
        check("T-02", depends=("T-01",)),
        check("T-03", depends=("T-01", "T-02")),
    )
    assert result.verdict is Verdict.PASS
    assert count.read_text() == "x\n"


def test_a_dependency_that_does_not_exist_is_an_error(run):
    result = run({"T-02": GOOD}, check("T-02", depends=("T-99",)))
    assert result.verdict is Verdict.ERROR
    assert "T-99" in result.reason


def test_under_an_emulator_the_watchdog_is_patient(run):
    result = run({"T-01": f"sleep 0.4; {GOOD}"}, check("T-01", timeout=0.1), lane=Lane.EMULATED)
    assert result.verdict is Verdict.PASS


CATALOGUE = [
    check("AA-01"),
    check("AA-02", needs=frozenset({Need.OPT_IN})),
    check("BB-01"),
    check("BB-10"),
]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], ["AA-01", "AA-02", "BB-01", "BB-10"]),
        (["BB"], ["BB-01", "BB-10"]),
        (["bb-10"], ["BB-10"]),
        (["BB-1", "AA-01"], ["AA-01", "BB-10"]),
    ],
)
def test_words_select_groups_ids_and_beginnings_in_the_catalogues_order(words, ids):
    assert [each.id for each in select(words, among=CATALOGUE).checks] == ids


def test_an_optional_check_is_asked_for_by_its_whole_name_or_by_the_option():
    assert "AA-02" not in select(["AA"], among=CATALOGUE).asked
    assert "AA-02" in select(["AA-02"], among=CATALOGUE).asked
    assert "AA-02" in select([], optional=True, among=CATALOGUE).asked


@pytest.mark.parametrize("word", ["CC", "AA-03", "A", ""])
def test_a_word_that_selects_nothing_is_refused(word):
    with pytest.raises(ValueError, match="AA, BB"):
        select([word], among=CATALOGUE)


@pytest.mark.parametrize(
    ("release", "lacks"),
    [
        ("6.9.0", False),
        ("6.8.0-generic", False),
        ("6.7.5", True),
        ("6.7.6", False),
        ("6.6.17", True),
        ("6.6.18-rt", False),
        ("6.5.13", True),
        ("5.16", True),
    ],
)
def test_a_known_bug_may_be_in_a_release_without_its_fix(release, lacks):
    assert KnownBug("endless loop", "6.8-rc4, 6.7.6, 6.6.18, 6.1.79").may_be_in(release) is lacks


@pytest.mark.parametrize(("release", "has"), [("6.6.0", False), ("6.13.12", False), ("6.14", True)])
def test_a_known_bug_is_not_in_a_release_older_than_it(release, has):
    assert KnownBug("sizes ignored", "7.1, 6.18.35", introduced="6.14").may_be_in(release) is has


def report_of(*verdicts, **more):
    from amx.conformance.verdict import Result

    results = tuple(Result(check(f"T-{i:02}"), verdict) for i, verdict in enumerate(verdicts))
    selected = tuple(result.check for result in results)
    return Report(stand_in.environment(), selected, results, 1.0, **more)


PASS, FAIL, SKIP, INFO, ERROR = Verdict


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([PASS, SKIP, INFO], 0),
        ([PASS, FAIL], 1),
        ([PASS, ERROR], 1),
        ([ERROR], 1),
        ([SKIP, INFO], 77),
        ([SKIP, FAIL], 1),
        ([], 77),
    ],
)
def test_the_exit_status(verdicts, status):
    assert report_of(*verdicts).exit_status == status


def test_a_missing_lane_is_a_failure_and_an_interruption_no_success():
    assert report_of(PASS, missing_lane="native").exit_status == 1
    assert report_of(SKIP, missing_lane="native").exit_status == 1
    assert report_of(PASS, interrupted=True).exit_status == 130
    assert report_of(FAIL, interrupted=True).exit_status == 1


def test_the_catalogue_is_consistent():
    """Ids are unique and well formed, dependencies exist and lead nowhere in circles."""
    declared = {each.id: each for each in checks()}

    def depth(id, above=()):
        assert id in declared, f"{above[-1]} depends on {id}, which does not exist"
        assert id not in above, f"{id} depends on itself"
        return [depth(other, (*above, id)) for other in declared[id].depends]

    for each in declared.values():
        group, _, number = each.id.partition("-")
        assert group.isupper()
        assert number.isdigit()
        assert each.claim
        assert each.authority
        depth(each.id)


def test_every_assertion_of_the_kernels_selftest_is_covered():
    """K01-K23: amx.c and xstate.c of tools/testing/selftests/x86."""
    covered = {name for each in checks() for name in each.covers}
    assert {f"K{number:02}" for number in range(1, 24)} <= covered


INTERRUPTED = """
import sys
from amx.conformance import provoke
try:
    provoke.provoke("T-01", model=False, fault="", timeout=60)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


def test_an_interrupt_kills_the_provocation_and_passes_on(tmp_path):
    pid = tmp_path / "pid"
    program = stand_in.write(tmp_path, {"T-01": f"echo $$ > {pid}; kill -INT $PPID; exec sleep 60"})
    done = children.run_python("-c", INTERRUPTED, **{provoke.PROGRAM: str(program)})
    assert (done.returncode, done.stderr) == (1, "interrupted\n")
    assert children.gone(int(pid.read_text()))


def test_an_ignored_end_of_children_does_not_matter(tmp_path):
    """SIGCHLD may be ignored from the start; what then ends leaves nothing to wait for."""
    program = stand_in.write(tmp_path, {"T-01": GOOD})
    code = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + INTERRUPTED
    code += "assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN"
    done = children.run_python("-c", code, **{provoke.PROGRAM: str(program)})
    assert (done.returncode, done.stderr) == (0, "")
