"""Wait for a child that may hang, say more than can be kept, or leave others behind; and then end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

from amx import lifetime

__all__ = ["ENDLESS", "Said", "end", "interrupts_wait", "wait"]

PIPE = 1 << 16  # bytes that Linux has for one (pipe(7))
ENDLESS = 1 << 24  # bytes; what writes more is waited for, and killed, like one that hangs


class Said:
    """What comes through a pipe, which a grandchild that lives on may keep open."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._bytes = bytearray()
        os.set_blocking(pipe.fileno(), False)

    def take(self) -> bytes:
        """Take what is there, without waiting for more; what is new."""
        before = len(self._bytes)
        with contextlib.suppress(BlockingIOError):
            while not self.is_endless and (some := os.read(self._pipe.fileno(), PIPE)):
                self._bytes += some
        return bytes(self._bytes[before:])

    @property
    def is_endless(self) -> bool:
        """Whether no more is taken."""
        return len(self._bytes) >= ENDLESS

    def end(self) -> bytes:
        """All that came."""
        self.take()
        self._pipe.close()
        return bytes(self._bytes)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[list[int]]:
    """Until the end of the context an interrupt only fills the list, for the child is to be killed first."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    previous = signal.getsignal(signal.SIGINT)
    is_ours = previous not in (None, signal.SIG_IGN)  # None: none that Python has set
    if is_ours:
        signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        with lifetime.statuses_are_kept():
            yield came
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, previous)
    if came:
        signal.raise_signal(signal.SIGINT)


def wait(
    pid: int,
    timeout: float,
    interrupted: Sequence[int],
    said: Iterable[Said],
    is_over: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until the child has ended, without reaping it; False after having slept for `timeout` seconds.

    What is slept counts, and not what the clock says: on a busy machine this process too runs late. False
    also when `is_over`, which is asked whenever something may have come, says so.
    """
    pause, slept = 0.0005, 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and not interrupted:
        if slept > timeout or is_over():
            return False
        for each in said:
            each.take()
        time.sleep(pause)
        slept += pause
        pause = min(2 * pause, 0.01)
    return True


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a child that leads a group, and of the group."""
    # Before the leader is reaped, so that the group's number cannot belong to another one yet.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
