"""`amx check --compare`: what is read, what changed, and the terminal, the page, JSON and Markdown of it."""

import copy
import io
import json
import os
import re
from pathlib import Path

import pytest
import stand_in
from page import Page

from amx import cli
from amx.conformance import check as check_module
from amx.conformance import groups
from amx.conformance.check import Expectation, KnownBug, Verdict
from amx.conformance.report import (
    json_report,
    markdown,
    matrix_json,
    matrix_page,
    matrix_terminal,
    matrix_words,
    reading,
)
from amx.conformance.report.matrix import Kind, Unread, compare, matrix
from amx.conformance.report.reading import ReportError
from amx.conformance.runner import Report
from amx.conformance.verdict import Result
from amx.printable import printable

NASTY = "<script>alert('&')</script> | [x](y) `c` @all #1 **b** \x1b[2J\u202e \"q\"\nsecond line"
BUG = KnownBug("endless loop", "6.8, 6.6.18", "5.14")


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    """Three checks, of which the second can show a known bug."""
    declared = [stand_in.check("AA-01"), stand_in.check("AA-02", bugs=(BUG,)), stand_in.check("BB-01")]
    monkeypatch.setattr(groups, "load", lambda: None)
    monkeypatch.setattr(check_module, "_checks", {each.id: each for each in declared})


def cell(id, verdict, reason="", **more):
    """A check of a report as docs/json.md has it, with what comparisons read."""
    return {
        "id": id,
        "claim": f"claim of {id}",
        "verdict": verdict,
        "reason": reason,
        "ending": None if verdict == "SKIP" else "exit 0",
        "expectations": [],
        "observations": [],
        **more,
    }


def report(kernel="6.1.2", verdicts="PASS PASS PASS", *, ids=("AA-01", "AA-02", "BB-01"), **more):
    """A report with these verdicts, `-` for a check that it lacks."""
    return {
        "schema": 1,
        "version": "0.1.0",
        "lane": "native",
        "emulated": None,
        "fault": None,
        "kernel": kernel,
        "machine": [{"name": "processor", "text": "a CPU"}],
        "missing_lane": None,
        "checks": [
            cell(id, verdict) for id, verdict in zip(ids, verdicts.split(), strict=False) if verdict != "-"
        ],
        **more,
    }


def of(*verdicts):
    """The matrix of one check's verdicts, one kernel each."""
    return matrix([(f"{n}.json", report(f"6.{n}", each, ids=("AA-01",))) for n, each in enumerate(verdicts)])


def kinds(found):
    return [(each.kind, each.before, each.after) for each in found.changes]


# What changed.


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ("PASS PASS", []),
        ("SKIP SKIP", []),
        ("PASS INFO", []),
        ("PASS FAIL", [(Kind.BROKEN, 0, 1)]),
        ("PASS ERROR", [(Kind.BROKEN, 0, 1)]),
        ("INFO FAIL", [(Kind.BROKEN, 0, 1)]),
        ("FAIL PASS", [(Kind.REPAIRED, 0, 1)]),
        ("FAIL FAIL", []),
        ("FAIL ERROR", [(Kind.FAILS_OTHERWISE, 0, 1)]),
        ("PASS SKIP", [(Kind.NOT_JUDGED, 0, 1)]),
        ("SKIP PASS", [(Kind.JUDGED, 0, 1)]),
        ("SKIP FAIL", [(Kind.JUDGED, 0, 1)]),
        ("PASS SKIP SKIP FAIL", [(Kind.NOT_JUDGED, 0, 1), (Kind.BROKEN, 0, 3)]),
        ("FAIL SKIP PASS", [(Kind.NOT_JUDGED, 0, 1), (Kind.REPAIRED, 0, 2)]),
        ("PASS SKIP PASS", [(Kind.NOT_JUDGED, 0, 1), (Kind.JUDGED, 1, 2)]),
        ("PASS FAIL FAIL", [(Kind.BROKEN, 0, 1)]),
        ("PASS FAIL PASS FAIL", [(Kind.BROKEN, 0, 1), (Kind.REPAIRED, 1, 2), (Kind.BROKEN, 2, 3)]),
    ],
)
def test_a_change_is_from_the_last_kernel_that_was_judged(verdicts, expected):
    assert kinds(of(*verdicts.split())) == expected


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ("PASS PASS", 0),
        ("FAIL FAIL", 0),
        ("FAIL PASS", 0),
        ("PASS SKIP", 0),
        ("SKIP FAIL", 0),
        ("PASS FAIL", 1),
        ("PASS ERROR", 1),
        ("PASS SKIP FAIL", 1),
        ("PASS FAIL PASS", 1),
    ],
)
def test_the_status_is_1_where_something_broke(verdicts, status):
    assert of(*verdicts.split()).exit_status == status


def test_a_run_that_failed_as_a_whole_is_said_and_where_the_one_before_did_not_the_status_is_1(run):
    good, bad = report("6.1"), report("6.2", trouble=["the kernel panicked"], remarks=["a remark"])
    assert run([bad, good])[0] == 0
    assert run([bad, bad])[0] == 0
    status, output, _ = run([good, bad])
    assert status == 1
    assert "nothing broke, 1 run failed as a whole" in output
    assert "   trouble: the kernel panicked" in output
    found = matrix([("a", good), ("b", bad)])
    assert "trouble: the kernel panicked" in Page(matrix_page.render(found)).text
    assert "- 6.2: trouble: the kernel panicked\n- 6.2: a remark\n" in markdown.of_matrix(found)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (report(), "nothing failed"),
        (report(verdicts="PASS FAIL -"), "1 check failed"),
        (report(verdicts="SKIP SKIP -"), "nothing could be judged"),
        (report(missing_lane="native lane"), "a required lane is missing"),
        (report(not_made=["BB-01"]), "interrupted"),
        (report(trouble=["a panic"]), "1 run failed as a whole"),
    ],
)
def test_one_run_alone_is_a_success_only_where_it_was_one(one, words):
    assert matrix_words.headline(matrix([("a", one)])) == words


def test_a_failure_of_other_expectations_or_another_ending_fails_otherwise():
    def failing(what, ending="exit 0"):
        broken = [{"what": what, "expected": "0", "observed": "1", "holds": False}]
        return report(checks=[cell("AA-01", "FAIL", expectations=broken, ending=ending)])

    assert kinds(matrix([("a", failing("x")), ("b", failing("x"))])) == []
    assert kinds(matrix([("a", failing("x")), ("b", failing("y"))])) == [(Kind.FAILS_OTHERWISE, 0, 1)]
    assert kinds(matrix([("a", failing("x")), ("b", failing("x", "SIGILL"))])) == [
        (Kind.FAILS_OTHERWISE, 0, 1)
    ]


def test_the_order_of_kernels_is_the_one_given():
    old, new = ("old", report("6.1", "PASS")), ("new", report("6.2", "FAIL"))
    assert matrix([old, new]).names == ("6.1", "6.2")
    assert [each.kind for each in matrix([old, new]).changes] == [Kind.BROKEN]
    assert [each.kind for each in matrix([new, old]).changes] == [Kind.REPAIRED]


def test_rows_are_in_the_catalogues_order_and_what_it_lacks_is_behind_its_group():
    ids = ("ZZ-01", "BB-01", "AA-09", "AA-02", "AA-01")
    found = matrix([("a", report(ids=ids, verdicts="PASS " * 5)), ("b", report())])
    assert [row.id for row in found.rows] == ["AA-01", "AA-02", "AA-09", "BB-01", "ZZ-01"]


def test_changes_that_matter_most_come_first():
    runs = [("a", report("1.0", "SKIP FAIL PASS")), ("b", report("2.0", "PASS PASS FAIL"))]
    assert [each.kind for each in matrix(runs).changes] == [Kind.BROKEN, Kind.REPAIRED, Kind.JUDGED]


def test_a_check_that_a_run_lacks_says_why():
    runs = [report("6.1"), report("6.2", "PASS -"), report("6.3", "PASS -", not_made=["AA-02"])]
    found = matrix([(str(number), run) for number, run in enumerate(runs)])
    assert found.row("AA-02").cells[1] is None
    assert (found.absence("AA-02", 1), found.absence("AA-02", 2)) == ("not in that run", "not made")
    assert found.why_absent("AA-02", 1).endswith("unknown to its version, 0.1.0")
    assert found.why_absent("AA-02", 2) == "not made: that run was interrupted"


@pytest.mark.parametrize(
    ("kernels", "sources", "names"),
    [
        (("6.1", "6.2"), ("a", "b"), ("6.1", "6.2")),
        (("6.1", "6.1", "6.2"), ("x/a", "x/b", "c"), ("6.1 (a)", "6.1 (b)", "6.2")),
        (("6.1", "6.1"), ("x/a", "y/a"), ("6.1 (x/a)", "6.1 (y/a)")),
        (("6.1", "6.1"), ("a", "a"), ("6.1 (a) #1", "6.1 (a) #2")),
        (("", "6.2"), ("a", "b"), ("no release", "6.2")),
    ],
)
def test_kernels_of_one_name_are_told_apart(kernels, sources, names):
    assert matrix(zip(sources, map(report, kernels), strict=True)).names == names


def test_what_else_differs_than_the_kernel_is_said():
    other = report("6.2", lane="emulated", emulated="gnr, by SDE", version="0.2.0", fault="lies", machine=[])
    text = matrix_words.title(matrix([("a", report("6.1")), ("b", other)]), 1)
    for part in (
        "lane: native, then emulated",
        "emulated by: nothing, then gnr, by SDE",
        "processor: a CPU, then unknown",
        "linux-amx: 0.1.0, then 0.2.0",
        "fault: none, then lies",
    ):
        assert part in text


def test_what_was_lost_for_one_reason_is_one_step():
    reasons = {
        "AA-01": "says nothing without BB-01, which is FAIL: x",
        "AA-02": "says nothing without AA-01, which is SKIP: says nothing without BB-01, which is FAIL: x",
    }
    later = report(
        "6.2", checks=[*(cell(id, "SKIP", why) for id, why in reasons.items()), cell("BB-01", "FAIL")]
    )
    broken, lost = matrix_words.steps(matrix([("a", report("6.1")), ("b", later)]), 1)
    assert (broken.kind, broken.ids) == (Kind.BROKEN, ("BB-01",))
    assert (lost.ids, lost.why) == (("AA-01", "AA-02"), "says nothing without BB-01")


@pytest.mark.parametrize(
    ("kernel", "uname", "expected"),
    [
        ("6.7.1", "", "PASS, lacks the fix"),
        ("6.6.18", "", "PASS, should have the fix"),
        ("5.10.3", "", "PASS, is older than the bug"),
        (
            "6.6.0-5-amd64",
            "Linux 6.6.0-5-amd64 #1 SMP Debian 6.6.20-1 (2026-01-01)",
            "PASS, should have the fix",
        ),
        ("6.6.0-5-amd64", "Linux 6.6.0-5-amd64 #1 SMP Debian 6.6.2-1 (2026-01-01)", "PASS, lacks the fix"),
        ("mainline", "", "PASS, has no release to go by"),
    ],
)
def test_known_bugs_have_their_releases_and_how_each_kernel_stands(kernel, uname, expected):
    run = report(kernel, machine=[{"name": "kernel", "text": uname}])
    ((id, what, span, kernels),) = matrix_words.bugs(matrix([("a", run)]))
    assert (id, what, span) == ("AA-02", "endless loop", "introduced in 5.14, fixed in 6.8, 6.6.18")
    assert kernels == (expected,)


def test_reports_of_this_process_make_the_same_matrix():
    """What has just been run, and the file that was written of it."""
    check = stand_in.check("AA-01")
    broken = Expectation("x", "3", "4", holds=False)
    result = Result(check, Verdict.FAIL, "x", "exit 0", 0.1, (broken,), (("x", 4), ("mask", 0x600E7)))
    made = Report(stand_in.environment(), (check,), (result,), 0.1)
    here = matrix([("a", json_report.as_json(made))])
    assert here == matrix([("a", json.loads(json_report.render(made)))])
    assert here.rows[0].cells[0].broken == (broken,)
    assert here.rows[0].cells[0].observations == ("x = 4", "mask = 393447 (0x600e7)")


# What is read is somebody else's.


def altered(**more):
    return {**report(), **more}


def with_cell(**more):
    return altered(checks=[{**cell("AA-01", "PASS"), **more}])


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "text",
        {},
        altered(schema=2),
        altered(schema=True),
        altered(version=1),
        altered(kernel=None),
        altered(kernel="6" * 201),
        altered(lane=["native"]),
        altered(emulated=1),
        altered(machine={}),
        altered(machine=[{"name": 1, "text": "x"}]),
        altered(not_made="AA-01"),
        altered(checks={}),
        altered(checks=[1]),
        altered(checks=[cell("AA-01", "PASS")] * 2),
        altered(checks=[cell(f"AA-{number}", "PASS") for number in range(1001)]),
        with_cell(id="../AA"),
        with_cell(id='AA-01"><script>'),
        with_cell(id="AA-01\n"),
        with_cell(verdict="GOOD"),
        with_cell(verdict="pass"),
        with_cell(verdict=["PASS"]),
        with_cell(reason=None),
        with_cell(ending=5),
        with_cell(expectations=[{"what": "x"}]),
        with_cell(expectations=[{"what": "x", "expected": "", "observed": "", "holds": 1}]),
        with_cell(observations=[{"a": 1, "b": 2}]),
        with_cell(observations=[[]]),
        with_cell(notes=[1]),
        with_cell(known_bugs="x"),
        with_cell(kernel=[None]),
        altered(trouble="x"),
    ],
)
def test_what_is_no_report_is_refused(content):
    with pytest.raises(ReportError, match="it is no report of amx check --json"):
        reading.read(content, "x")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00",
        b"{",
        json.dumps(with_cell(observations=[{"x": float("nan")}])).encode(),
        b'{"schema": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        json.dumps(with_cell(observations=["deep"]))
        .encode()
        .replace(b'"deep"', b'{"x":' * 100_000 + b"1" + b"}" * 100_000),
    ],
)
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(ReportError):
        reading.load(tmp_path / "x")


def test_what_is_no_file_of_reasonable_size_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(reading.MOST_BYTES + 1)
    for name in ("fifo", "large", "missing", "."):
        with pytest.raises(OSError, match=r"regular file|more than|No such file"):
            reading.load(tmp_path / name)


@pytest.mark.parametrize("key", ["version", "kernel", "machine", "checks", "lane", "schema"])
def test_what_lacks_is_named(key):
    with pytest.raises(ReportError, match=f"lacks '{key}'"):
        reading.read({name: value for name, value in report().items() if name != key}, "x")


def test_long_texts_are_cut_and_say_so():
    found = reading.read(with_cell(reason="x" * 5000), "x").cells["AA-01"].reason
    assert len(found) < 4100
    assert found.endswith("(1,000 more characters)")


def hostile():
    """Two runs in which every text wants to be something else."""
    broken = {"what": NASTY, "expected": NASTY, "observed": NASTY, "holds": False}
    bad = cell(
        "AA-01",
        "FAIL",
        NASTY,
        claim=NASTY,
        authority=NASTY,
        ending=NASTY,
        expectations=[broken],
        observations=[{NASTY: NASTY}],
        notes=[NASTY],
        kernel=[NASTY],
        known_bugs=[NASTY],
        details=NASTY,
    )
    named = dict.fromkeys(("version", "lane", "emulated", "fault", "missing_lane"), NASTY)
    facts = [{"name": NASTY, "text": NASTY}, {"name": "processor", "text": NASTY}]
    worse = altered(**named, kernel=NASTY, machine=facts, trouble=[NASTY], remarks=[NASTY], checks=[bad])
    runs = [reading.read(report(), "good"), reading.read(worse, NASTY), reading.read(worse, f"{NASTY}/x")]
    return compare(runs, unread=[Unread(printable(NASTY), printable(NASTY))])


def test_on_the_page_every_text_is_text():
    page = Page(matrix_page.render(hostile()))
    assert not {"script", "link", "img", "iframe", "object", "b-"} & set(page.tags)
    assert {name for name, _ in page.attributes} <= {
        *("lang", "charset", "name", "content", "class", "id", "href", "scope", "colspan", "data-name"),
        *("role", "aria-label", "tabindex"),
    }
    assert "<script>alert('&')</script>" in page.text
    assert not set("\x1b\u202e") & set(page.text)


def test_on_the_page_every_link_leads_to_something_in_it():
    page = Page(matrix_page.render(hostile()))
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_page_needs_nothing_else():
    text = matrix_page.render(of("PASS", "FAIL"))
    assert not {"src", "onclick"} & {name for name, _ in Page(text).attributes}
    assert not re.search(r"url\(|@import|https?://", text)


def test_on_the_page_each_cell_has_its_verdict_as_a_word_and_leads_to_what_was_observed():
    broken = [{"what": "the mask", "expected": "0x600e7", "observed": "0x200e7", "holds": False}]
    later = report("6.2", checks=[cell("AA-01", "FAIL", "the mask", ending="SIGILL", expectations=broken)])
    text = matrix_page.render(matrix([("a", report("6.1")), ("b", later)]))
    assert '<a href="#AA-01.2"><span class="verdict FAIL">FAIL</span></a>' in text
    seen = text.partition('id="AA-01.2"')[2].partition("</section>")[0]
    for part in ("FAIL", "6.2", "the mask", "0x600e7", "0x200e7", "SIGILL"):
        assert part in seen
    assert "not in that run" in text.partition('href="#AA-02"')[2].partition("</tr>")[0]


def test_on_the_terminal_nothing_acts():
    stream = io.StringIO()
    matrix_terminal.show(hostile(), stream)
    assert not set("\x1b\u202e\r") & set(stream.getvalue())


def test_the_terminal_has_changes_and_failures_and_counts_the_rest():
    stream = io.StringIO()
    matrix_terminal.show(matrix([("a", report("6.1")), ("b", report("6.2", "PASS FAIL SKIP"))]), stream)
    text = stream.getvalue()
    assert re.search(r"^From 6\.1 to 6\.2:\n  broken +AA-02 +PASS, then FAIL", text, re.MULTILINE)
    assert re.search(r"^AA-02 +PASS +FAIL *$", text, re.MULTILINE)
    assert not re.search(r"^AA-01", text, re.MULTILINE)
    assert "2 checks failed nowhere: in the end 1 PASS, 1 SKIP." in text
    assert "known bug, AA-02: endless loop (introduced in 5.14, fixed in 6.8, 6.6.18)" in text


def test_in_markdown_every_text_is_text():
    text = markdown.of_matrix(hostile())
    tags = set(re.findall(r"<(/?\w+)", text))
    assert tags == {"details", "/details", "summary", "/summary"}
    for line in text.splitlines():
        assert not re.search(r"[`@\x1b\u202e]|\]\(|#\d", re.sub(r"&#\d+;", "", line))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    assert {line.count("|") for line in tables if "AA-01" in line} == {5, 6}


def test_markdown_of_one_run_has_its_failures_first():
    check = stand_in.check("AA-01")
    results = (Result(check, Verdict.PASS), Result(stand_in.check("AA-02"), Verdict.FAIL, "the mask"))
    made = Report(stand_in.environment(), tuple(each.check for each in results), results, 0.1)
    text = markdown.of_report(made)
    assert text.startswith("## AMX conformance: 1 check failed\n")
    assert text.index("| AA-02 | ❌ FAIL |") < text.index("| AA-01 | ✅ PASS |")
    assert "the mask" in text
    assert "From " not in text


def test_markdown_that_is_too_large_for_a_summary_leaves_out_what_did_not_fail(monkeypatch):
    monkeypatch.setattr(markdown, "LARGEST", 100)
    text = markdown.of_matrix(matrix([("a", report("6.1")), ("b", report("6.2", "PASS FAIL PASS"))]))
    assert text.endswith("Too large for all checks to be shown here.\n")
    assert "| AA-02 |" in text
    assert "| AA-01 |" not in text


# The command.


@pytest.fixture
def run(tmp_path, capsys):
    """Run `amx check --compare` on reports in files: (status, output, errors)."""

    def run(reports, *words):
        files = []
        for number, content in enumerate(reports):
            files.append(tmp_path / f"{number}.json")
            files[-1].write_text(content if isinstance(content, str) else json.dumps(content))
        return cli.main(["check", *words, "--compare", *map(str, files)]), *capsys.readouterr()

    return run


def test_the_exit_statuses_of_the_command(run):
    good, bad = report("6.1"), report("6.2", "PASS FAIL PASS")
    assert run([good, good])[0] == 0
    assert run([bad, good])[0] == 0
    assert run([good, bad])[0] == 1
    assert run([good, good, "{"])[0] == 1
    assert run(["{", "{"])[0] == 1
    assert run([good, bad], "AA-01")[0] == 0


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_compared(run, tmp_path):
    status, output, _ = run([report("6.1"), "{", report("6.2")], "--json", str(tmp_path / "j"))
    assert status == 1
    assert f"{tmp_path / '1.json'} cannot be read: it is no JSON" in output
    found = json.loads((tmp_path / "j").read_text())
    assert [each["name"] for each in found["kernels"]] == ["6.1", "6.2"]
    assert [each["source"] for each in found["unread"]] == [str(tmp_path / "1.json")]


def test_the_files_are_written(run, tmp_path):
    files = {option: tmp_path / option for option in ("json", "html", "markdown")}
    options = [f"--{option}={file}" for option, file in files.items()]
    assert run([report("6.1"), report("6.2", "FAIL")], *options)[0] == 1
    assert json.loads(files["json"].read_text())["exit_status"] == 1
    assert files["html"].read_text().startswith("<!DOCTYPE html>\n")
    assert files["markdown"].read_text().startswith("## AMX conformance: 1 check broke")


def test_a_report_on_standard_output_stands_there_alone(run):
    _, output, errors = run([report("6.1"), report("6.2")], "--json=-")
    assert json.loads(output)["schema"] == 1
    assert "no change" in errors


def test_a_report_that_cannot_be_written_is_2(run):
    status, _, errors = run([report("6.1"), report("6.2")], "--json=/dev/full")
    assert (status, errors) == (2, "amx check: cannot write /dev/full: No space left on device\n")


@pytest.mark.parametrize("words", [["--ktap"], ["--require=native"], ["--optional"], ["--list"], ["ZZ"]])
def test_wrong_usage_is_2(run, words):
    with pytest.raises(SystemExit) as ended:
        run([report(), report()], *words)
    assert ended.value.code == 2


@pytest.mark.parametrize("number", [1, 33])
def test_so_many_reports_are_wrong_usage(run, number):
    with pytest.raises(SystemExit) as ended:
        run([report()] * number)
    assert ended.value.code == 2


def test_json_keys_are_those_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    section = text.partition("## `amx check --compare --json`")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`([a-z_]+)`", section))

    def keys(value):
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    found = matrix_json.as_json(matrix([("a", report("6.1")), ("b", report("6.2", "FAIL FAIL"))]))
    assert keys(found) - {"schema", *Verdict.__members__} <= documented


def test_the_json_has_every_cell(run):
    earlier = report("6.1")
    later = copy.deepcopy(earlier) | {"kernel": "6.2"}
    later["checks"].pop()
    found = json.loads(matrix_json.render(matrix([("a", earlier), ("b", later)])))
    assert [[each and each["verdict"] for each in row["cells"]] for row in found["checks"]] == [
        ["PASS", "PASS"],
        ["PASS", "PASS"],
        ["PASS", None],
    ]
    assert found["changes"] == [{"id": "BB-01", "kind": "no longer judged", "before": 0, "after": 1}]
