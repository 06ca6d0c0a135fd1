"""Run one provocation in a process of its own, see what it saw, and end it if it does not end by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from amx import lifetime
from amx.conformance import waiting
from amx.errors import signal_name

__all__ = ["HUNG", "PROGRAM", "Run", "program", "provoke", "run_of"]

PROGRAM = "AMX_PROVOKE"  # variable with the path of another amx-provoke, a static one for example
DIRECTORY = "AMX_PROVOKE_TMPDIR"  # variable with the directory for core files; empty where there is none
HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one provocation.

    `ending` is "exit 0", a signal's name or "hung"; `complete` says that the program reached its end;
    `cannot` and `broken` are the reasons it gave for stopping; `unreadable` are lines that are no
    observation; `errors` is what it wrote on standard error; `seconds` how long it took.

    Of a log: `lost` says what of the run is not there, which leaves nothing to judge; `kernel_failure` is
    what the kernel said of itself meanwhile that is a failure whatever the program saw; `kernel` are all such
    messages, and those that are none.
    """

    observations: tuple[tuple[str, Any], ...] = ()
    ending: str = "exit 0"
    complete: bool = False
    cannot: str = ""
    broken: str = ""
    unreadable: tuple[str, ...] = ()
    errors: str = ""
    seconds: float = 0.0
    lost: str = ""
    kernel_failure: str = ""
    kernel: tuple[str, ...] = ()


def program() -> str:
    """Path of amx-provoke.

    Raises
    ------
    FileNotFoundError: it is not installed.
    """
    candidates = [os.environ[PROGRAM]] if os.environ.get(PROGRAM) else []
    candidates += [os.path.join(directory, "amx-provoke") for directory in sys.modules[__package__].__path__]
    for candidate in candidates:
        if os.path.isfile(candidate):
            return os.path.abspath(candidate)  # it is started in another directory
    raise FileNotFoundError(f"amx-provoke is not installed: it is not {' nor '.join(candidates)}")


def provoke(id: str, *, model: bool, fault: str, timeout: float) -> Run:
    """Make the provocation of a check; `timeout` in seconds.

    Raises
    ------
    OSError: the program could not be started.
    """
    options = ["--model"] if model else []
    options += ["--fault", fault] if fault else []
    with _scratch() as directory:
        return _run([program(), "run", id, *options], directory, timeout)


@contextlib.contextmanager
def _scratch() -> Iterator[str | None]:
    """A directory for core files; None where there is no place for one."""
    try:
        directory = tempfile.mkdtemp(prefix="amx-provoke-")
    except OSError:
        yield None
        return
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(command: Sequence[str], directory: str | None, timeout: float) -> Run:
    variables = {**os.environ, DIRECTORY: directory or "", "AMX_PYTHON": sys.executable}
    start = time.monotonic()
    with waiting.interrupts_wait() as interrupted:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory or "/",
            env=variables,
            start_new_session=True,
            preexec_fn=lifetime.tied(),
        )
        said = [waiting.Said(pipe) for pipe in (child.stdout, child.stderr) if pipe]
        try:
            in_time = waiting.wait(child.pid, timeout, interrupted, said)
        finally:
            waiting.end(child)
            output, errors = (each.end().decode(errors="replace") for each in said)
    return _read(
        output,
        ending=_ending(child.returncode) if in_time else HUNG,
        errors=errors,
        seconds=time.monotonic() - start,
    )


def _ending(status: int) -> str:
    return f"exit {status}" if status >= 0 else signal_name(-status)


def _read(output: str, *, ending: str, errors: str, seconds: float) -> Run:
    objects: list[tuple[str, Any]] = []
    unreadable: list[str] = []
    for line in output.splitlines():
        try:
            ((key, value),) = json.loads(line).items()
        except (ValueError, AttributeError):
            unreadable.append(line)
            continue
        objects.append((key, value))
    return run_of(objects, unreadable, ending=ending, errors=errors, seconds=seconds)


def run_of(
    objects: Iterable[tuple[str, Any]],
    unreadable: Iterable[str],
    *,
    ending: str,
    errors: str,
    seconds: float,
    kernel: tuple[str, ...] = (),
) -> Run:
    """The run whose program wrote these objects of one key each, and these lines that are none."""
    observations: list[tuple[str, Any]] = []
    said: dict[str, Any] = {}
    for key, value in objects:
        if key in ("cannot", "broken", "end"):
            said[key] = value
        elif key != "start":  # its own id, for who collects several in one file
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
        kernel=kernel,
    )
