"""The third table: linear layers, ours beside our bare product and beside other libraries' layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amx.bench.calls import OURS
from amx.bench.grid import Case, Dtype
from amx.bench.layer_operands import LayerOperands, Weights
from amx.bench.our_layers import OurLayer, product_of
from amx.bench.peers.layer import LayerPeer
from amx.bench.peers.peer import UnsupportedError
from amx.bench.timing import Clock, Pace, Side, Summary, interleave, ratios, summarise
from amx.bench.turns import FailedError, failure, guarded, in_turn, repeated

__all__ = ["PRODUCT", "LayerRow", "best", "measure", "weights_of"]

PRODUCT = "amx product"
_OWN = (OURS, PRODUCT)
_TAKE_PART = {
    Dtype.INT8: (Weights.INT8, Weights.UINT4, Weights.FLOAT32),
    Dtype.BF16: (Weights.BF16, Weights.FLOAT32),
    Dtype.FP16: (Weights.FP16, Weights.FLOAT32),
}


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One library's layer, or our bare product.

    Attributes
    ----------
    weights: what they are held as.
    copies: of the weights, which took turns.
    seconds: of one call; None where there was none, and `reason` says why.
    gops: GOP/s of the product in it, by the median.
    ratio: how many times faster our layer of the same weights was, or, beside float32, of the case's dtype,
        pair by pair; None for ours, and where there is none.
    of_product: of ours in the case's dtype, its rate over that of the bare product, pair by pair.
    of_int8: of ours in 4 bits, how many times faster than in 8 it was, pair by pair.
    wrong: how its result differs from its own definition, so that it is not timed; empty where it agrees.
    reason: why it was not timed.
    """

    case: Case
    library: str
    weights: Weights
    threads: int
    copies: int
    seconds: Summary | None = None
    gops: float | None = None
    ratio: Summary | None = None
    of_product: Summary | None = None
    of_int8: Summary | None = None
    wrong: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A layer that is to be timed, or our bare product; `row` has what is known of it before."""

    row: LayerRow
    call: Callable[[], Any]


def weights_of(dtype: Dtype) -> Weights:
    """What our layers of a dtype hold them as."""
    return _TAKE_PART[dtype][0]


def measure(
    operands: LayerOperands,
    peers: Sequence[LayerPeer],
    threads: int,
    pace: Pace,
    clock: Clock,
    copies: int = 1,
) -> list[LayerRow]:
    """Prepare all layers, judge each by its own definition, and time in turns those that are right.

    Ours come first, then the bare product, the peers in order, and those that are wrong, failed, or have no
    such layer. `copies` of the weights take turns, on each side.
    """
    ours, not_ours = _prepared(operands, (OurLayer(),), threads, copies)
    theirs, not_theirs = _prepared(operands, peers, threads, copies)
    row = LayerRow(operands.case, PRODUCT, weights_of(operands.case.dtype), threads, copies)
    product = _Entry(row, in_turn([product_of(operands) for _ in range(copies)]))
    return _timed([*ours, product, *theirs], [*not_ours, *not_theirs], pace, clock)


def best(rows: Sequence[LayerRow], case: Case, weights: Weights) -> LayerRow | None:
    """The fastest peer's row of a case with such weights; none that is wrong has been timed."""
    candidates = [
        row
        for row in rows
        if (row.case, row.weights) == (case, weights) and row.library not in _OWN and row.seconds
    ]
    return min(candidates, key=lambda row: row.seconds.median if row.seconds else 0.0, default=None)


def _prepared(
    operands: LayerOperands, peers: Sequence[LayerPeer], threads: int, copies: int
) -> tuple[list[_Entry], list[LayerRow]]:
    entries: list[_Entry] = []
    absent: list[LayerRow] = []
    for peer, weights in itertools.product(peers, _TAKE_PART[operands.case.dtype]):
        if weights not in peer.weights:
            continue
        row = LayerRow(operands.case, peer.name, weights, threads, copies)
        try:
            layers = [peer.prepare(operands, weights, threads) for _ in range(copies)]
            wrong = layers[0].error(operands)
        except UnsupportedError as missing:
            absent.append(replace(row, reason=str(missing)))
        except Exception as error:  # whatever a foreign library raises is a finding about it, not our failure
            if peer.name == OURS:
                raise
            absent.append(replace(row, reason=failure(error)))
        else:
            if wrong:
                absent.append(replace(row, wrong=wrong, reason=f"wrong: {wrong}"))
            else:
                entries.append(_Entry(row, in_turn([layer.call for layer in layers])))
    return entries, absent


def _timed(entries: Sequence[_Entry], absent: Sequence[LayerRow], pace: Pace, clock: Clock) -> list[LayerRow]:
    """A peer that raises meanwhile is absent, and the others begin anew: pairs need all rounds of both."""
    sides = [_side(entry) for entry in entries]
    try:
        samples = interleave(sides, pace, clock)
    except FailedError as failed:
        others = [entry for entry in entries if entry is not failed.whose]
        (row,) = (entry.row for entry in entries if entry is failed.whose)
        return _timed(others, [*absent, replace(row, reason=failure(failed.error))], pace, clock)
    own = {
        (entry.row.library, entry.row.weights): seconds
        for entry, seconds in zip(entries, samples, strict=True)
    }
    found = [_measured(entry.row, seconds, own) for entry, seconds in zip(entries, samples, strict=True)]
    return [*found, *absent]


def _side(entry: _Entry) -> Side:
    name, library = f"{entry.row.library} {entry.row.weights.value}", entry.row.library
    if library in _OWN:
        return Side(name, OURS, repeated(entry.call))
    return Side(name, library, guarded(entry, entry.call))


def _measured(
    row: LayerRow, samples: Sequence[float], all_samples: Mapping[tuple[str, Weights], Sequence[float]]
) -> LayerRow:
    """The row with its times, and with ratios to those of our sides, where they are."""
    seconds = summarise(samples)
    row = replace(row, seconds=seconds, gops=row.case.shape.operations / seconds.median / 1e9)
    main = weights_of(row.case.dtype)
    ours, product = (all_samples.get((library, main)) for library in _OWN)
    if row.library == PRODUCT:
        return row
    if row.library == OURS:
        if row.weights is main:
            return replace(row, of_product=None if product is None else ratios(samples, product))
        return replace(row, of_int8=None if ours is None else ratios(samples, ours))
    beside = ours if row.weights is Weights.FLOAT32 else all_samples.get((OURS, row.weights))
    return replace(row, ratio=None if beside is None else ratios(beside, samples))
