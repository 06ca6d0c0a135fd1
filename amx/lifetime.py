"""Child processes that do not outlive the thread that starts them, however that ends, and how they end."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["run", "statuses_are_kept", "tie", "tied"]

PR_SET_PDEATHSIG = 1  # uapi/linux/prctl.h
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it
_is_ignored_again = False  # soon, when the main thread's child has ended, and perhaps before another's has


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """As subprocess.run of text, for a child that is tied to this thread; `preexec_fn` comes behind that.

    Raises
    ------
    ChildProcessError: how it ends could not be known: SIGCHLD is ignored, outside the main thread.
    """
    with statuses_are_kept() as are_kept:
        if not are_kept:
            raise ChildProcessError(errno.ECHILD, "SIGCHLD is ignored, so nobody can know how a child ends")
        first, then = tied(), options.pop("preexec_fn", None)

        def begin() -> None:
            first()
            if then is not None:
                then()

        return subprocess.run(command, preexec_fn=begin, **{"text": True, **options})


@contextlib.contextmanager
def statuses_are_kept() -> Iterator[bool]:
    """Until the end of the context SIGCHLD is not ignored, as a parent may have handed it on; whether it is.

    While it is, children leave nothing to wait for, and `subprocess` takes all of them to have succeeded.
    Python changes it in the main thread only.
    """
    global _is_ignored_again
    is_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not is_ignored:
        yield is_main or not (is_ignored or _is_ignored_again)
        return
    _is_ignored_again = True
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield True
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        _is_ignored_again = False


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
