"""amx emulate --probe: what machines are told; facts of other machines stand in for their probes."""

import dataclasses
import errno
import json
import signal

import pytest

from amx import cli
from amx._lib import lib
from amx.emulation import probe
from amx.emulation.probe import Facts, Finding, Means, Vectors
from amx.machine import Probe, Step

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

ILLEGAL = Probe(Step.LDTILECFG, signal=signal.SIGILL, code=2)
DONE = Probe(Step.DONE)
FAULTED = Probe(Step.OTHER, signal=signal.SIGSEGV, code=128)
FILTERED = Probe(Step.OTHER, signal=signal.SIGSYS, code=1)
WORKS = {
    Means.TILES_TRAP: ILLEGAL,
    Means.CPUID_FAULTS: FAULTED,
    Means.SECCOMP: FILTERED,
    Means.PTRACE: DONE,
    Means.PATCHING: DONE,
    Means.SYNC_CORE: DONE,
}
BEST = Facts(
    probes=WORKS,
    vectors=Vectors.AVX512_BF16,
    announced=False,
    granted=False,
    sde="/opt/sde/sde64",
    library=Finding("preloading", True, "/lib/libamxemu.so"),
    yama="1",
)


def judge(probes=(), **more):
    return probe.judge(dataclasses.replace(BEST, probes={**WORKS, **dict(probes)}, **more))


def ways(survey):
    return {way.name: way.works for way in survey.ways}


def finding(survey, name):
    return next(each for each in (*survey.means, *survey.ways) if each.name == name)


def refused(number):
    return Probe(Step.DONE, result=-number)


def test_where_everything_works_every_way_does():
    survey = judge()
    assert all(ways(survey).values())
    assert survey.works
    assert "by faulting" in finding(survey, "amx emulate").reason


def test_each_that_does_not_work_has_a_reason_and_a_remedy():
    nothing = {means: Probe(Step.OTHER, timed_out=True) for means in Means}
    survey = judge(
        nothing,
        vectors=Vectors.NONE,
        sde=None,
        library=Finding("preloading", False, "not there", "Install it"),
    )
    assert not survey.works
    for each in (*survey.means, *survey.ways):
        assert not each.works
        assert each.reason
        assert each.remedy


def test_a_tracer_needs_the_proc_of_its_own_processes():
    survey = judge({Means.PTRACE: refused(errno.ENXIO)})
    assert "--mount-proc" in finding(survey, "ptrace").remedy
    assert [name for name, works in ways(survey).items() if not works] == ["amx emulate --ptrace"]


def test_tiles_that_execute_leave_sde_only():
    survey = judge({Means.TILES_TRAP: DONE}, announced=True, granted=True)
    assert ways(survey)["amx emulate --sde"]
    assert not survey.works
    assert "fresh process" in finding(survey, "amx.emulate()").remedy


def test_withheld_amx_traps_on_data():
    survey = judge({Means.TILES_TRAP: Probe(Step.TILEZERO, signal=signal.SIGILL, code=1)}, announced=True)
    assert survey.works
    assert "permission" in finding(survey, "tile instructions trap").reason


@pytest.mark.parametrize(
    ("answer", "words"),
    [(refused(19), "ENODEV"), (DONE, "did not fault"), (Probe(Step.OTHER, timed_out=True), "hung")],
)
def test_without_cpuid_faulting_sites_are_patched(answer, words):
    survey = judge({Means.CPUID_FAULTS: answer})
    assert words in finding(survey, "CPUID faulting").reason
    assert all(ways(survey).values())
    assert "found in each file" in finding(survey, "amx emulate").reason


def test_without_both_only_the_other_ways_are_left():
    survey = judge({Means.CPUID_FAULTS: refused(19), Means.PATCHING: refused(13)})
    assert not ways(survey)["amx emulate"]
    assert ways(survey)["amx.emulate()"]
    assert "stay trapped" in finding(survey, "amx.emulate()").reason


@pytest.mark.parametrize("answer", [refused(1), DONE, Probe(Step.OTHER, signal=signal.SIGSYS, code=0)])
def test_without_filters_calls_of_libc_are_answered(answer):
    survey = judge({Means.SECCOMP: answer})
    assert all(ways(survey).values())
    assert "in calls of libc" in finding(survey, "amx emulate").reason
    assert "--ptrace" in finding(survey, "seccomp filters").remedy


def test_without_preloading_there_is_the_tracer():
    survey = judge(library=Finding("preloading", False, "not there", "Install it"))
    assert not ways(survey)["amx emulate"]
    assert "--ptrace" in finding(survey, "AMX in ONNX Runtime").reason


@pytest.mark.parametrize(
    ("yama", "words"), [("2", "ptrace_scope is 2"), ("", "--cap-add=SYS_PTRACE"), ("1", "--cap-add")]
)
def test_a_forbidden_ptrace_names_who_forbids_it(yama, words):
    survey = judge({Means.PTRACE: refused(1)}, yama=yama)
    assert not ways(survey)["amx emulate --ptrace"]
    assert words in finding(survey, "amx emulate --ptrace").remedy


@pytest.mark.parametrize(
    ("vectors", "onnxruntime", "onednn"),
    [
        (Vectors.NONE, False, False),
        (Vectors.AVX2, False, False),
        (Vectors.AVX512, True, False),
        (Vectors.AVX512_BF16, True, True),
    ],
)
def test_libraries_and_row_moves_need_avx512_of_the_host(vectors, onnxruntime, onednn):
    survey = judge(vectors=vectors)
    assert finding(survey, "AMX in ONNX Runtime").works is onnxruntime
    assert finding(survey, "AMX in oneDNN (PyTorch)").works is onednn
    assert ("dmr has no row moves" in finding(survey, "AVX-512").reason) is (vectors < Vectors.AVX512)
    assert survey.works


def test_each_means_is_tried_here_and_ends_in_a_known_way():
    facts = probe.gather()
    assert set(facts.probes) == set(Means)
    for means, seen in facts.probes.items():
        assert seen.step in (Step.DONE, Step.OTHER, Step.LDTILECFG, Step.TILEZERO), (means, seen)
        assert not seen.timed_out
    trapped = facts.probes[Means.TILES_TRAP]
    assert (trapped.signal == signal.SIGILL) == (not facts.granted)


def test_the_command_answers_as_json_and_by_its_status(capsys):
    status = cli.main(["emulate", "--probe", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["works"] == (status == 0)
    assert {"name", "works", "reason", "remedy"} == set(found["means"][0]) == set(found["ways"][0])
    assert cli.main(["emulate", "--probe"]) == status
    assert "AVX-512" in capsys.readouterr().out
