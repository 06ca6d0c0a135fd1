"""Start a program in the place of this one, or beside it with its signals handed on."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from amx import lifetime
from amx.errors import ProgramError
from amx.printable import printable

__all__ = ["IGNORED_BY_PYTHON", "become", "run"]

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # which exec would hand on
SI_KERNEL = 128
# Faults are this process's own, and terminal stops are the program's, which is in the same process group.
NOT_HANDED_ON = {
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
    signal.SIGSYS,
    signal.SIGTTIN,
    signal.SIGTTOU,
}
TERMINAL_STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


def become(path: str, argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program.

    Raises
    ------
    ProgramError: the kernel does not execute it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, list(argv), dict(environment))
    except OSError as error:
        raise ProgramError(
            f"{printable(path)} cannot be run",
            cause=os.strerror(error.errno or errno.EIO),
            remedy="Name an executable program",
            operation="execve",
            errno=error.errno,
        ) from None


def run(path: str, argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program beside this process until it ends; its exit status, 128 + n when signal n killed it.

    It has this process's terminal and process group. Signals sent to this process are handed on to it; what
    the terminal sends reaches it without that. It does not outlive this process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    watched = signal.valid_signals() - NOT_HANDED_ON
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would leave nothing to wait for
    try:
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, on_child)
            _child(path, argv, environment, previous, parent)
        return _supervise(child, watched)
    finally:
        signal.signal(signal.SIGCHLD, on_child)
        while signal.sigtimedwait(watched - previous, 0):
            pass  # they were for the program, which has ended
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _child(
    path: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    mask: set[signal.Signals | int],
    parent: int,
) -> NoReturn:
    status = 126
    try:
        lifetime.tie(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become(path, argv, environment)
    except ProgramError as error:
        os.write(2, f"amx: {error}\n".encode(errors="replace"))
        status = 127 if error.errno == errno.ENOENT else 126
    finally:
        os._exit(status)


def _supervise(child: int, watched: set[signal.Signals]) -> int:
    while True:
        info = signal.sigwaitinfo(watched)
        if info.si_signo != signal.SIGCHLD:
            if info.si_code != SI_KERNEL:  # the terminal's signals go to the whole group
                os.kill(child, info.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            continue
        if os.WIFSTOPPED(status):
            if os.WSTOPSIG(status) in TERMINAL_STOPS:
                os.kill(os.getpid(), signal.SIGSTOP)  # so that the shell sees the job stopped
        elif os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
        else:
            return os.WEXITSTATUS(status)
