"""What the kernel says of itself in a log: with which check it is shown, and what comes of it."""

import guest_log
import pytest
from guest_log import framed, ran, whole
from stand_in import check

from amx.conformance import check as check_module
from amx.conformance import groups
from amx.conformance.check import Need, Verdict
from amx.conformance.guest import judging, log
from amx.conformance.guest.ending import End
from amx.conformance.guest.kernel import Kind, message
from amx.conformance.report import html, json_report, ktap, markdown, words

PASS, FAIL, SKIP, INFO, ERROR = Verdict
SEEN = [{"x": 3}, {"end": True}]
OOPS = [
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "Oops: general protection fault, maybe for address 0x4: 0000 [#1] SMP NOPTI",
    "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] PREEMPT SMP",
    "invalid opcode: 0000 [#1] SMP",
    "kernel BUG at arch/x86/kernel/fpu/core.c:123!",
    "BUG: sleeping function called from invalid context at mm/slab.h:300",
    "BUG: KASAN: slab-out-of-bounds in copy_fpstate_to_sigframe+0x1/0x2",
]
NOTES = [
    "WARNING: CPU: 1 PID: 77 at arch/x86/kernel/fpu/xstate.c:900 get_xsave_addr+0x9b/0xb0",
    "WARNING: arch/x86/kernel/fpu/xstate.c:900 at get_xsave_addr+0x9b/0xb0, CPU#1: amx-provoke/77",
    "INFO: task amx-provoke:77 blocked for more than 120 seconds.",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [amx-provoke:77]",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
]
PANIC = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b"
HARMLESS = [
    "traps: amx-provoke[77] general protection fault ip:401000 sp:7ffd0 error:0 in amx-provoke[401000+9000]",
    "traps: amx-provoke[77] trap invalid opcode ip:401000 sp:7ffd0 error:0 in amx-provoke[401000+9000]",
    "amx-provoke[77]: segfault at 0 ip 0000000000401000 sp 00007ffd0 error 6 in amx-provoke",
    "x86/fpu: Supporting XSAVE feature 0x40000: 'AMX Tile data'",
    "DEBUG: nothing",
    "WARNING: no console",
    "process 77 (amx-provoke) attempted a POSIX timer syscall while CONFIG_POSIX_TIMERS is not set",
]


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    """A few checks in the place of all."""
    known = {id: check(id) for id in ("AA-01", "AA-02", "AA-03")}
    known["AA-04"] = check("AA-04", needs=frozenset({Need.ROOT}))
    monkeypatch.setattr(groups, "load", lambda: None)
    monkeypatch.setattr(check_module, "_checks", known)


def judged(*texts, stopped=""):
    found = log.read(texts, stopped=stopped)
    place = judging.environment(found, source="a.log")
    selection = judging.chosen(found, [])
    results = judging.LogRunner(found, place, asked=selection.asked).run(selection.checks)
    return judging.report(found, place, selection, results, "")


def during(text, id="AA-02", **more):
    """A run in which the kernel says something during a check, as a frame."""
    runs = dict.fromkeys(("AA-01", "AA-02", "AA-03"), SEEN)
    runs[id] = ran(id, SEEN, extra=[{"kernel": [1, text]}])
    return framed(whole(runs, **more))


def raw(text, behind=b'{"start": "AA-02"}\n'):
    """A run in which the console has a line of the kernel behind a frame."""
    whole_run = framed(whole(dict.fromkeys(("AA-01", "AA-02", "AA-03"), SEEN)))
    before, at, after = whole_run.partition(behind)
    return before + at + f"[  12.345678][   T77] {text}\r\n".encode() + after


@pytest.mark.parametrize("text", OOPS)
@pytest.mark.parametrize("log_of", [during, raw])
def test_an_oops_is_a_failure_of_the_check_during_which_it_came(text, log_of):
    report = judged(log_of(text))
    assert [result.verdict for result in report.results] == [PASS, FAIL, PASS]
    assert report.results[1].reason == f"the kernel said: {text}"
    assert report.results[1].kernel == (text,)


@pytest.mark.parametrize("text", NOTES)
@pytest.mark.parametrize("log_of", [during, raw])
def test_a_warning_is_shown_and_changes_no_verdict(text, log_of):
    report = judged(log_of(text))
    assert [result.verdict for result in report.results] == [PASS] * 3
    assert [result.kernel for result in report.results] == [(), (text,), ()]
    assert report.exit_status == 0


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_about_programs_is_not_about_the_kernel(text):
    assert message(text) is None


def test_all_reports_show_it_with_its_check():
    report = judged(during(NOTES[0]))
    assert json_report.as_json(report)["checks"][1]["kernel"] == [NOTES[0]]
    assert f"# AA-02: kernel: {NOTES[0]}" in ktap.render(report)
    assert f"<dt>the kernel said</dt><dd>{NOTES[0]}</dd>" in html.render(report)
    assert list(words.kernel(report)) == [f"AA-02: {NOTES[0]}"]


def test_an_oops_outside_of_any_check_fails_the_run():
    report = judged(raw(OOPS[0], b'"frames": 4}}\n'))
    assert [result.verdict for result in report.results] == [PASS] * 3
    assert report.trouble == (f"the kernel said outside of any check: {OOPS[0]}",)
    assert report.exit_status == 1
    assert report.trouble[0] in words.summary(report)
    assert f"# trouble: {report.trouble[0]}" in ktap.render(report)
    assert report.trouble[0] in html.render(report)
    assert json_report.as_json(report)["trouble"] == list(report.trouble)
    assert f"- trouble: {report.trouble[0]}\n" in markdown.of_report(report)


def test_an_oops_before_the_run_fails_it_and_a_warning_is_a_remark():
    text = framed(whole({"AA-01": SEEN}))
    report = judged(f"[    0.1] {OOPS[0]}\n[    0.2] {NOTES[0]}\n".encode() + text)
    assert report.trouble == (f"the kernel said outside of any check: {OOPS[0]}",)
    assert report.remarks == (f"the kernel said outside of any check: {NOTES[0]}",)
    assert judged(f"[    0.2] {NOTES[0]}\n".encode() + text).exit_status == 0


def test_an_oops_fails_also_what_would_have_been_skipped():
    runs = {"AA-04": ran("AA-04", [{"cannot": "no"}], "exit 77", extra=[{"kernel": [1, OOPS[1]]}])}
    report = judged(framed(whole(runs, place={**guest_log.PLACE, "uid": 1})))
    assert report.results[0].verdict is FAIL


def test_after_a_panic_what_was_not_made_is_an_error_that_names_it():
    text = raw(PANIC).partition(PANIC.encode())[0] + PANIC.encode()
    report = judged(text)
    assert [result.verdict for result in report.results] == [PASS, FAIL, ERROR]
    assert report.results[1].reason == f"the kernel said: {PANIC}"
    assert report.results[2].reason == f"not made: the kernel panicked during AA-02: {PANIC}"
    assert log.read([text]).ending.end is End.PANIC
    assert log.read([text]).ending.during == "AA-02"


def test_a_panic_that_only_the_console_shows_belongs_to_the_check_of_the_landmarks():
    things = whole(dict.fromkeys(("AA-01", "AA-02"), SEEN))
    numbered = [guest_log.frame(number, each) for number, each in enumerate(things)]
    marks = {"begin", "start", "ended"}
    last = next(at for at, each in enumerate(things) if each == {"start": "AA-02"})
    console = [line for line, each in zip(numbered[: last + 1], things, strict=False) if {*each} & marks]
    console.append(f"[   3.1] {PANIC}\n".encode())
    report = judged(b"".join(console), b"".join(numbered[: last + 2]))
    assert [result.verdict for result in report.results] == [PASS, FAIL]


def test_a_panic_behind_the_run_fails_it():
    report = judged(framed(whole({"AA-01": SEEN})) + f"[  9.1] {PANIC}\n".encode())
    assert (report.results[0].verdict, report.exit_status) == (PASS, 1)
    assert report.trouble == (f"the kernel panicked outside of any check: {PANIC}",)


def test_the_same_message_twice_is_shown_once_and_many_are_counted():
    assert judged(during(NOTES[0]) + b"").results[1].kernel == (NOTES[0],)
    many = [{"kernel": [4, f"WARNING: CPU: {number} PID: 1 at x"]} for number in range(11)]
    report = judged(framed(whole({"AA-01": ran("AA-01", SEEN, extra=[*many, *many])})))
    assert len(report.results[0].kernel) == 9
    assert report.results[0].kernel[-1] == "and 3 more such messages"


@pytest.mark.parametrize("log_of", ["frames", "console"])
def test_however_many_notes_there_are_an_oops_counts(log_of):
    said = [f"WARNING: CPU: {number} PID: 1 at x" for number in range(1500)] + OOPS[:1]
    if log_of == "frames":
        text = framed(whole({"AA-01": ran("AA-01", SEEN, extra=[{"kernel": [4, each]} for each in said])}))
    else:
        before, start, after = framed(whole({"AA-01": SEEN})).partition(b'{"start": "AA-01"}\n')
        text = before + start + "\n".join([*said, ""]).encode() + after
    assert judged(text).results[0].verdict is FAIL


def test_what_is_said_outside_of_checks_is_shown_in_part_and_counted():
    said = [f"{text} {number}\n" for text in (OOPS[0], NOTES[0]) for number in range(11)]
    report = judged("".join(said).encode() + framed(whole({"AA-01": SEEN})))
    assert [len(report.trouble), len(report.remarks)] == [9, 9]
    assert report.trouble[-1] == report.remarks[-1] == "and 3 more such messages"


def test_a_message_in_the_middle_of_a_long_line_is_shown_by_what_is_around_it():
    found = message("x" * 5000 + PANIC + "y" * 5000)
    assert found.kind is Kind.PANIC
    assert PANIC in found.text
    assert len(found.text) <= 200
