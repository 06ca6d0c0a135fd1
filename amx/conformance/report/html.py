"""A run as one page that needs no script and no other file, readable wide, narrow, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from amx.conformance import groups
from amx.conformance.check import Check, Verdict
from amx.conformance.report import page, words
from amx.conformance.runner import Report
from amx.conformance.verdict import Result
from amx.lane import Lane

__all__ = ["render"]

TITLE = "AMX conformance"


def render(report: Report) -> str:
    """The text of the page."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = _title(report)
    yield from page.begin(f"{title}: Linux {report.environment.release}", "page.css")
    yield f"<h1>{title}: {_headline(report)}</h1>"
    yield f'<p class="lead">{escape(words.summary(report))}</p>'
    yield '<ul class="counts">'
    yield from (
        f'<li class="{each.value if report.count(each) else "none"}"><b>{report.count(each)}</b> '
        f'<span class="verdict">{each.value}</span></li>'
        for each in Verdict
    )
    yield "</ul>"
    yield from _whole(report)
    yield "<h2>The machine</h2>"
    yield page.listed("facts", (("lane", words.lane(report.environment)), *report.environment.facts))
    for name, results in groupby(report.results, lambda result: result.check.group):
        subject = escape(groups.subject(name))
        yield f'<h2 id="{escape(name)}">{escape(name)} <small>{subject}</small></h2>'
        yield "<section>"
        for result in results:
            yield from _check(result, report.environment.upstream)
        yield "</section>"
    yield from _documented(report)
    yield from _not_made(report.selected[len(report.results) :])
    yield page.FOOTER
    yield "</body></html>"


def _whole(report: Report) -> Iterator[str]:
    """What concerns no single check."""
    entries = [("trouble", text) for text in report.trouble] + [("note", text) for text in report.remarks]
    if entries:
        yield "<h2>The run as a whole</h2>"
        yield page.listed("about", entries)


def _title(report: Report) -> str:
    return f"{TITLE}, emulated" if report.environment.diagnosis.emulated else TITLE


def _headline(report: Report) -> str:
    match report.exit_status:
        case 0:
            return "all that was judged passed" + (", without AMX" * (report.environment.lane is Lane.NONE))
        case 77:
            return "nothing could be judged"
        case 130:
            return "interrupted"
    failed = report.count(Verdict.FAIL)
    if failed:
        return f"{failed} {'claims are' if failed > 1 else 'claim is'} broken"
    if report.count(Verdict.ERROR):
        return "the suite itself failed"
    return "the run as a whole failed" if report.trouble else "a required lane is missing"


def _check(result: Result, release: str) -> Iterator[str]:
    check, verdict = result.check, result.verdict.value
    is_open = " open" if result.verdict in (Verdict.FAIL, Verdict.ERROR) else ""
    reason = f'<span class="reason">{escape(result.reason)}</span>' if result.reason else ""
    yield f'<details class="check {verdict}" id="{escape(check.id)}"{is_open}>'
    yield (
        f"<summary>{page.marked(verdict)} "
        f'<span class="id">{escape(check.id)}</span> '
        f'<span class="what"><span class="claim">{escape(check.claim)}</span>{reason}</span></summary>'
    )
    yield '<div class="inside">'
    if result.expectations:
        yield page.table(
            ("", "expected", "observed"),
            ((each.what, each.expected, each.observed) for each in result.expectations),
            [each.holds for each in result.expectations],
        )
    yield page.listed("about", _about(result, release))
    if result.observations:
        lines = "\n".join(words.observation(key, value) for key, value in result.observations)
        yield f'<pre class="raw">{escape(lines)}</pre>'
    if result.details:
        yield f'<pre class="raw">{escape(result.details)}</pre>'
    yield "</div></details>"


def _about(result: Result, release: str) -> Iterator[tuple[str, str]]:
    check = result.check
    yield "authority", check.authority
    if check.since:
        yield "holds since", f"Linux {check.since}" if check.since[0].isdigit() else check.since
    if check.needs:
        yield "needs", ", ".join(sorted(need.value for need in check.needs))
    if check.depends:
        yield "depends on", ", ".join(check.depends)
    if check.covers:
        yield "of the kernel's selftest", ", ".join(check.covers)
    yield from (("known bug", words.bug(bug, release)) for bug in check.bugs)
    yield from (("note", note) for note in result.notes)
    yield from (("the kernel said", text) for text in result.kernel)
    if result.ending:
        yield "provocation", f"{result.ending}, {result.seconds * 1e3:.0f} ms"


def _documented(report: Report) -> Iterator[str]:
    rows = [
        (result.check.id, result.check.documented, observed) for result, observed in words.documented(report)
    ]
    if rows:
        yield "<h2>Documented and observed <small>where the kernel's documentation differs</small></h2>"
        yield page.table(("check", "documented", "observed here"), rows)


def _not_made(checks: Iterable[Check]) -> Iterator[str]:
    ids = ", ".join(check.id for check in checks)
    if ids:
        yield f"<h2>Not made</h2><p>{escape(ids)}</p>"
