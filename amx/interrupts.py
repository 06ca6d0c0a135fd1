"""Signals that arrive during a long product: their Python handlers run meanwhile, and may end it.

C asks every few milliseconds (csrc/gemm/interrupt.c). Its question is a call of a Python function, at whose
beginning the interpreter runs the handlers of signals that are pending.
"""

from __future__ import annotations

from types import TracebackType

from amx._lib import ffi, lib

__all__ = ["raise_interrupt"]

# What handlers raised, the latest last. They run in one thread, products of theirs within those of others.
_raised: list[BaseException] = []


def raise_interrupt() -> None:
    """After C has returned -EINTR: raise what a signal's handler raised."""
    raise _raised.pop()


def _keep(kind: type[BaseException], error: BaseException, traceback: TracebackType) -> None:
    _raised.append(error.with_traceback(traceback))


@ffi.def_extern(error=1, onerror=_keep)
def amx_asked() -> int:
    """Whether a product is to stop: 0, unless a handler raises."""
    return 0


lib.amx_gemm_ask(lib.amx_asked)
