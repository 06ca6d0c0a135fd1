"""Arithmetic of NumPy's as it is defined, whatever another library has set in this thread.

Rounding, flushing and traps belong to the thread (MXCSR): `torch.set_flush_denormal(True)`, for one, stays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from amx._lib import lib

__all__ = ["as_after_reset"]

_AS_AFTER_RESET = 0x1F80  # every exception masked, nearest even, denormals count

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def as_after_reset(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """The function in an environment of its own; the caller's is put aside, its flags too."""

    @functools.wraps(function)
    def within(*args: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        before = lib.layer_exchange_mxcsr(_AS_AFTER_RESET)
        try:
            return function(*args, **options)
        finally:
            lib.layer_exchange_mxcsr(before)

    return within
