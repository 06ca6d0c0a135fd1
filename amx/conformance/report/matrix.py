"""Several runs beside each other: checks down, kernels across, and what changed from one to the next."""

from __future__ import annotations

import enum
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from amx.conformance import groups
from amx.conformance.check import KnownBug, Verdict
from amx.conformance.report.reading import Cell, Run, read
from amx.conformance.runner import FINE

__all__ = ["Change", "Kind", "Matrix", "Row", "Unread", "compare", "matrix"]

FAILED = (Verdict.FAIL, Verdict.ERROR)


class Kind(enum.Enum):
    """How a verdict changed. What counts is the last run before that judged the check at all."""

    BROKEN = "broken"  # from PASS or INFO to FAIL or ERROR
    FAILS_OTHERWISE = "fails otherwise"  # other expectations, another ending, ERROR in the place of FAIL
    REPAIRED = "repaired"  # from FAIL or ERROR to PASS or INFO
    NOT_JUDGED = "no longer judged"  # to SKIP, or to a run that lacks the check
    JUDGED = "judged now"  # from there


@dataclass(frozen=True, slots=True)
class Change:
    """From one run to a later one. Runs are numbers of columns, from 0."""

    id: str
    kind: Kind
    before: int  # the last run that judged the check, or the one just before
    after: int


@dataclass(frozen=True, slots=True)
class Row:
    """One check: a cell for each run, None where the run lacks it."""

    id: str
    claim: str
    authority: str
    bugs: tuple[KnownBug, ...]  # of the catalogue here
    cells: tuple[Cell | None, ...]
    changes: tuple[Change, ...]

    @property
    def group(self) -> str:
        """The part of the id before the dash."""
        return self.id.partition("-")[0]

    @property
    def failed(self) -> bool:
        """Whether it failed somewhere."""
        return any(cell and cell.verdict in FAILED for cell in self.cells)

    def change(self, column: int) -> Change | None:
        """The change that leads to a column."""
        return next((each for each in self.changes if each.after == column), None)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be read, and why."""

    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Runs in the order given, rows in the catalogue's; `names` are the runs', each another."""

    runs: tuple[Run, ...]
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    unread: tuple[Unread, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 where all files could be read and nothing broke from one run to the next, else 1."""
        broken = any(each.kind is Kind.BROKEN for each in self.changes)
        return 1 if self.unread or broken or self.new_trouble else 0

    @property
    def new_trouble(self) -> tuple[int, ...]:
        """The columns of runs that failed as a whole (a panic, a torn log) where the one before did not."""
        runs = self.runs
        return tuple(n for n in range(1, len(runs)) if runs[n].trouble and not runs[n - 1].trouble)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of them: by the run to which they lead, those that matter most first."""
        found = [change for row in self.rows for change in row.changes]
        order = list(Kind)
        return tuple(sorted(found, key=lambda each: (each.after, order.index(each.kind))))

    def row(self, id: str) -> Row:
        """The row of a check."""
        return next(row for row in self.rows if row.id == id)

    def absence(self, id: str, column: int) -> str:
        """That a run lacks a check."""
        return "not made" if id in self.runs[column].not_made else "not in that run"

    def why_absent(self, id: str, column: int) -> str:
        """The same, and why."""
        run = self.runs[column]
        if id in run.not_made:
            return "not made: that run was interrupted"
        return f"not in that run: another selection, or unknown to its version, {run.version}"

    def other_than_kernel(self, before: int, after: int) -> str:
        """What else differs between two runs, in words; empty where nothing is known to."""
        a, b = self.runs[before], self.runs[after]
        pairs = (
            ("lane", a.lane, b.lane),
            ("emulated by", a.emulated or "nothing", b.emulated or "nothing"),
            ("fault", a.fault or "none", b.fault or "none"),
            ("processor", a.processor or "unknown", b.processor or "unknown"),
            ("linux-amx", a.version, b.version),
        )
        return "; ".join(f"{what}: {old}, then {new}" for what, old, new in pairs if old != new)


def matrix(reports: Iterable[tuple[str, object]], *, only: Iterable[str] | None = None) -> Matrix:
    """Of JSON objects as `json_report.as_json` makes them, each with a name of where it is from.

    only: the checks to be looked at, by their ids; all without.

    Raises
    ------
    ReportError: one is no such object.
    """
    return compare([read(content, source) for source, content in reports], only=only)


def compare(
    runs: Sequence[Run], *, unread: Iterable[Unread] = (), only: Iterable[str] | None = None
) -> Matrix:
    """The matrix of runs that were read."""
    ids = _ids(runs)
    if only is not None:
        chosen = set(only)
        ids = [id for id in ids if id in chosen]
    bugs = {check.id: check.bugs for check in groups.checks()}
    return Matrix(
        tuple(runs), tuple(_names(runs)), tuple(_row(id, runs, bugs.get(id, ())) for id in ids), tuple(unread)
    )


def _ids(runs: Sequence[Run]) -> list[str]:
    """All ids: by group, as the catalogue has them; what it does not know behind that, as it came."""
    here = {check.id: number for number, check in enumerate(groups.checks())}
    found = dict.fromkeys(id for run in runs for id in run.cells)
    order = dict.fromkeys([*(id.partition("-")[0] for id in here), *(id.partition("-")[0] for id in found)])
    place = {group: number for number, group in enumerate(order)}
    return sorted(found, key=lambda id: (place[id.partition("-")[0]], here.get(id, len(here))))


def _names(runs: Sequence[Run]) -> Iterator[str]:
    """Kernels' releases; with the file, its path or a number where several runs have the same."""
    names = [run.kernel or "no release" for run in runs]
    for sources in ([os.path.basename(run.source) for run in runs], [run.source for run in runs]):
        count = Counter(names)
        names = [
            f"{run.kernel or 'no release'} ({source})" if count[name] > 1 else name
            for name, run, source in zip(names, runs, sources, strict=True)
        ]
    count, seen = Counter(names), Counter[str]()
    for name in names:
        seen[name] += 1
        yield f"{name} #{seen[name]}" if count[name] > 1 else name


def _row(id: str, runs: Sequence[Run], bugs: tuple[KnownBug, ...]) -> Row:
    cells = tuple(run.cells.get(id) for run in runs)
    last = next(cell for cell in reversed(cells) if cell)
    return Row(id, last.claim, last.authority, bugs, cells, tuple(_changes(id, cells)))


def _changes(id: str, cells: Sequence[Cell | None]) -> Iterator[Change]:
    judged = None  # the last column that was
    for column, cell in enumerate(cells):
        if column:
            before = column - 1 if judged is None else judged
            kind = _kind(cells[column - 1], None if judged is None else cells[judged], cell)
            if kind is Kind.JUDGED or kind is Kind.NOT_JUDGED:
                before = column - 1
            if kind:
                yield Change(id, kind, before, column)
        if _is_judged(cell):
            judged = column


def _kind(previous: Cell | None, judged: Cell | None, cell: Cell | None) -> Kind | None:
    """The change to a cell from the one before it, and from the last one that was judged."""
    if not cell or not _is_judged(cell):
        return Kind.NOT_JUDGED if _is_judged(previous) else None
    if judged:
        if cell.verdict in FAILED and judged.verdict in FINE:
            return Kind.BROKEN
        if cell.verdict in FINE and judged.verdict in FAILED:
            return Kind.REPAIRED
        if cell.verdict in FAILED and (cell.verdict, *cell.how_it_fails) != (
            judged.verdict,
            *judged.how_it_fails,
        ):
            return Kind.FAILS_OTHERWISE
    return None if _is_judged(previous) else Kind.JUDGED


def _is_judged(cell: Cell | None) -> bool:
    return cell is not None and cell.verdict is not Verdict.SKIP
