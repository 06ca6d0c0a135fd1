"""What the JSON report of an earlier run says (docs/json.md); somebody else may have written it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from amx import foreign_file
from amx.conformance.check import Expectation, Verdict, upstream
from amx.conformance.report import words
from amx.foreign_json import Json
from amx.printable import printable, printable_lines

__all__ = ["Cell", "ReportError", "Run", "load", "read"]

SCHEMA = 1
MOST_BYTES = 8 * 2**20  # of a file; that of a whole run has a quarter of a million
MOST_CHECKS = 1000
ID = re.compile(r"[A-Z]{1,8}-[0-9]{1,4}")
LONGEST_NAME = 200  # characters of a release, a version, a lane
LONGEST_TEXT = 4000  # characters of what is only shown


class ReportError(ValueError):
    """It is no report of `amx check --json`; the text says why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one check on one kernel."""

    id: str
    claim: str
    authority: str
    verdict: Verdict
    reason: str
    ending: str  # empty where the provocation did not run
    expectations: tuple[Expectation, ...]
    observations: tuple[str, ...]  # as text, a line each
    notes: tuple[str, ...]
    kernel: tuple[str, ...]  # what the kernel said meanwhile
    known_bugs: tuple[str, ...]  # as the run itself worded them
    details: str

    @property
    def broken(self) -> tuple[Expectation, ...]:
        """The expectations that do not hold."""
        return tuple(each for each in self.expectations if not each.holds)

    @property
    def how_it_fails(self) -> tuple[str, ...]:
        """What tells one failure from another; numbers of one run, such as seconds, do not."""
        return (*(each.what for each in self.broken), self.ending)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: where it was made, and a cell for each check that it has."""

    source: str  # name of the file
    version: str  # of linux-amx
    kernel: str  # release
    lane: str
    emulated: str  # by what, empty where it is not
    fault: str  # name of the deliberate one, or empty
    facts: tuple[tuple[str, str], ...]
    not_made: tuple[str, ...]  # ids, of an interrupted run
    missing_lane: str
    trouble: tuple[str, ...]  # what is wrong with the run as a whole
    remarks: tuple[str, ...]  # what the kernel said outside of any check
    cells: Mapping[str, Cell]

    @property
    def processor(self) -> str:
        """As the run describes it, empty where it does not."""
        return dict(self.facts).get("processor", "")[:LONGEST_NAME]

    @property
    def upstream(self) -> str:
        """The release to hold known bugs against."""
        return upstream(self.kernel, dict(self.facts).get("kernel", ""))

    @property
    def place(self) -> str:
        """The lane and the processor: what else than the kernel decides a verdict."""
        lane = f"{self.lane} ({self.emulated})" if self.emulated else self.lane
        return ", ".join(
            text
            for text in (f"lane {lane}", f"fault {self.fault}" * bool(self.fault), self.processor)
            if text
        )

    def count(self, verdict: Verdict) -> int:
        """How many checks have this verdict."""
        return sum(cell.verdict is verdict for cell in self.cells.values())


def load(path: str | os.PathLike[str]) -> Run:
    """The run that a file reports.

    Raises
    ------
    OSError: it cannot be read, or is no regular file of a reasonable size.
    ReportError: it is no such report.
    """
    text = foreign_file.read(path, MOST_BYTES)
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ReportError(f"it is no JSON: {why:.200}") from None
    return read(content, os.fspath(path))


def read(content: object, source: str) -> Run:
    """The run of a JSON object, such as `json_report.as_json` makes; `source` names it.

    Raises
    ------
    ReportError: it is no such object.
    """
    try:
        return _run(content, source)
    except KeyError as error:
        raise ReportError(f"it is no report of amx check --json: it lacks {error.args[0]!r}") from None
    except RecursionError:
        raise ReportError("it is nested too deeply") from None
    except ValueError as error:
        raise ReportError(f"it is no report of amx check --json: {error}") from None


def _run(content: object, source: str) -> Run:
    report = Json(content)
    schema = report.number("schema")
    if schema != SCHEMA:
        raise ValueError(f"it has schema {schema}, and this version reads {SCHEMA}")
    checks = report.objects("checks")
    if len(checks) > MOST_CHECKS:
        raise ValueError(f"it has more than {MOST_CHECKS} checks")
    cells: dict[str, Cell] = {}
    for each in checks:
        cell = _cell(each)
        if cell.id in cells:
            raise ValueError(f"it has {cell.id} twice")
        cells[cell.id] = cell
    return Run(
        source=printable(source),
        version=_named(report.text("version"), "version"),
        kernel=_named(report.text("kernel"), "kernel"),
        lane=_named(report.text("lane"), "lane"),
        emulated=_named(report.text_or_nothing("emulated"), "emulated"),
        fault=_named(report.text_or_nothing("fault"), "fault"),
        facts=tuple(
            (_short(fact.text("name")), _short(fact.text("text"))) for fact in report.objects("machine")
        ),
        not_made=tuple(id for id in report.texts("not_made", ()) if ID.fullmatch(id)),
        missing_lane=_short(report.text_or_nothing("missing_lane")),
        trouble=tuple(map(_short, report.texts("trouble", ()))),
        remarks=tuple(map(_short, report.texts("remarks", ()))),
        cells=cells,
    )


def _cell(check: Json) -> Cell:
    id = check.text("id")
    if not ID.fullmatch(id):
        raise ValueError(f"{id[:40]!a} is no check's id")
    verdict = check.text("verdict")
    if verdict not in Verdict.__members__:
        raise ValueError(f"{id} has the verdict {verdict[:40]!a}")
    return Cell(
        id=id,
        claim=_short(check.text("claim")),
        authority=_short(check.text("authority", "")),
        verdict=Verdict[verdict],
        reason=_short(check.text("reason")),
        ending=_short(check.text_or_nothing("ending")),
        expectations=tuple(map(_expectation, check.objects("expectations"))),
        observations=tuple(_short(words.observation(*pair)) for pair in check.pairs("observations")),
        notes=tuple(map(_short, check.texts("notes", ()))),
        kernel=tuple(map(_short, check.texts("kernel", ()))),
        known_bugs=tuple(map(_short, check.texts("known_bugs", ()))),
        details=_short(check.text_or_nothing("details")),
    )


def _expectation(found: Json) -> Expectation:
    what, expected, observed = (_short(found.text(name)) for name in ("what", "expected", "observed"))
    return Expectation(what, expected, observed, found.flag("holds"))


def _named(text: str, what: str) -> str:
    """A name that stands in heads of tables."""
    if len(text) > LONGEST_NAME:
        raise ValueError(f"its {what} has more than {LONGEST_NAME} characters")
    return printable(" ".join(text.split()))


def _short(text: str) -> str:
    """A text that is shown: lines and tabs stay, what else acts on a terminal or a page is an escape."""
    rest = len(text) - LONGEST_TEXT
    return printable_lines(text if rest <= 0 else f"{text[:LONGEST_TEXT]} ... ({rest:,} more characters)")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
