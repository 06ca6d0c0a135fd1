"""The first table: our packed product, called from C, against the ceiling of the same minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from amx._lib import lib
from amx.backend import Backend
from amx.bench.ceiling import GROUP, engine, is_on_amx, limit_of, stream_side, tileload_side
from amx.bench.grid import Case
from amx.bench.memory import STREAMING_ROWS
from amx.bench.operands import Operands, aligned
from amx.bench.ours import Kernel, bits_differ, call_of
from amx.bench.peers.peer import Form
from amx.bench.timing import Clock, Pace, Side, Summary, interleave, ratios, summarise

__all__ = ["KernelRow", "measure"]


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One product.

    Attributes
    ----------
    engine: what multiplied.
    native: whether it ran on the CPU's tiles.
    seconds: of one product.
    gops: GOP/s by the median.
    of_ceiling: GOP/s over that of the `ceiling`'s row on as many threads, pair by pair; None where there is
        none.
    b_gbs: GB/s at which B (unpadded) went by, by the median.
    copies: of B, which took turns.
    of_stream: `b_gbs` over `stream_gbs`, that of reading a working set as large as all copies of the packed
        B, by the faster kind of tile load or, without tiles, plainly, pair by pair; only for products of at
        most 32 rows.
    scaling: how many times faster than on one thread, pair by pair; None with one thread.
    of_neighbour: rate over that of the product beside it (neighbour.py), pair by pair; None where none was
        measured.
    difference: how the result differs from amx.matmul's, empty where every bit agrees.
    """

    case: Case
    engine: Backend
    native: bool
    threads: int
    seconds: Summary
    gops: float
    ceiling: str
    of_ceiling: Summary | None
    copies: int
    b_gbs: float
    stream_gbs: float | None
    of_stream: Summary | None
    scaling: Summary | None
    of_neighbour: Summary | None
    difference: str


def measure(
    operands: Operands,
    threads: int,
    pace: Pace,
    clock: Clock,
    seed: int,
    beside: Operands | None = None,
    copies: int = 1,
) -> KernelRow:
    """Time it in turns with the ceiling, with the product `beside` it, and with itself on one thread.

    `copies` of B take turns.
    """
    case = operands.case
    kernel = Kernel.of(operands, threads, copies)
    limit = limit_of(case.dtype, threads, seed=seed)
    sides = [Side("kernel", "amx", kernel.run)]
    if limit is not None:
        sides.append(Side("ceiling", "amx", limit.run))
    stream_bytes = 0
    if case.shape.m <= STREAMING_ROWS and kernel.packed_bytes >= GROUP * threads:
        stream_bytes = kernel.packed_bytes // GROUP * GROUP
    streams = _streams(operands, stream_bytes, threads) if stream_bytes else []
    sides += streams
    if beside is not None:
        sides.append(Side("beside", "amx", Kernel.of(beside, threads).run))
    if threads > 1:  # as if another library's, since workers that still spin would disturb it
        sides.append(Side("alone", "amx, one thread", replace(kernel, threads=1).run))
    samples = dict(zip((side.name for side in sides), interleave(sides, pace, clock), strict=True))
    ours = samples["kernel"]
    seconds = summarise(ours)
    b_gbs = operands.b.nbytes / seconds.median / 1e9
    of_ceiling = stream_gbs = of_stream = of_neighbour = None
    if limit is not None:  # the same work at the ceiling's rate, over what it took
        of_ceiling = ratios(ours, samples["ceiling"]).times(case.shape.operations / limit.operations)
    if streams:
        faster = [min(kinds) for kinds in zip(*(samples[side.name] for side in streams), strict=True)]
        stream_gbs = stream_bytes / summarise(faster).median / 1e9
        of_stream = ratios(ours, faster).times(operands.b.nbytes / stream_bytes)
    if beside is not None:
        share = case.shape.operations / beside.case.shape.operations
        of_neighbour = ratios(ours, samples["beside"]).times(share)
    return KernelRow(
        case=case,
        engine=engine(case.dtype),
        native=is_on_amx(case.dtype),
        threads=threads,
        seconds=seconds,
        gops=case.shape.operations / seconds.median / 1e9,
        ceiling=limit.name if limit else "",
        of_ceiling=of_ceiling,
        copies=copies,
        b_gbs=b_gbs,
        stream_gbs=stream_gbs,
        of_stream=of_stream,
        scaling=ratios(ours, samples["alone"]) if threads > 1 else None,
        of_neighbour=of_neighbour,
        difference=bits_differ(kernel.result, call_of(operands, Form.PLAIN)()),
    )


def _streams(operands: Operands, size: int, threads: int) -> list[Side]:
    """Reading `size` bytes of dense data with the loads that the kernel reads B with."""
    data = aligned(size)
    data[:] = np.resize(operands.b.view(np.uint8), data.size)
    if engine(operands.case.dtype) is not Backend.NATIVE:
        return [Side("stream", "amx", stream_side(lib.AMX_STREAM_READ, data, size, threads))]
    return [
        Side(name, "amx", tileload_side(data, size, threads, t1=t1))
        for name, t1 in (("stream", False), ("stream t1", True))
    ]
