"""Signals that arrive during a long product: their Python handlers run meanwhile, and may end it.

C asks every few milliseconds (csrc/gemm/interrupt.c). The answer (csrc/prelude.c.txt) is the interpreter's
own to whoever waits outside of it: the handlers of pending signals run.
"""

from __future__ import annotations

from amx._lib import ffi, lib

__all__ = ["raise_interrupt"]

# What handlers raised, appended by C. They run in one thread, products of theirs within those of others.
_raised: list[BaseException] = []


def raise_interrupt() -> None:
    """After C has returned -EINTR: raise what a signal's handler raised."""
    # Handlers run after calls: one that raises between taking the exception and raising it would lose it.
    try:
        raise _raised[-1] if _raised else MemoryError("no memory to keep what the handler of a signal raised")
    finally:
        del _raised[-1:]


lib.amx_gemm_ask(ffi.addressof(lib, "amx_run_handlers"))
