"""The reports of a run: JSON, KTAP read by a parser of our own, the page, the terminal."""

import dataclasses
import io
import json
import re

import pytest
import stand_in
from page import Page

from amx.conformance.check import Expectation, KnownBug, Need, Verdict
from amx.conformance.report import html as html_report
from amx.conformance.report import json_report, ktap, words
from amx.conformance.report.terminal import Terminal
from amx.conformance.runner import Report
from amx.conformance.verdict import Result

PASS, FAIL, SKIP, INFO, ERROR = Verdict
NASTY = "<script>alert('&')</script> # SKIP \u2028 \"quoted\"\nsecond line"


def sample(**more):
    """A run with every verdict, in three groups, with all that could break a report."""
    holds = Expectation("result", "0", "0", holds=True)
    broken = Expectation(NASTY, "-28 (ENOSPC)", "-1 (EPERM)", holds=False)
    check = stand_in.check
    bug = KnownBug("endless loop", "6.8, 6.7.6")
    results = (
        Result(check("AA-01"), PASS, "", "exit 0", 0.25, (holds,), (("mask", 0x600E7), ("text", NASTY))),
        Result(
            dataclasses.replace(check("AA-02"), claim=NASTY, bugs=(bug,), documented="-ENOSUPP"),
            FAIL,
            NASTY,
            "exit 0",
            0.01,
            (holds, broken),
            (("result", -1),),
            ("a note",),
        ),
        Result(check("AA-03"), FAIL, "hung: killed after 5.0 s", "hung", 5.0),
        Result(check("BB-01", needs=frozenset({Need.KVM})), SKIP, "/dev/kvm is absent"),
        Result(check("BB-02", documented="otherwise"), SKIP, "/dev/kvm is absent"),
        Result(check("CC-01"), ERROR, "the judge itself failed", "exit 0", details="Traceback\n  <here>"),
        Result(check("CC-02", information=True), INFO, "18 us", "exit 0", notes=("18 us",)),
    )
    selected = tuple(result.check for result in results)
    return dataclasses.replace(Report(stand_in.environment(), selected, results, 5.5), **more)


def interrupted():
    """The same, interrupted after the fourth check."""
    return sample(results=sample().results[:4], interrupted=True)


def test_json_has_every_check_with_all_that_was_seen():
    found = json.loads(json_report.render(sample()))
    assert found["schema"] == 1
    assert [each["id"] for each in found["checks"]] == [result.check.id for result in sample().results]
    assert found["counts"] == {"PASS": 1, "FAIL": 2, "SKIP": 2, "INFO": 1, "ERROR": 1}
    assert found["exit_status"] == 1
    assert found["checks"][0]["observations"] == [{"mask": 0x600E7}, {"text": NASTY}]
    failed = found["checks"][1]
    assert failed["expectations"][1] == {
        "what": NASTY,
        "expected": "-28 (ENOSPC)",
        "observed": "-1 (EPERM)",
        "holds": False,
    }
    assert failed["known_bugs"] == [
        "endless loop (fixed in 6.8, 6.7.6; this kernel, 6.18.44, should have the fix)"
    ]


def test_known_bugs_are_held_against_the_release_behind_debians_name():
    """6.1.0-56 is the name of an ABI, which stays while fixes come."""
    uname = "Linux 6.1.0-56-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16) x86_64"
    debian = stand_in.environment(release="6.1.0-56-amd64", facts=(("kernel", uname),))
    bug = KnownBug("endless loop", "6.8, 6.1.79")
    failed = Result(stand_in.check("AA-01", bugs=(bug,)), FAIL, "hung")
    found = json_report.as_json(Report(debian, (failed.check,), (failed,), 0.1))
    assert found["kernel"] == "6.1.0-56-amd64"
    assert found["checks"][0]["known_bugs"] == [
        "endless loop (fixed in 6.8, 6.1.79; this kernel, 6.1.192, should have the fix)"
    ]


def test_json_keys_are_those_of_the_documentation():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    section = text.partition("## `amx check --json`")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`([a-z_]+)`", section))
    found = json.loads(json_report.render(sample()))
    assert set(found) - {"schema"} | set(found["checks"][0]) <= documented


def test_json_says_what_an_interrupted_run_left_out():
    found = json.loads(json_report.render(interrupted()))
    assert (found["interrupted"], found["not_made"]) == (True, ["BB-02", "CC-01", "CC-02"])


# A KTAP parser after the text of Documentation/dev-tools/ktap.rst, knowing nothing of the writer.
VERSION = re.compile(r"KTAP version 1$")
PLAN = re.compile(r"1\.\.(\d+)$")
RESULT = re.compile(r"(ok|not ok) (\d+)(?: (?:- )?([^#]*?))?(?: ?# ?(.*))?$")
DIRECTIVES = ("SKIP", "TODO", "XFAIL", "TIMEOUT", "ERROR")


def parse(lines, depth=0):
    """(plan, [(name, verdict, directive, subtests)]) of one level; consumes the lines."""
    indent = "  " * depth
    assert VERSION.match(lines.pop(0).removeprefix(indent))
    plan, tests, subtests = None, [], None
    while lines:
        if lines[0].startswith(f"{indent}  KTAP version"):
            subtests = parse(lines, depth + 1)
            continue
        if not lines[0].startswith(indent) or (depth and VERSION.match(lines[0].lstrip())):
            break
        line = lines[0].removeprefix(indent)
        if depth and not lines[0].startswith(indent):
            break
        lines.pop(0)
        if line.startswith("#"):
            continue
        if PLAN.match(line):
            assert plan is None
            plan = int(PLAN.match(line)[1])
            continue
        assert not line.startswith(" "), line
        outcome, number, name, data = RESULT.match(line).groups()
        assert int(number) == len(tests) + 1
        directive = next((each for each in DIRECTIVES if (data or "").split(" ")[0] == each), None)
        tests.append((name.strip(), outcome, directive, subtests))
        subtests = None
    assert plan is not None
    return plan, tests


def test_ktap_is_what_the_kernels_document_says():
    plan, groups = parse(ktap.render(sample()).splitlines())
    assert plan == 3
    assert [(name, outcome, directive) for name, outcome, directive, _ in groups] == [
        ("AA", "not ok", None),
        ("BB", "ok", "SKIP"),
        ("CC", "not ok", None),
    ]
    assert groups[0][3] == (
        3,
        [
            ("AA-01", "ok", None, None),
            ("AA-02", "not ok", None, None),
            ("AA-03", "not ok", "TIMEOUT", None),
        ],
    )
    assert groups[1][3] == (2, [("BB-01", "ok", "SKIP", None), ("BB-02", "ok", "SKIP", None)])
    assert groups[2][3] == (2, [("CC-01", "not ok", "ERROR", None), ("CC-02", "ok", None, None)])


def test_ktap_of_an_interrupted_run_plans_more_than_it_has():
    plan, groups = parse(ktap.render(interrupted()).splitlines())
    assert (plan, len(groups)) == (3, 2)
    name, outcome, directive, (subplan, subtests) = groups[1]
    assert (name, outcome, directive, subplan, len(subtests)) == ("BB", "not ok", "ERROR", 2, 1)


def test_ktap_explains_a_failure_before_its_line():
    lines = ktap.render(sample()).splitlines()
    failed = next(number for number, line in enumerate(lines) if line.startswith("  not ok 2 AA-02"))
    before = "\n".join(lines[:failed])
    for text in ("expected", "-28 (ENOSPC)", "observed", "-1 (EPERM)", "authority", "known bug"):
        assert "# AA-02: " in before
        assert text in before


def test_in_ktap_a_reason_is_text():
    *others, last = sample().results[:4]
    results = (*others, dataclasses.replace(last, reason="a\x1b[2Jb"))
    assert r"ok 1 BB-01 # SKIP a\x1b[2Jb" in ktap.render(sample(results=results))


def test_in_ktap_no_reason_makes_a_failure_another_outcome():
    first, failed, *others = sample().results
    results = (first, dataclasses.replace(failed, reason="the kernel said: BUG: x # SKIP y"), *others)
    text = ktap.render(sample(results=results))
    assert r"not ok 2 AA-02 # the kernel said: BUG: x \# SKIP y" in text
    assert not re.search("not ok .* # SKIP", text)  # as tools/testing/kunit/kunit_parser.py looks for it


def test_the_page_is_well_formed_and_has_every_check():
    page = Page(html_report.render(sample()))
    assert len(page.ids) == len(set(page.ids))
    assert {result.check.id for result in sample().results} <= set(page.ids)
    assert NASTY in page.text
    assert "-28 (ENOSPC)" in page.text
    assert "this kernel, 6.18.44, should have the fix" in page.text


def test_the_page_needs_nothing_else():
    text = html_report.render(sample())
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "onclick"} & {name for name, _ in page.attributes}
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_shows_what_the_kernel_documents_otherwise():
    text = Page(html_report.render(sample())).text
    assert "-ENOSUPP" in text
    assert f"{NASTY}: -1 (EPERM)" in text
    assert "not observed here (SKIP: /dev/kvm is absent)" in text


def test_the_page_of_an_interrupted_run_says_so():
    text = Page(html_report.render(interrupted())).text
    assert "INTERRUPTED, 3 not made" in text
    assert "BB-02, CC-01, CC-02" in text


def shown(report):
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.begin(report.environment)
    with terminal.progress(report.selected):
        for result in report.results:
            terminal.about_to(result.check)
            terminal.show(result)
    terminal.end(report)
    return stream.getvalue()


def test_the_terminal_shows_a_line_for_each_check_and_explains_failures():
    text = shown(sample())
    for result in sample().results:
        assert re.search(rf"^{result.verdict.value} +{result.check.id} ", text, re.MULTILINE)
    assert "  observed: " in text
    assert "  authority: arch/x86/fpu: a_function()" in text
    assert (
        text.splitlines()[-1] == "7 checks, lane native: 1 PASS, 2 FAIL, 2 SKIP, 1 INFO, 1 ERROR, in 5.5 s."
    )


def test_output_that_is_no_terminal_is_plain():
    """No escape sequences, no wrapping, nothing rewritten."""
    text = shown(sample())
    assert "\x1b" not in text
    assert "\r" not in text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_explanation_names_claim_expectation_authority_and_what_was_seen(verdict):
    result = dataclasses.replace(sample().results[1], verdict=verdict)
    text = "\n".join(words.explanation(result, "6.7.5"))
    for part in (NASTY, "-28 (ENOSPC)", "-1 (EPERM)", "a_function()", "lacks the fix", "result = -1"):
        assert part in text
