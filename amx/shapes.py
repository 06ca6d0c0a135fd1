"""The shape of a product, by numpy.matmul's rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from amx import errors
from amx.arrays import Array

__all__ = ["batch_of", "check_out", "of_matrices"]

_MOST_DIMENSIONS = 32


def of_matrices(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The result's shape, if both have two dimensions or more and fit each other."""
    x, y = a[:-2], b[:-2]
    if x == y:
        return (*a[:-1], b[-1])
    missing = len(y) - len(x)
    pairs = zip((1,) * missing + x, (1,) * -missing + y, strict=True)
    return (*[other if one == 1 else one for one, other in pairs], *a[-2:-1], b[-1])


def batch_of(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The result's dimensions before M and N.

    Raises
    ------
    ShapeError: operands of these shapes do not fit each other.
    """
    if max(len(a), len(b)) > _MOST_DIMENSIONS:
        raise errors.ShapeError(
            f"matmul() of {len(a)} and {len(b)} dimensions",
            cause=f"NumPy broadcasts at most {_MOST_DIMENSIONS}",
            remedy="reshape the operands",
        )
    if len(a) == 0 or len(b) == 0:
        raise errors.ShapeError(
            f"matmul() of shapes {a} and {b}",
            cause="a scalar is no matrix",
            remedy="multiply by a scalar with * instead",
        )
    k, k_of_b = a[-1], b[0] if len(b) == 1 else b[-2]
    if k != k_of_b:
        raise errors.ShapeError(
            f"matmul() of shapes {a} and {b}",
            cause=f"K is {k}, the columns of a, and {k_of_b}, the rows of b",
            remedy="transpose or cut one of them so that they agree",
        )
    try:
        return _broadcast(a[:-2], b[:-2])
    except ValueError:
        raise errors.ShapeError(
            f"matmul() of shapes {a} and {b}",
            cause=f"the leading dimensions {a[:-2]} and {b[:-2]} do not broadcast",
            remedy="make them equal, or 1 where they differ",
        ) from None


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return a or b if a == b or not a or not b else np.broadcast_shapes(a, b)  # which takes its time


def check_out(out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `ShapeError` or `DtypeError` unless `out` is of the result's."""
    if out.shape != shape:
        raise errors.ShapeError(
            f"out has shape {out.shape}",
            cause=f"the result has shape {shape}",
            remedy="make out of that shape",
        )
    if out.dtype != dtype:
        raise errors.DtypeError(
            f"out is {out.dtype}",
            cause=f"the result is {dtype}",
            remedy=f"make out of dtype {dtype}, and convert afterwards",
        )
