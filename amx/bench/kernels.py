"""The first table: our packed product, called from C, against the ceiling of the same minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from amx.bench.ceiling import GROUP, Block, is_native, is_on_amx, tileload_side
from amx.bench.grid import Case
from amx.bench.operands import Operands, aligned
from amx.bench.ours import Kernel, bits_differ, call_of
from amx.bench.peers.peer import Form
from amx.bench.timing import Clock, Pace, Side, Summary, interleave, ratios, summarise

__all__ = ["KernelRow", "measure"]

STREAMING_ROWS = 32  # up to here a product lives from the stream of B


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One product.

    Attributes
    ----------
    native: whether it ran on the CPU's tiles.
    seconds: of one product.
    gops: GOP/s by the median.
    of_ceiling: GOP/s over that of the 2x2 block on as many threads, pair by pair; None on the emulated
        backend.
    b_gbs: GB/s at which B (unpadded) went by, by the median.
    of_stream: that over the GB/s of tile loads of a working set as large as the packed B, the faster of both
        kinds of load, pair by pair; only for products of at most 32 rows by tile instructions.
    scaling: how many times faster than on one thread, pair by pair; None with one thread.
    of_neighbour: rate over that of the product beside it (neighbour.py), pair by pair; None where none was
        measured.
    difference: how the result differs from amx.matmul's, empty where every bit agrees.
    """

    case: Case
    native: bool
    threads: int
    seconds: Summary
    gops: float
    of_ceiling: Summary | None
    b_gbs: float
    of_stream: Summary | None
    scaling: Summary | None
    of_neighbour: Summary | None
    difference: str


def measure(
    operands: Operands, threads: int, pace: Pace, clock: Clock, seed: int, beside: Operands | None = None
) -> KernelRow:
    """Time it in turns with the ceiling, with the product `beside` it, and with itself on one thread."""
    case = operands.case
    kernel = Kernel.of(operands, threads)
    native = is_native(case.dtype)
    sides = [Side("kernel", "amx", kernel.run)]
    block = stream_bytes = None
    b_bytes = operands.b.nbytes
    if native:
        block = Block.of(case.dtype, threads, seed=seed)
        sides.append(Side("block", "amx", block.run))
        if case.shape.m <= STREAMING_ROWS and kernel.packed.nbytes >= GROUP * threads:
            data = aligned(kernel.packed.nbytes)
            data[:] = np.resize(operands.b.view(np.uint8), data.size)
            stream_bytes = data.size // GROUP * GROUP
            sides += [
                Side(name, "amx", tileload_side(data, stream_bytes, threads, t1=t1))
                for name, t1 in (("stream", False), ("stream t1", True))
            ]
    if beside is not None:
        sides.append(Side("beside", "amx", Kernel.of(beside, threads).run))
    if threads > 1:  # as if another library's, since workers that still spin would disturb it
        sides.append(Side("alone", "amx, one thread", replace(kernel, threads=1).run))
    samples = dict(zip((side.name for side in sides), interleave(sides, pace, clock), strict=True))
    ours = samples["kernel"]
    seconds = summarise(ours)
    of_ceiling = of_stream = of_neighbour = None
    if block is not None:  # the same work at the ceiling's rate, over what it took
        of_ceiling = ratios(ours, samples["block"]).times(case.shape.operations / block.operations)
    if stream_bytes is not None:
        faster = [min(pair) for pair in zip(samples["stream"], samples["stream t1"], strict=True)]
        of_stream = ratios(ours, faster).times(b_bytes / stream_bytes)
    if beside is not None:
        share = case.shape.operations / beside.case.shape.operations
        of_neighbour = ratios(ours, samples["beside"]).times(share)
    return KernelRow(
        case,
        is_on_amx(case.dtype),
        threads,
        seconds,
        case.shape.operations / seconds.median / 1e9,
        of_ceiling,
        b_bytes / seconds.median / 1e9,
        of_stream,
        ratios(ours, samples["alone"]) if threads > 1 else None,
        of_neighbour,
        bits_differ(kernel.result, call_of(operands, Form.PLAIN)()),
    )
