"""How a matrix product is cut into blocks and threads, as a value that can be printed."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from amx import errors
from amx import threads as _threads
from amx._lib import CData, ffi, lib
from amx.backend import BACKENDS, Backend, engine_for
from amx.caches import Caches
from amx.dtypes import Element, parse, tdp

__all__ = ["Plan", "plan"]

_MOST = 2**62  # elements: more overflows the arithmetic of a plan
_MOST_THREADS = 2**31 - 1  # a C int
_MOST_CACHE = 2**48  # bytes, more than addresses reach


@dataclass(frozen=True)
class Plan:
    """The blocks and threads of one product of (M, K) by (K, N), `batch` times.

    `print` it to read it with its reasons; docs/performance.md has the model behind them.

    Attributes
    ----------
    backend: what runs it: `Backend.EMULATED` where vector registers were asked for, and the CPU has no
        instructions for this element.
    element: of the operands.
    packed: the second operand is packed already; else each of the batch is, once.
    caches: the core's, which the sizes below come from.
    family: of kernels in vector registers, by its instructions ("avx2"); None: tiles.
    mr, nr: rows and columns of the block of C that is kept in registers: 32 x 32 or 16 x 64 in tiles; in
        vector registers what the family has room for.
    chunks: 64-byte chunks of K in all.
    kc, mc, nc: a block: chunks of K, rows of A, columns of B. Where kc < chunks, partial sums rest in a
        buffer of mc x nc.
    depth: chunks of K over which operands are packed at a time. Where there are more, the sums so far rest
        in C.
    stripe: columns of B that are packed at a time; all of them where B is packed already.
    stream_a, stream_b: loaded with TILELOADDT1, past the first-level cache; tiles alone.
    pack_a: A is packed where its rows do not consist of whole 64-byte lines, or lie a power of two apart so
        that the second-level cache cannot hold them at once.
    prefetch_b: the panel of B that comes next is prefetched into the second-level cache; chosen for tiles
        alone: in vector registers the rows of a block always do it.
    stream_c: C is stored past the caches, where its rows consist of whole 64-byte lines.
    prefetch_c: where it is stored through the caches, it is prefetched for writing.
    huge_pages: asked for, for the packed panels of B.
    threads: threads in all; `over_batch`: each takes whole items; else a grid of `row_parts` x
        `column_parts` shares each.
    """

    backend: Backend
    element: Element
    m: int
    n: int
    k: int
    batch: int
    packed: bool
    caches: Caches
    family: str | None
    mr: int
    nr: int
    chunks: int
    kc: int
    mc: int
    nc: int
    depth: int
    stripe: int
    stream_a: bool
    stream_b: bool
    pack_a: bool
    prefetch_b: bool
    stream_c: bool
    prefetch_c: bool
    huge_pages: bool
    threads: int
    over_batch: bool
    row_parts: int
    column_parts: int

    def __str__(self) -> str:
        product = f"({self.m} x {self.k}) ({self.k} x {self.n})"
        lines = [
            f"{self.batch} x {product} of {self.element.value} on {self.backend.value}, {self.caches}",
            f"kernel   {self._kernel()}",
            f"blocks   {self._blocks()}",
            f"A        {self._source_of_a()}",
            f"B        {self._source_of_b()}",
            f"C        {self._stores()}",
            f"threads  {self._share()}",
        ]
        return "\n".join(lines)

    def _kernel(self) -> str:
        if self.family is not None:
            return f"{self.family}: {self.mr} rows and {self.nr} columns of C in vector registers"
        shape = f"{self.mr // 16}x{self.nr // 16} tiles"
        if self.mr == 32:
            return f"{shape}: one load for each product, each tile used twice"
        if self.m <= 16:
            return f"{shape}: one row of tiles, so that A is loaded once for 64 columns while B goes by"
        return f"{shape}: A, B and C stay in half of L2 and a panel of 64 columns of B in L1"

    def _blocks(self) -> str:
        size = f"{self.mc} rows, {self.nc} columns, {self.kc} of {self.chunks} chunks of K"
        if self.family is not None:
            if self.m <= self.mr:
                return f"{size}: B goes by once"
            sums = "the rows of A and partial sums" if self.kc < self.chunks else "the rows of A"
            b = f"what B has for {self.nr} columns stays in L1, or in L2 where that is as fast"
            return f"{size}: {b}; {sums} in L2"
        if self.kc < self.chunks:
            in_l2 = "A" if self.nc == self.nr else "A, B and partial sums"
            return f"{size}: a panel of B stays in L1, {in_l2} in L2"
        if self.mc == self.mr and self.m <= self.mc * self.row_parts:
            return f"{size}: each panel of B is used once"
        return f"{size}: a panel of B stays in L1, the rows of A in L2"

    def _source_of_a(self) -> str:
        if self.family is not None:
            return "prepared a block at a time, in the order in which the kernel reads it"
        rows = "contiguous"
        if self.pack_a:
            rows += ", whole 64-byte lines and no large power of two apart"
        return f"in place where its rows are {rows}; {self._loads(self.stream_a)}"

    def _source_of_b(self) -> str:
        if self.family is not None:
            ahead = f"; the next {self.nr} columns are prefetched beside products" if self.m > self.mr else ""
            return self._packing() + ahead
        return f"{self._packing()}; {self._loads(self.stream_b)}{self._ahead()}"

    def _loads(self, stream: bool) -> str:
        return "loaded with TILELOADDT1, since it exceeds L1" if stream else "loaded with TILELOADD"

    def _packing(self) -> str:
        pages = ", on huge pages if the kernel has them" if self.huge_pages else ""
        if self.packed:
            return f"packed already{pages}"
        return f"packed {self.stripe} of {self.n} columns at a time{pages}"

    def _ahead(self) -> str:
        return ", prefetched a panel ahead, since it does not stay in L2 beside A" if self.prefetch_b else ""

    def _stores(self) -> str:
        if self.stream_c:
            return "stored past the caches where its lines are whole: it exceeds half of L2"
        if self.prefetch_c:
            return "stored through the caches, prefetched for writing, since it exceeds half of L1"
        return "stored through the caches"

    def _share(self) -> str:
        if self.threads == 1:
            return "1"
        share = (
            "whole items each"
            if self.over_batch
            else f"{self.row_parts} x {self.column_parts} parts of each item"
        )
        return f"{self.threads}, {share}"


def plan(
    m: int,
    n: int,
    k: int,
    dtype: object = "int8",
    threads: int | None = None,
    *,
    batch: int = 1,
    packed: bool = False,
    backend: Backend | str | None = None,
    caches: Caches | None = None,
) -> Plan:
    """The plan `amx.matmul` would follow now for operands of `dtype`.

    `threads` is the most it may use; None: what `get_num_threads` says. Each item of the batch has a second
    operand of its own; `packed`: they come from `amx.pack`. `backend` and `caches`: of another machine than
    this one, None for what would run it here (CPUID leaf 4 says what a core has, 0x8000001D on AMD; nothing
    else about the CPU counts, but for `"vector"` which of these instructions it has).

    Raises
    ------
    BackendError: there is no such backend.
    ShapeError: a dimension, a number of threads or a size of a cache that cannot be.
    DtypeError: a dtype that AMX does not multiply.
    TypeError: `caches` is no `amx.caches.Caches`, or a size no integer.
    """
    element = parse(dtype)
    op = tdp(element, element)
    assert op is not None, "every element type is multiplied by itself"
    engine = engine_for(op) if backend is None else _engine(backend)
    c = ffi.new("struct amx_gemm_plan *")
    given = ffi.NULL if caches is None else _given(caches)
    m, n, k, batch = sizes = tuple(operator.index(size) for size in (m, n, k, batch))
    most = _threads.limit if threads is None else operator.index(threads)
    operands = 0 if packed else batch
    if (
        min(*sizes, most) < 0
        or max(sizes) > _MOST
        or most > _MOST_THREADS
        or lib.amx_gemm_make_plan(engine, op, most, m, n, k, batch, operands, given, c) != 0
    ):
        raise errors.ShapeError(
            f"m={m}, n={n}, k={k}, batch={batch}, threads={threads}",
            cause="A size is negative, or larger than any memory",
            remedy="Give sizes that arrays can have",
        )
    family = None if c.family == ffi.NULL else ffi.string(c.family).decode()
    lacks = engine == lib.AMX_VECTOR and family is None
    return Plan(
        backend=Backend.EMULATED if lacks else BACKENDS[engine],
        element=element,
        m=c.m,
        n=c.n,
        k=c.k,
        batch=c.batch,
        packed=packed,
        caches=Caches(c.caches.l1, c.caches.l2),
        family=family,
        mr=c.mr,
        nr=c.nr,
        chunks=c.chunks,
        kc=c.kc,
        mc=c.mc,
        nc=c.nc,
        depth=c.depth,
        stripe=c.stripe,
        stream_a=bool(c.stream_a),
        stream_b=bool(c.stream_b),
        pack_a=bool(c.pack_a),
        prefetch_b=bool(c.prefetch_b),
        stream_c=bool(c.stream_c),
        prefetch_c=bool(c.prefetch_c),
        huge_pages=bool(c.huge_pages),
        threads=c.threads,
        over_batch=bool(c.over_batch),
        row_parts=c.row_parts,
        column_parts=c.column_parts,
    )


def _given(caches: Caches) -> CData:
    if not isinstance(caches, Caches):
        raise TypeError(f"caches={caches!r}: pass amx.caches.Caches(l1, l2), in bytes")
    l1, l2 = operator.index(caches.l1), operator.index(caches.l2)
    if not (1 <= l1 <= _MOST_CACHE and 1 <= l2 <= _MOST_CACHE):
        raise errors.ShapeError(
            f"caches={caches!r}",
            cause="There is no cache of such a size",
            remedy="Give bytes, from 1 on",
        )
    return ffi.new("struct amx_caches *", {"l1": l1, "l2": l2})


def _engine(backend: Backend | str) -> int:
    try:
        chosen = Backend(backend)
    except ValueError:
        raise errors.BackendError(
            f"plan(backend={backend!r})",
            cause="There is no such backend",
            remedy=f"Use one of {', '.join(each.value for each in Backend)}, or None",
        ) from None
    return BACKENDS.index(chosen)
