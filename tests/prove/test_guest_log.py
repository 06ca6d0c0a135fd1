"""A log of amx-provoke: what is taken from it, whatever stands between, and what is missing by name."""

import zlib

import guest_log
import pytest
from guest_log import begin, frame, framed, ran, unframed, whole
from stand_in import check

from amx.conformance import check as check_module
from amx.conformance import groups
from amx.conformance.check import Need, Verdict
from amx.conformance.guest import judging, log
from amx.conformance.guest.ending import End
from amx.conformance.guest.log import LogError

PASS, FAIL, SKIP, INFO, ERROR = Verdict
SEEN = [{"x": 3}, {"end": True}]
GOOD = {"AA-01": SEEN, "AA-02": SEEN, "BB-01": SEEN}


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    """Three checks in the place of all."""
    known = {id: check(id) for id in GOOD}
    known["ZZ-01"] = check("ZZ-01", needs=frozenset({Need.OPT_IN}))
    known["ZZ-02"] = check("ZZ-02", needs=frozenset({Need.ROOT}))
    monkeypatch.setattr(groups, "load", lambda: None)
    monkeypatch.setattr(check_module, "_checks", known)


def judged(*texts, words=(), stopped=""):
    """The report of a log."""
    found = log.read(texts, stopped=stopped)
    place = judging.environment(found, source="a.log")
    selection = judging.chosen(found, list(words))
    results = judging.LogRunner(found, place, asked=selection.asked).run(selection.checks)
    return judging.report(found, place, selection, results, "")


def verdicts(*texts, **more):
    return {result.check.id: result.verdict for result in judged(*texts, **more).results}


def reasons(*texts, **more):
    return {result.check.id: result.reason for result in judged(*texts, **more).results}


@pytest.mark.parametrize("text", [framed, unframed])
def test_a_whole_log_is_judged_as_a_run(text):
    report = judged(text(whole(GOOD)))
    assert [result.verdict for result in report.results] == [PASS] * 3
    assert report.exit_status == 0
    assert report.results[0].observations == (("x", 3),)
    assert report.results[0].ending == "exit 0"
    assert report.seconds == pytest.approx(0.03)
    assert report.environment.release == "6.8.0"
    assert report.environment.lane.value == "native"


def test_the_plan_is_what_is_judged_and_counts_as_asked_for():
    text = framed(whole({"AA-01": SEEN, "ZZ-01": SEEN}))
    assert verdicts(text) == {"AA-01": PASS, "ZZ-01": PASS}


def test_a_selection_narrows_the_plan():
    assert verdicts(framed(whole(GOOD)), words=["AA"]) == {"AA-01": PASS, "AA-02": PASS}


def test_what_the_plan_does_not_have_is_an_error_by_name():
    report = judged(framed(whole({"AA-01": SEEN})), words=["AA-01", "BB"])
    assert [(result.check.id, result.verdict) for result in report.results] == [
        ("AA-01", PASS),
        ("BB-01", ERROR),
    ]
    assert report.results[1].reason == "the run that is in the log was not to make it"


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"AMX1", b"[   12.345678] random: crng init done AMX1"),
        lambda text: text.replace(b"\n", b"\x1b[0m\r\n\x1b[1;32mbooted\x1b[m\n"),
        lambda text: text.replace(b"{", b"{\x00\x00"),
        lambda text: text.replace(b'"', b'\x1b[31m"\xff\xfe'),
        lambda text: text.replace(b"\n", b"[   12.345678] usb 1-1: new device\n"),
        lambda text: b"".join(line + line for line in text.splitlines(True)),
        lambda text: b"SeaBIOS\x1b[2J\xc3\x28\n" + text + b"\x00\x00\x00",
    ],
    ids=["crlf", "before", "escapes", "nul", "inside", "behind", "twice", "around"],
)
def test_what_a_console_adds_is_no_part_of_a_frame(harm):
    report = judged(harm(framed(whole(GOOD))))
    assert [result.verdict for result in report.results] == [PASS] * 3
    assert report.trouble == ()


def lines(things=None):
    return framed(whole(GOOD) if things is None else things).splitlines(keepends=True)


def test_a_frame_that_is_lost_makes_its_check_an_error():
    every = lines()
    for lost in range(len(every)):
        text = b"".join(every[:lost] + every[lost + 1 :])
        report = judged(text)
        assert report.exit_status == 1, every[lost]
        bad = {result.check.id for result in report.results if result.verdict is not PASS}
        kind = every[lost].split(b'{"')[1].split(b'"')[0]
        if kind in (b"begin", b"machine", b"place"):
            assert bad == set(GOOD), every[lost]
        elif kind == b"done":
            assert bad == set()
        else:
            assert len(bad) == 1, every[lost]
        assert all(result.verdict in (PASS, ERROR) for result in report.results)


def test_a_digit_that_changed_is_a_frame_that_is_lost():
    text = framed(whole(GOOD)).replace(b'{"x": 3}', b'{"x": 4}', 1)
    report = judged(text)
    assert report.results[0].verdict is ERROR
    assert report.results[0].reason == "the log is damaged: of its 4 frames 3 are there"
    assert "the log is damaged: 1 frame is lost" in report.trouble


def test_the_cut_end_is_named_with_the_check_in_which_it_is():
    text = b"".join(lines()).partition(b'{"start": "BB-01"}')[0] + b'{"start": "BB-01"}\n'
    report = judged(text, stopped="its 60 s were over")
    assert [result.verdict for result in report.results] == [PASS, PASS, ERROR]
    words = "the log ends during BB-01, before the end of its run: its 60 s were over"
    assert report.results[2].reason == words
    assert report.trouble == (words,)


def test_what_comes_after_the_cut_was_not_made():
    text = b"".join(lines()).partition(b'{"start": "AA-02"}')[0] + b'{"start": "AA-02"}\n'
    assert reasons(text)["BB-01"] == "not made: the log ends during AA-02, before the end of its run"


def test_what_lacks_a_precondition_of_its_own_is_skip_though_it_is_missing():
    place = {**guest_log.PLACE, "uid": 1000}
    text = framed(whole({"AA-01": SEEN, "ZZ-02": SEEN}, place=place)).partition(b'{"start": "ZZ-02"}')[0]
    assert reasons(text)["ZZ-02"] == "needs root; this is uid 1000"


def test_without_amx_in_the_guest_its_own_diagnosis_is_the_reason(monkeypatch):
    known = {"AA-01": check("AA-01", needs=frozenset({Need.AMX}))}
    monkeypatch.setattr(check_module, "_checks", known)
    report = judged(framed(whole({"AA-01": SEEN}, machine="ice-lake")))
    assert report.results[0].verdict is SKIP
    assert report.results[0].reason == report.environment.diagnosis.cause.words
    assert report.exit_status == 77


@pytest.mark.parametrize(
    ("things", "why"),
    [
        ({"place": {**guest_log.PLACE, "uid": "root"}}, "the log's place cannot be taken: uid is"),
        ({"place": {}}, "the log's place lacks 'kvm'"),
        ({"place": None}, "the log's place cannot be taken: None is no object"),
        ({"machine": {"xcr0": 7}}, "two different descriptions of the machine: xcr0"),
        ({"machine": []}, "description of the machine is damaged"),
        ({"machine": {"kernel": {"sysname": "Linux"}}}, "two different descriptions"),
        (
            {"machine": {"cpuid": {f"{leaf:#010x}": "0x0 0x0 0x0 0x0" for leaf in range(400)}}},
            "more than 300 leaves",
        ),
    ],
)
def test_a_machine_that_is_not_described_makes_all_errors(things, why, monkeypatch):
    monkeypatch.setattr(judging, "MOST_LEAVES", 300)
    whole_run = whole(GOOD)
    key = next(iter(things))
    if key == "place":
        whole_run = [each for each in whole_run if "place" not in each]
    report = judged(framed([*whole_run[:3], things, *whole_run[3:]]))
    assert [result.verdict for result in report.results] == [ERROR] * 3
    assert why in report.results[0].reason
    assert report.environment.lane.value == "none"


def test_why_the_machine_could_not_be_described_is_said():
    made = [each for each in whole(GOOD) if "xcr0" not in str(each)]
    report = judged(framed([made[0], {"broken": "xcr0: no child can be made"}, *made[1:]]))
    assert report.results[0].reason == (
        "the log does not describe the machine. There is no xcr0; "
        "amx-provoke said: xcr0: no child can be made"
    )


def test_what_the_program_could_not_do_beside_is_a_remark():
    report = judged(framed([{"broken": "amx.port: ttyS1: ENXIO"}, *whole(GOOD)]))
    assert report.remarks == ("amx-provoke said: amx.port: ttyS1: ENXIO",)
    assert report.exit_status == 0


def test_a_provocation_that_could_not_be_started_is_an_error():
    run = [{"start": "AA-01"}, {"broken": "AA-01: fork: EAGAIN"}]
    run.append({"ended": {"id": "AA-01", "how": "exit 70", "seconds": 0.0, "frames": 3}})
    for text in (framed, unframed):
        report = judged(text(whole({"AA-01": run})))
        assert report.results[0].reason == "amx-provoke failed: AA-01: fork: EAGAIN"


def test_another_format_is_not_judged():
    report = judged(framed(whole(GOOD, format=2)))
    assert report.results[0].reason == "the log has format 2, and this version reads 1"


def test_the_fault_and_the_model_of_a_log_are_those_of_the_report():
    place = judged(framed(whole(GOOD, fault="lies", model=True))).environment
    assert (place.fault, place.lane.value) == ("lies", "model")


def test_a_console_alone_lacks_what_came_over_the_port():
    things = whole(GOOD)
    landmarks = {"begin", "start", "ended", "done"}
    every = enumerate(things)
    console = b"".join(frame(number, each) for number, each in every if {*each} & landmarks)
    assert set(verdicts(console).values()) == {ERROR}
    assert verdicts(console, framed(things)) == dict.fromkeys(GOOD, PASS)
    assert verdicts(framed(things), console) == dict.fromkeys(GOOD, PASS)


def test_frames_of_two_runs_are_not_one():
    one, other = lines(), lines(whole({**GOOD, "AA-01": ran("AA-01", SEEN, seconds=0.02)}))
    first, last = [*one[:15], *one[16:]], [*other[:14], *other[15:]]
    report = judged(b"".join(first), b"".join(last))
    assert any(result.verdict is ERROR for result in report.results)
    assert "the files are of different runs: only the fuller one is judged" in report.trouble


def test_the_last_of_two_runs_is_judged_and_the_first_was_broken_off():
    text = framed(whole({"AA-01": SEEN, "AA-02": [{"x": 4}, {"end": True}]}))
    first = text.partition(b'{"start": "AA-02"}')[0] + b'{"start": "AA-02"}\n'
    report = judged(first + b"[    0.000000] Linux version 6.1.50 (gcc)\n" + text)
    assert [result.verdict for result in report.results] == [PASS, FAIL]
    assert report.trouble == ("the guest began anew during AA-02: this is the last of 2 runs in the log",)


def test_a_guest_that_reboots_and_says_no_more_is_trouble():
    text = b"".join(lines()).partition(b'{"start": "AA-02"}')[0] + b'{"start": "AA-02"}\n'
    report = judged(text + b"[    0.000000] Linux version 6.1.50 (gcc)\n")
    assert report.results[1].reason == "the guest rebooted during AA-02"
    assert report.results[2].reason == "not made: the guest rebooted during AA-02"
    assert report.exit_status == 1


def test_two_files_in_one_are_one_run():
    text = framed(whole(GOOD))
    assert judged(text + text).trouble == ()


@pytest.mark.parametrize("text", [b"", b"\x00\x00", b"SeaBIOS\nBooting from ROM...\n", b"{}\n[1]\n"])
def test_a_log_with_nothing_of_ours_is_said(text):
    with pytest.raises(LogError, match="no line of amx-provoke is in it"):
        log.read([text])


def test_the_last_lines_of_such_a_log_are_shown_as_text():
    with pytest.raises(LogError, match=r"the last lines are SeaBIOS / no init$"):
        log.read([b"SeaBIOS\nno \x1b[31m\x07init\n"])


def test_a_loop_of_a_shell_is_judged_by_the_status_that_it_adds():
    things = [*guest_log.facts_of("sapphire-rapids"), {"place": guest_log.PLACE}]
    for id, status in (("AA-01", 0), ("AA-02", 124), ("BB-01", 128 + 4)):
        things += [
            {"start": id},
            {"seen": {"x": 3}},
            *([{"seen": {"end": True}}] if not status else []),
            {"status": status},
        ]
    report = judged(unframed(things))
    assert [result.verdict for result in report.results] == [PASS, FAIL, FAIL]
    assert [result.ending for result in report.results] == ["exit 0", "hung", "SIGILL"]
    assert report.trouble == ()


def test_a_loop_without_status_is_told_what_lacks():
    things = [
        *guest_log.facts_of("sapphire-rapids"),
        {"place": guest_log.PLACE},
        {"start": "AA-01"},
        {"seen": {"x": 3}},
    ]
    report = judged(unframed([*things, {"seen": {"end": True}}]))
    assert report.results[0].verdict is ERROR
    assert '{\\"status\\": $?}' in report.results[0].reason


def test_a_torn_line_of_a_loop_is_an_error():
    text = unframed(whole(GOOD)).replace(b'{"x": 3}', b'{"x": [   1.0] usb 3}', 1)
    assert verdicts(text)["AA-01"] is ERROR


def test_what_ended_otherwise_is_judged_as_here():
    runs = {
        "AA-01": ran("AA-01", [{"x": 3}], "SIGSEGV"),
        "AA-02": ran("AA-02", [{"x": 3}], "hung"),
        "BB-01": ran("BB-01", [{"cannot": "no luck"}], "exit 77"),
        "ZZ-01": ran("ZZ-01", [], "exit 70", [{"errors": "one\ntwo"}]),
        "ZZ-02": ran("ZZ-02", SEEN, extra=[{"text": "hello"}]),
    }
    report = judged(framed(whole(runs)))
    assert [result.verdict for result in report.results] == [FAIL, FAIL, SKIP, ERROR, ERROR]
    assert report.results[2].reason == "no luck"
    assert report.results[3].reason == "amx-provoke failed: one two"
    assert report.results[4].reason == "amx-provoke wrote 'hello'"


def test_a_check_that_is_there_twice_is_an_error():
    things = whole(GOOD)
    report = judged(framed([*things[:-1], *ran("AA-01", SEEN), things[-1]]))
    assert report.results[0].reason == "it is in the log 2 times"


def test_a_check_that_this_version_does_not_know_is_trouble():
    report = judged(framed(whole({**GOOD, "XX-99": SEEN})))
    assert report.trouble == ("the log has checks that this version does not know: XX-99",)


def test_the_end_of_a_run_is_a_value():
    assert log.read([framed(whole(GOOD))]).ending.end is End.DONE
    assert log.read([framed([begin(GOOD)])]).ending.end is End.CUT


@pytest.mark.parametrize(
    "text",
    [
        b"AMX1 1 00000000 {" * 300_000,
        b"a\n" * 1_300_000,
        b"".join(frame(0, {"begin": {"plan": [str(number)]}}) for number in range(1100)),
    ],
    ids=["frames", "lines", "runs"],
)
def test_more_than_any_run_has_is_refused(text):
    with pytest.raises(LogError, match="it has more than"):
        log.read([text])


@pytest.mark.parametrize(
    "seen",
    [
        b"1" * 5000,
        b"1e999",
        b"NaN",
        b"[" * 9000,
        b"[" * 40 + b"]" * 40,
        b"99999999999999999999",
        b'{"a":' * 900,
    ],
)
def test_what_no_program_of_ours_says_is_an_error(seen):
    """With a good checksum."""
    things = whole(GOOD)
    at = things.index({"seen": {"x": 3}})
    every = lines(things)
    body = b'%d {"seen": {"x": %s}}' % (at, seen)
    every[at] = b"AMX1 %d %08x %s\n" % (at, zlib.crc32(body), body.partition(b" ")[2])
    assert verdicts(b"".join(every)) == {**dict.fromkeys(GOOD, PASS), "AA-01": ERROR}
