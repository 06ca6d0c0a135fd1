"""The second table: calls from Python, ours against other libraries', packed against packed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amx.bench.grid import Case
from amx.bench.operands import FullRange, Operands
from amx.bench.ours import bits_differ, call_of
from amx.bench.peers.peer import AmxUse, Form, Peer, UnsupportedError
from amx.bench.timing import Clock, Pace, Side, Summary, interleave, ratios, summarise
from amx.bench.turns import FailedError, failure, guarded, in_turn, repeated
from amx.dtypes import Array

__all__ = ["OURS", "CallRow", "Contest", "best", "prepare"]

OURS = "amx"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One library's product.

    Attributes
    ----------
    seconds: of one call; None where there was none, and `reason` says why.
    gops: GOP/s by the median.
    ratio: how many times faster our call of the same form was, pair by pair; None for ours.
    of_neighbour: of ours, the rate over that of our call of the same form of the product beside it
        (neighbour.py), pair by pair; None where none was measured.
    difference: how its result differs from our plain call's, empty where it agrees.
    wrong: what is wrong with a library's products, of these data or of full-range ones, so that it is not
        timed; empty where nothing is.
    amx: whether it used AMX; None for ours, whose backend the report names.
    float32: whether the library holds the operands as float32.
    """

    case: Case
    library: str
    form: Form
    threads: int
    seconds: Summary | None
    gops: float | None
    ratio: Summary | None
    of_neighbour: Summary | None
    difference: str
    reason: str
    amx: AmxUse | None
    wrong: str = ""
    float32: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """A peer's product that is to be timed."""

    library: str
    form: Form
    call: Callable[[], Any]
    amx: AmxUse
    float32: bool


@dataclass(frozen=True, slots=True)
class _Own:
    """Our call of one form; `difference` to the plain one."""

    form: Form
    call: Callable[[], Array]
    difference: str


@dataclass(frozen=True)
class Contest:
    """One case, prepared and checked, ready to be timed. `beside` are our calls of the product beside it."""

    case: Case
    threads: int
    ours: tuple[_Own, ...]
    beside: tuple[_Own, ...]
    share: float  # of its operations in those of the product beside it
    entries: tuple[_Entry, ...]
    absent: tuple[CallRow, ...]

    def measure(self, pace: Pace, clock: Clock) -> list[CallRow]:
        """Ours first, then the peers in order, then those that have no such product.

        A peer that raises while it is timed is one of the latter, and the others begin anew: pairs need all
        rounds of both.
        """
        try:
            return self._measure(pace, clock)
        except FailedError as failed:
            entry = failed.whose
            assert isinstance(entry, _Entry)
            reason = failure(failed.error)
            absent = _absent(self.case, entry.library, entry.form, self.threads, reason)
            others = tuple(other for other in self.entries if other is not entry)
            return replace(self, entries=others, absent=(*self.absent, absent)).measure(pace, clock)

    def _measure(self, pace: Pace, clock: Clock) -> list[CallRow]:
        sides = [Side(f"{OURS} {own.form.value}", OURS, repeated(own.call)) for own in self.ours]
        sides += [Side(f"beside {own.form.value}", OURS, repeated(own.call)) for own in self.beside]
        sides += [
            Side(f"{entry.library} {entry.form.value}", entry.library, guarded(entry, entry.call))
            for entry in self.entries
        ]
        samples = interleave(sides, pace, clock)
        in_order = iter(samples)
        our_samples = {own.form: next(in_order) for own in self.ours}
        beside = {own.form: next(in_order) for own in self.beside}
        rows = []
        for own in self.ours:
            seconds = our_samples[own.form]
            of_neighbour = ratios(seconds, beside[own.form]).times(self.share) if own.form in beside else None
            rows.append(self._row(OURS, own.form, seconds, None, of_neighbour, own.difference, None))
        for entry, seconds in zip(self.entries, in_order, strict=True):
            ratio = ratios(our_samples[entry.form], seconds)
            row = self._row(entry.library, entry.form, seconds, ratio, None, "", entry.amx)
            rows.append(replace(row, float32=entry.float32))
        return [*rows, *self.absent]

    def _row(
        self,
        library: str,
        form: Form,
        samples: Sequence[float],
        ratio: Summary | None,
        of_neighbour: Summary | None,
        difference: str,
        use: AmxUse | None,
    ) -> CallRow:
        seconds = summarise(samples)
        gops = self.case.shape.operations / seconds.median / 1e9
        return CallRow(
            self.case, library, form, self.threads, seconds, gops, ratio, of_neighbour, difference, "", use
        )


def prepare(
    operands: Operands,
    peers: Sequence[Peer],
    threads: int,
    beside: Operands | None = None,
    full: FullRange | None = None,
    copies: int = 1,
) -> Contest:
    """Prepare all sides of a case, and compare every peer's result with ours.

    A peer whose result differs, or whose product of full-range integers is wrong, is not timed. `beside`: of
    a product whose calls take turns with ours, to compare the rates; `full`: full-range integers; `copies`:
    of B, which take turns on each side.
    """
    others = [replace(operands, b=operands.b.copy()) for _ in range(copies - 1)]
    calls = {form: in_turn([call_of(each, form) for each in (operands, *others)]) for form in Form}
    want = calls[Form.PLAIN]()
    ours = tuple(_Own(form, call, bits_differ(call(), want)) for form, call in calls.items())
    entries: list[_Entry] = []
    absent: list[CallRow] = []
    for peer, form in itertools.product(peers, Form):
        try:
            product = peer.prepare(operands, form, threads)
            difference = product.difference(want, operands)
            wrong = difference
            if full and not wrong:
                wrong = peer.prepare(full.operands, form, threads).error(full)
            if wrong:
                reason = f"wrong: {wrong}"
                absent.append(_absent(operands.case, peer.name, form, threads, reason, difference, wrong))
            else:
                use = peer.used_amx(product)
                turns = [product.call, *(peer.prepare(other, form, threads).call for other in others)]
                entries.append(_Entry(peer.name, form, in_turn(turns), use, peer.float32))
        except UnsupportedError as missing:
            absent.append(_absent(operands.case, peer.name, form, threads, str(missing)))
        except Exception as error:  # whatever a foreign library raises is a finding about it, not our failure
            absent.append(_absent(operands.case, peer.name, form, threads, failure(error)))
    neighbours: tuple[_Own, ...] = ()
    share = 0.0
    if beside is not None:
        neighbours = tuple(_Own(form, call_of(beside, form), "") for form in Form)
        share = operands.case.shape.operations / beside.case.shape.operations
    return Contest(operands.case, threads, ours, neighbours, share, tuple(entries), tuple(absent))


def best(rows: Sequence[CallRow], case: Case, form: Form, *, float32: bool = False) -> CallRow | None:
    """The fastest peer's row of a case and form; none that is wrong has been timed.

    Of libraries that take the operands in their own type, or of those that hold them as float32.
    """
    candidates = [
        row
        for row in rows
        if (row.case, row.form, row.float32) == (case, form, float32) and row.library != OURS and row.seconds
    ]
    return min(candidates, key=lambda row: row.seconds.median if row.seconds else 0.0, default=None)


def _absent(
    case: Case, library: str, form: Form, threads: int, reason: str, difference: str = "", wrong: str = ""
) -> CallRow:
    return CallRow(case, library, form, threads, None, None, None, None, difference, reason, None, wrong)
