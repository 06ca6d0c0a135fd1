"""How a matrix product is cut into blocks and threads, as a value that can be printed."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from amx import errors
from amx import threads as _threads
from amx._lib import ffi, lib
from amx.backend import Backend, engine_for
from amx.dtypes import parse, tdp

__all__ = ["Plan", "plan"]

_MOST = 2**62  # elements or threads: more overflows the arithmetic of a plan


@dataclass(frozen=True)
class Plan:
    """The blocks and threads of one product of (M, K) by (K, N), `batch` times.

    Attributes
    ----------
    chunks: 64-byte chunks of K in all.
    kc, mc, nc: a block: chunks of K, rows of A, columns of B.
    stripe: columns of B that are packed at a time where B is not packed already.
    stream_a: A is loaded with TILELOADDT1, past the first-level cache.
    threads: threads in all; `over_batch`: each takes whole items; else a grid of `row_parts` x
        `column_parts` shares each.
    """

    backend: Backend
    m: int
    n: int
    k: int
    batch: int
    chunks: int
    kc: int
    mc: int
    nc: int
    stripe: int
    stream_a: bool
    threads: int
    over_batch: bool
    row_parts: int
    column_parts: int

    def __str__(self) -> str:
        share = (
            "whole items each"
            if self.over_batch
            else f"{self.row_parts} x {self.column_parts} parts of each item"
        )
        return (
            f"{self.batch} x ({self.m} x {self.k}) ({self.k} x {self.n}) on {self.backend.value}: "
            f"blocks of {self.mc} rows, {self.nc} columns, {self.kc} of {self.chunks} chunks of K; "
            f"{self.threads} thread(s), {share}"
        )


def plan(
    m: int, n: int, k: int, dtype: object = "int8", *, threads: int | None = None, batch: int = 1
) -> Plan:
    """The plan `amx.matmul` would follow now for operands of `dtype`.

    `threads` is the most it may use; None: what `get_num_threads` says.

    Raises
    ------
    ShapeError: a negative dimension or number of threads.
    DtypeError: a dtype that AMX does not multiply.
    """
    element = parse(dtype)
    op = tdp(element, element)
    assert op is not None, "every element type is multiplied by itself"
    engine = engine_for(op)
    c = ffi.new("struct amx_gemm_plan *")
    m, n, k, batch = sizes = tuple(operator.index(size) for size in (m, n, k, batch))
    most = _threads.limit if threads is None else operator.index(threads)
    if (
        min(*sizes, most) < 0
        or max(*sizes, most) > _MOST
        or lib.amx_gemm_make_plan(engine, op, most, m, n, k, batch, c) != 0
    ):
        raise errors.ShapeError(
            f"m={m}, n={n}, k={k}, batch={batch}, threads={threads}",
            cause="A size is negative, or larger than any memory",
            remedy="Give sizes that arrays can have",
        )
    return Plan(
        backend=Backend.NATIVE if engine == lib.AMX_NATIVE else Backend.EMULATED,
        m=c.m,
        n=c.n,
        k=c.k,
        batch=c.batch,
        chunks=c.chunks,
        kc=c.kc,
        mc=c.mc,
        nc=c.nc,
        stripe=c.stripe,
        stream_a=bool(c.stream_a),
        threads=c.threads,
        over_batch=bool(c.over_batch),
        row_parts=c.row_parts,
        column_parts=c.column_parts,
    )
