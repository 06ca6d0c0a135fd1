"""How many threads a matrix product may use. Whose they are: csrc/team."""

from __future__ import annotations

import operator
import os
from typing import SupportsIndex

from amx import errors
from amx._lib import lib, path

__all__ = ["get_num_threads", "limit", "register_threadpoolctl", "set_num_threads"]

_registered = False  # with threadpoolctl
limit = 0  # our own; 0: none. Read on every call, as a module's attribute.
_MOST = 2**31 - 1  # a C int


def set_num_threads(count: SupportsIndex | None) -> None:
    """Use at most `count` threads for a product; None takes the limit away.

    There are as many as OpenMP's settings say when the package is loaded: the first number of
    `OMP_NUM_THREADS`, else the CPUs that the process may run on, and `OMP_THREAD_LIMIT` at most. Where
    another library has brought an OpenMP runtime, such as torch's, its limit holds as well. The smallest
    number counts. Applies to all Python threads, each of which has so many; a forked child has threads of its
    own.

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


def register_threadpoolctl() -> None:
    """Make `threadpoolctl.threadpool_limits` and `threadpool_info` know this package, as one of BLAS's kind.

    A limit that they set is that of `set_num_threads`. Needs threadpoolctl 3.2 or newer, which this package
    does not install. A second call does nothing.

    Raises
    ------
    ImportError: threadpoolctl is missing.
    """
    global _registered
    import threadpoolctl

    from amx.version import __version__

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = "blas"
        internal_api = "amx"
        filename_prefixes = (os.path.basename(path),)
        check_symbols = ("amx_gemm_threads",)  # other packages may have a file of that name

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(num_threads if num_threads < lib.amx_gemm_threads() else None)

        def get_version(self) -> str:
            return __version__

    if not _registered:
        threadpoolctl.register(Controller)
        _registered = True
