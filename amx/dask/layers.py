"""A layer over the rows of a dask array or dataframe, as a graph with one task for each chunk of rows."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from dask.array.core import Array
from dask.base import is_dask_collection, tokenize
from dask.highlevelgraph import HighLevelGraph

from amx import errors
from amx.dask import tasks
from amx.dask.chunks import refuse_foreign, refuse_unknown
from amx.dtypes import dtype_of, parse
from amx.foreign_objects import attribute_of, described
from amx.layer import Linear
from amx.layer_call import CalledWith, read

__all__ = ["linear"]

_INTEGERS = ("int8", "uint8", "uint4")  # weights, with which rows are quantised
_NUMBERS = "iufb"


def linear(x: Any, layer: Linear) -> Any:
    """The layer's results for rows of x; lazy.

    The layer is a task of its own, named by its weights: it goes to each worker once, and is packed there
    once, however many chunks and calls use it.

    Parameters
    ----------
    x: a dask array (..., K) of what the layer takes, with K in one chunk, since a row is quantised as a
        whole; the number of rows of a chunk may be unknown. Or a dask dataframe with K columns of numbers,
        each partition of which becomes rows of float32.
    layer: an `amx.Linear`.

    Returns
    -------
    A dask array (..., N) of the layer's `out_dtype`, with x's chunks of rows. A row's result is that of
    `layer(row)`, bit for bit.

    Raises
    ------
    DtypeError: x is neither; elements or columns of other types; chunks that are not of NumPy; `layer` is no
        `amx.Linear`.
    ShapeError: another K, or K in several chunks.
    """
    if type(layer) is not Linear:
        raise errors.DtypeError(
            f"linear() with {described(layer)} for a layer",
            cause="Its weights are not known to be packed, or to be the same on all workers",
            remedy="Pass an amx.Linear; of one of torch's, amx.Linear(of its detached weight and bias)",
        )
    rows = x if isinstance(x, Array) else _rows_of(x)
    refuse_foreign(rows, "x")
    refuse_unknown(rows, "x", but=rows.ndim - 1)
    element = None if layer.dtype in _INTEGERS else parse(layer.dtype)
    kind = layer.out_dtype if isinstance(layer.out_dtype, str) else layer.out_dtype[2]
    # What the layer would say of such a chunk.
    none = np.empty((*(0,) * (rows.ndim - 1), *rows.shape[-1:]), rows.dtype)
    read(none, None, None, CalledWith(layer.in_features, layer.out_features, element, kind))
    if len(rows.chunks[-1]) > 1:
        raise errors.ShapeError(
            f"K of x is in {len(rows.chunks[-1])} chunks",
            cause="A row is quantised, multiplied and added up as a whole",
            remedy=f"Pass x.rechunk({{{rows.ndim - 1}: {layer.in_features}}})",
        )
    return _array(rows, layer, np.dtype(np.float32) if kind == "float32" else dtype_of(parse(kind)))


def _rows_of(frame: Any) -> Any:
    """A dataframe's rows as a dask array of float32."""
    dtypes = attribute_of(frame, "dtypes")
    if not (is_dask_collection(frame) and callable(attribute_of(frame, "to_dask_array"))) or dtypes is None:
        raise errors.DtypeError(
            f"x is {described(frame)}",
            cause="It is neither a dask array nor a dask dataframe",
            remedy="Call the layer itself, or pass dask.array.from_array() of x",
        )
    for name, dtype in getattr(dtypes, "items", lambda: [("x", dtypes)])():
        if getattr(dtype, "kind", "O") not in _NUMBERS:
            raise errors.DtypeError(
                f"column {name!r} of x is {dtype}",
                cause="A layer takes numbers",
                remedy="Pass the columns of numbers: x.select_dtypes('number')",
            )
    return frame.astype("float32").to_dask_array()


def _array(x: Any, layer: Linear, dtype: np.dtype[Any]) -> Any:
    """The dask array of the layer's results."""
    content = tokenize(layer)
    weights = f"amx-layer-{content}"
    name = f"amx-linear-{tokenize(x.name, content)}"
    graph: dict[Any, Any] = {weights: tasks.task(tasks.opened, tasks.Sealed(layer))}
    for place in itertools.product(*(range(len(each)) for each in x.chunks)):
        graph[name, *place] = tasks.task(tasks.apply, weights, (x.name, *place))
    chunks = (*x.chunks[:-1], (layer.out_features,))
    whole = HighLevelGraph.from_collections(name, graph, dependencies=[x])
    return Array(whole, name, chunks, meta=np.empty((0,) * len(chunks), dtype))
