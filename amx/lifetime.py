"""Child processes that do not outlive the thread that starts them, however that ends."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
from collections.abc import Callable

__all__ = ["tie", "tied"]

PR_SET_PDEATHSIG = 1  # uapi/linux/prctl.h
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it


def tied() -> Callable[[], None]:
    """The `preexec_fn` of a child of this process that is killed when the calling thread ends."""
    return functools.partial(tie, os.getpid())


def tie(parent: int) -> None:
    """In a child of `parent`: be killed when the thread that made this process ends, or has ended already.

    exec keeps it, unless the program is setuid, setgid or has capabilities of its own (prctl(2)). Where the
    parent cannot be seen it counts as alive: a filter denies the question, or it is in another PID namespace.
    """
    if _prctl is None:
        return
    _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    now = os.getppid()
    if now > 0 and now != parent:
        os.kill(os.getpid(), signal.SIGKILL)
