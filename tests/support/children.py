"""Child processes of tests: none outlives its test, and all begin alike wherever the tests were started.

Each has a session of its own, in which it can be killed with what it started. It has the default action for
every signal and none blocked, also where the tests run in the background or under nohup.
"""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from amx import lifetime

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]
_started = []


def start(command, *, preexec_fn=None, **options):
    """As subprocess.Popen; `preexec_fn` comes last. Standard input is empty."""
    parent = os.getpid()

    def begin():
        lifetime.tie(parent)
        fresh_signals()
        if preexec_fn is not None:
            preexec_fn()

    options = {"stdin": subprocess.DEVNULL, "start_new_session": True, **options}
    child = subprocess.Popen([os.fspath(word) for word in command], preexec_fn=begin, **options)
    _started.append(child)
    return child


def run(command, *, input=None, capture_output=False, timeout=None, check=False, **options):
    """As subprocess.run; a child that runs out of time is killed with all of its group."""
    if capture_output:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    if input is not None:
        options = {"stdin": subprocess.PIPE, **options}
    with start(command, **options) as child:
        try:
            output, errors = child.communicate(input, timeout)
        except BaseException:
            end(child)
            raise
    done = subprocess.CompletedProcess(child.args, child.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def fork():
    """As os.fork, for what needs the memory of the tests themselves."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        lifetime.tie(parent)
    return pid


def fork_on_terminal():
    """As pty.fork, with the signals of a fresh login."""
    parent = os.getpid()
    pid, terminal = pty.fork()
    if pid == 0:
        lifetime.tie(parent)
        fresh_signals()
    return pid, terminal


def fresh_signals():
    """In a child: the default action for all signals that its parent ignored, and none blocked."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def end(child):
    """Kill a child that has not been waited for, and its group."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()


def end_all():
    """After a test: kill what it has left running."""
    while _started:
        end(_started.pop())


def run_python(*arguments, timeout=120, **environment):
    """Run Python with the modules of tests/ importable.

    In the native lane the child is in the lane too, and in a test of a family of kernels in vector registers
    it uses these.
    """
    lane = environment.get("AMX_TEST_LANE", os.environ.get("AMX_TEST_LANE"))
    family = environment.get("AMX_TEST_FAMILY", os.environ.get("AMX_TEST_FAMILY"))
    prefix = ["-m", "native_lane"] if lane else ["-m", "vector_family"] if family else []
    return run(
        [sys.executable, *prefix, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def descendants(pid):
    """The processes that have come of one, by /proc; zombies are none."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", errors="replace") as stat:
            state, parent = stat.read().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(entry)] = int(parent)
    found = {pid}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def gone(pid):
    """Whether a process is gone or a zombie, soon."""
    for _ in range(2000):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def how_it_ended(result):
    """The name of the signal, or the exit status."""
    return signal.Signals(-result.returncode).name if result.returncode < 0 else result.returncode
