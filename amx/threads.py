"""How many threads a matrix product may use."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from amx import errors
from amx._lib import lib

__all__ = ["get_num_threads", "limit", "set_num_threads"]

limit = 0  # our own; 0: none. Read on every call, as a module's attribute.
_MOST = 2**31 - 1  # a C int


def set_num_threads(count: SupportsIndex | None) -> None:
    """Use at most `count` threads for a product; None takes the limit away.

    OpenMP's own limits (`OMP_NUM_THREADS`, threadpoolctl) hold beside it: the smaller number counts. Applies
    to all Python threads. In a forked child products run on one thread whatever this says, since OpenMP's
    threads do not survive fork.

    Raises
    ------
    ShapeError: (a ValueError) `count` is below 1, or more than a C int holds.
    TypeError: `count` is no integer.
    """
    global limit
    number = 0 if count is None else operator.index(count)
    if count is not None and not 1 <= number <= _MOST:
        raise errors.ShapeError(
            f"set_num_threads({count})",
            cause=f"A number of threads is from 1 to {_MOST}",
            remedy="Give one of these, or None",
        )
    limit = number


def get_num_threads() -> int:
    """How many threads a large product would use now, from this Python thread."""
    available = int(lib.amx_gemm_threads())
    return min(limit, available) if limit else available
