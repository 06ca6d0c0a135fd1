"""Run one provocation in a process of its own, see what it saw, and end it if it does not end by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PROGRAM", "Run", "program", "provoke"]

PROGRAM = "AMX_PROVOKE"  # variable with the path of another amx-provoke, a static one for example
HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one provocation.

    `ending` is "exit 0", a signal's name or "hung"; `complete` says that the program reached its end;
    `cannot` and `broken` are the reasons it gave for stopping; `unreadable` are lines that are no
    observation; `errors` is what it wrote on standard error; `seconds` how long it took.
    """

    observations: tuple[tuple[str, Any], ...] = ()
    ending: str = "exit 0"
    complete: bool = False
    cannot: str = ""
    broken: str = ""
    unreadable: tuple[str, ...] = ()
    errors: str = ""
    seconds: float = 0.0


def program() -> str:
    """Path of amx-provoke.

    Raises
    ------
    FileNotFoundError: it is not installed.
    """
    from amx import conformance

    candidates = [os.environ[PROGRAM]] if os.environ.get(PROGRAM) else []
    candidates += [os.path.join(directory, "amx-provoke") for directory in conformance.__path__]
    for candidate in candidates:
        if os.path.isfile(candidate):
            return candidate
    raise FileNotFoundError(f"amx-provoke is not installed: it is not {' nor '.join(candidates)}")


def provoke(id: str, *, model: bool, fault: str, timeout: float) -> Run:
    """Make the provocation of a check; `timeout` in seconds.

    Raises
    ------
    OSError: the program could not be started.
    """
    options = ["--model"] if model else []
    options += ["--fault", fault] if fault else []
    directory = tempfile.mkdtemp(prefix="amx-provoke-")
    try:
        return _run([program(), "run", id, *options], directory, timeout)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(command: Sequence[str], directory: str, timeout: float) -> Run:
    # Files, not pipes: a grandchild that lives on would keep a pipe open.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        with _interrupt_deferred() as interrupted:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=directory,
                env={**os.environ, "AMX_PROVOKE_TMPDIR": directory, "AMX_PYTHON": sys.executable},
                start_new_session=True,
            )
            try:
                in_time = _wait(child.pid, start + timeout, interrupted)
            finally:
                # Before the leader is reaped, so that the group's number cannot belong to another one yet.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        seconds = time.monotonic() - start
        output.seek(0)
        errors.seek(0)
        return _read(
            output.read().decode(errors="replace"),
            ending=_ending(child.returncode) if in_time else HUNG,
            errors=errors.read().decode(errors="replace"),
            seconds=seconds,
        )


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[list[int]]:
    """Until the end of the context an interrupt only fills the list: the child is to be killed first."""
    came: list[int] = []
    previous = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or previous in (None, signal.SIG_IGN):
        yield came
        return
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, previous)
    if came:
        signal.raise_signal(signal.SIGINT)


def _wait(pid: int, deadline: float, interrupted: Sequence[int]) -> bool:
    """Wait until the child has ended, without reaping it; False when the deadline comes first."""
    pause = 0.0005
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and not interrupted:
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
    return True


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"


def _read(output: str, *, ending: str, errors: str, seconds: float) -> Run:
    observations: list[tuple[str, Any]] = []
    unreadable: list[str] = []
    said: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            ((key, value),) = json.loads(line).items()
        except (ValueError, AttributeError):
            unreadable.append(line)
            continue
        if key in ("cannot", "broken", "end"):
            said[key] = value
        else:
            observations.append((key, value))
    return Run(
        observations=tuple(observations),
        ending=ending,
        complete=said.get("end") is True,
        cannot=str(said.get("cannot", "")),
        broken=str(said.get("broken", "")),
        unreadable=tuple(unreadable),
        errors=errors.strip(),
        seconds=seconds,
    )
