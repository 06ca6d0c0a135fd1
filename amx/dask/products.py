"""The product of two dask arrays, as a graph of products of their chunks.

For each chunk of the result (i, j) and each chunk k of K one task multiplies; these depend on nothing but
their operands, so all of them may run at once. Their results are added in ascending order of k, each as soon
as the sum before it is there: what is kept for a chunk of the result is one sum, and the products that came
early. A chunk of the second operand that meets several of the first is packed by a task of its own, whose
result a worker keeps and reuses for as long as products need it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from dask.array.core import Array, unify_chunks
from dask.base import is_dask_collection, tokenize
from dask.highlevelgraph import HighLevelGraph

from amx import errors
from amx.arrays import as_array
from amx.dask import tasks
from amx.dask.chunks import advice, as_chunks, refuse_foreign, refuse_unknown
from amx.dtypes import RESULTS, element_for, parse
from amx.foreign_objects import described
from amx.gemm import PackedMatrix
from amx.packing import memory_of
from amx.product import instruction, refuse_packed
from amx.shapes import batch_of

__all__ = ["matmul"]


def matmul(a: object, b: object, *, dtype: object = None) -> Any:
    """Matrix product of dask arrays, as `amx.matmul`; lazy.

    Parameters
    ----------
    a, b: dask arrays (..., M, K) or (K,) and (..., K, N) or (K,), with chunks of NumPy's arrays. One of them
        may be an array of the kinds that `amx.matmul` reads, b also a `PackedMatrix`: it is cut along K and
        batches as the other is.
        Element types as of `amx.matmul`; any chunks, but K of both cut alike.
    dtype: as of `amx.matmul`.

    Returns
    -------
    A dask array of int32 (modulo 2**32) or float32, with a's chunks of M and b's of N. Products of floats
    over one chunk of K are `amx.matmul`'s, bit for bit; where K is in several chunks these are added in
    float32 in ascending order of K. So the bits depend on how K is cut, and on nothing else: not on the
    scheduler, the number of workers or their threads.

    Raises
    ------
    DtypeError: neither is a dask array; types that AMX does not multiply; chunks that are not of NumPy.
    ShapeError: shapes that do not fit each other, chunks of K that are cut otherwise, or of unknown size.

    Examples
    --------
    >>> a = da.ones((4, 6), dtype="int8", chunks=(2, 3))
    >>> amx.dask.matmul(a, a.T).compute()[0]
    array([6, 6, 6, 6], dtype=int32)
    """
    refuse_packed(a)
    wanted = None if dtype is None else parse(dtype)
    left, right = _read(a, "a"), _read(b, "b")
    if not (isinstance(left, Array) or isinstance(right, Array)):
        raise errors.DtypeError(
            f"matmul() of {described(a)} and {described(b)}",
            cause="Neither is a dask array",
            remedy="Call amx.matmul, or pass dask.array.from_array() of one",
        )
    first = element_for(left.dtype, wanted, "a")
    second = right.element if isinstance(right, PackedMatrix) else element_for(right.dtype, wanted, "b")
    op = instruction(first, second)
    batch_of(left.shape, right.shape)
    a_is_row, b_is_column = len(left.shape) == 1, len(right.shape) == 1
    left = left[np.newaxis] if a_is_row else left
    right = right[:, np.newaxis] if b_is_column else right
    left, right = _cut_alike(left, right)
    _check_k(left, right, 0 if a_is_row else left.ndim - 1, 0 if b_is_column else right.ndim - 2)
    left, right = _with_batches_alike(left, right)
    result = _array(left, right, second.value if second.size == 2 else None, RESULTS[op])
    result = result[..., 0] if b_is_column else result
    if a_is_row:
        result = result[..., 0] if b_is_column else result[..., 0, :]
    return result


def _read(operand: Any, name: str) -> Any:
    """A dask array that can be multiplied, a PackedMatrix, or an array of NumPy."""
    if is_dask_collection(operand):
        refuse_foreign(operand, name)
        refuse_unknown(operand, name)
        return operand
    return operand if type(operand) is PackedMatrix else as_array(operand, f"operand {name}")[...]


def _cut_alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Both as dask arrays: what is none, cut as the other is; a PackedMatrix stays one, if it is not cut."""
    if not isinstance(left, Array):
        cuts = _batch_cuts(right.chunks[:-2], left.ndim - 2)
        return as_chunks(left, (*cuts, None, right.chunks[-2])), right
    if isinstance(right, Array):
        return left, right
    cuts = (*_batch_cuts(left.chunks[:-2], right.ndim - 2), left.chunks[-1], None)
    if isinstance(right, PackedMatrix):
        if all(
            cut is None or len(cut) == 1 or size == 1 for cut, size in zip(cuts, right.shape, strict=True)
        ):
            return left, right
        right = right.unpack()
    return left, as_chunks(right, cuts)


def _batch_cuts(chunks: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """For so many batch axes, the cuts of those that they are broadcast with."""
    return (None,) * (count - len(chunks)) + chunks[max(len(chunks) - count, 0) :]


def _check_k(left: Any, right: Any, a_axis: int, b_axis: int) -> None:
    """K is cut alike in both; the axes are those of what the caller passed."""
    if isinstance(right, PackedMatrix) or left.chunks[-1] == right.chunks[-2]:
        return
    ours, theirs = left.chunks[-1], right.chunks[-2]
    to_b = advice("a", a_axis, theirs, f"b.chunks[{b_axis}]")
    to_a = advice("b", b_axis, ours, f"a.chunks[{a_axis}]")
    raise errors.ShapeError(
        f"K is cut into {_said(ours)} in a, and into {_said(theirs)} in b",
        cause="Chunks are multiplied as they are, and how K is cut is part of what a float result is",
        remedy=f"Pass {to_b} or {to_a}",
    )


def _said(chunks: tuple[int, ...]) -> str:
    return str(chunks) if len(chunks) <= 8 else f"{len(chunks)} chunks, {str(chunks[:3])[:-1]}, ...)"


def _with_batches_alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Both with one cut of each batch axis, the finer one; that changes no number."""
    if isinstance(right, PackedMatrix):
        return left, right
    batch = max(left.ndim, right.ndim) - 2
    places = [(*range(batch - each.ndim + 2, batch), *"mk") for each in (left, right)]
    places[1] = (*places[1][:-2], *"kn")
    _, (left, right) = unify_chunks(left, places[0], right, places[1], warn=False)
    return left, right


def _array(left: Any, right: Any, dtype: str | None, result: np.dtype[Any]) -> Any:
    """The dask array of the products of both, whose chunks fit each other."""
    if isinstance(right, PackedMatrix):
        content = tokenize(right.shape, right.element.value, memory_of(right))
        right_chunks = tuple((size,) for size in right.shape)
        right_name = f"amx-packed-{tokenize(content)}"
    else:
        right_chunks, right_name = right.chunks, right.name
    name = f"amx-matmul-{tokenize(left.name, right_name, dtype)}"
    batches = _broadcast(left.chunks[:-2], right_chunks[:-2])
    chunks = (*batches, left.chunks[-2], right_chunks[-1])
    blocks = tuple(map(len, chunks))
    depth = len(left.chunks[-1])
    ours, theirs = tuple(map(len, left.chunks)), tuple(map(len, right_chunks))

    graph: dict[Any, Any] = {}
    second = right_name
    if isinstance(right, PackedMatrix):
        graph[right_name, *(0,) * right.ndim] = tasks.task(tasks.opened, tasks.Sealed(right))
    elif math.prod(blocks[:-1]) > math.prod(theirs[:-2]):  # each chunk meets several
        second = f"amx-pack-{tokenize(right_name, dtype)}"
        for place in itertools.product(*map(range, theirs)):
            graph[second, *place] = tasks.task(tasks.pack, (right_name, *place), dtype)
    partial, total = f"amx-product-{name[-32:]}", f"amx-sum-{name[-32:]}"
    for *batch, i, j in itertools.product(*map(range, blocks)):
        of_a, of_b = _at(batch, ours[:-2]), _at(batch, theirs[:-2])
        so_far: tuple[Any, ...] = ()
        for k in range(depth):
            operands = (left.name, *of_a, i, k), (second, *of_b, k, j)
            key = (name, *batch, i, j) if depth == 1 else (partial, *batch, i, j, k)
            graph[key] = tasks.task(tasks.multiply, *operands, dtype)
            if k:
                last = k + 1 == depth
                added = (name, *batch, i, j) if last else (total, *batch, i, j, k)
                graph[added] = tasks.task(tasks.add, so_far, key)
                key = added
            so_far = key
    depends = [each for each in (left, right) if isinstance(each, Array)]
    whole = HighLevelGraph.from_collections(name, graph, dependencies=depends)
    return Array(whole, name, chunks, meta=np.empty((0,) * len(chunks), result))


def _broadcast(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Chunks of the result's batch axes."""
    count = max(len(ours), len(theirs))
    ones = ((1,),) * count
    pairs = zip((*ones, *ours)[-count:] or (), (*ones, *theirs)[-count:] or (), strict=True)
    return tuple(y if x == (1,) else x for x, y in pairs) if count else ()


def _at(batch: list[int], blocks: tuple[int, ...]) -> list[int]:
    """Where the chunk of an operand is that a chunk of the result's batch is of."""
    places = batch[len(batch) - len(blocks) :]
    return [0 if count == 1 else place for place, count in zip(places, blocks, strict=True)]
