"""What Dask is asked about an operand before a graph is made: of what its chunks are, and how it is cut."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import Array

from amx import errors
from amx.foreign_objects import described

__all__ = ["Chunks", "advice", "as_chunks", "refuse_foreign", "refuse_unknown"]

Chunks = tuple[int, ...]
_DENSE = {"cupy": "get()", "sparse": "todense()", "scipy": "toarray()"}  # how a chunk becomes NumPy's
_MOST = 8  # numbers in an advice


def refuse_foreign(x: Any, name: str) -> None:
    """Raise `DtypeError` unless this is a dask array whose chunks are arrays of NumPy, by its meta."""
    if not isinstance(x, Array):
        raise errors.DtypeError(
            f"{name} is {described(x)}",
            cause="Graphs are made here of dask arrays as dask.array.core has them",
            remedy="Pass to_dask_array(lengths=True) of a dataframe; leave array.query-planning off",
        )
    meta = x._meta
    if type(meta) is np.ndarray:
        return
    home = type(meta).__module__.partition(".")[0]
    dense = "filled(0)" if isinstance(meta, np.ma.MaskedArray) else _DENSE.get(home)
    raise errors.DtypeError(
        f"chunks of {name} are of {described(meta).partition(' ')[2]}",
        cause="AMX multiplies dense arrays in the memory of the CPU",
        remedy=f"Pass {name}.map_blocks(lambda chunk: chunk.{dense}, dtype={name}.dtype)"
        if dense
        else "Pass a dask array whose chunks are of NumPy",
    )


def refuse_unknown(x: Any, name: str, *, but: int = 0) -> None:
    """Raise `ShapeError` where sizes of chunks are not known; not of the first axes, `but` of them."""
    for axis, sizes in enumerate(x.chunks):
        if axis >= but and any(math.isnan(size) for size in sizes):
            raise errors.ShapeError(
                f"the chunks of {name} along axis {axis} are of unknown size",
                cause="What a product has to fit is not known before they are computed",
                remedy=f"Pass {name}.compute_chunk_sizes(), which computes {name}",
            )


def as_chunks(array: Any, cuts: tuple[Any, ...]) -> Any:
    """A dask array of NumPy's, cut so; an axis whose size is not that of the cut, or None, in one piece."""
    chunks = tuple(
        cut if cut is not None and sum(cut) == size else (size,)
        for cut, size in zip(cuts, array.shape, strict=True)
    )
    return da.from_array(array, chunks=chunks, asarray=True)


def advice(name: str, axis: int, chunks: Chunks, source: str) -> str:
    """How to cut `name` as `chunks`, which are those of `source`."""
    regular = len(set(chunks[:-1])) <= 1 and chunks[-1] <= chunks[0]
    cut = str(chunks[0]) if regular else str(chunks) if len(chunks) <= _MOST else source
    return f"{name}.rechunk({{{axis}: {cut}}})"
