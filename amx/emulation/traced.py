"""Run a program under this package's tracer: `amx emulate --ptrace`."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from amx._lib import CData, ffi, lib
from amx.emulation import launcher
from amx.emulation.counts import Counts
from amx.emulation.probe import MOUNT_PROC, NO_PROC
from amx.emulation.unrecorded import Unrecorded, reason_of
from amx.errors import EmulationError
from amx.printable import printable

__all__ = ["Ended", "run"]

NOTHING_RAN = -1


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has run.

    `status` is its exit status, 128 + n when signal n killed it; `counts` are of all its processes together;
    `unrecorded` are those whose trace is missing; `failure` says why the tracer killed all, empty if not.
    """

    status: int
    counts: Counts
    unrecorded: Unrecorded
    failure: str


def run(
    path: str, argv: Sequence[str], environment: Mapping[str, str], *, cpu: str, trace: str = ""
) -> Ended:
    """Trace a program and all its children until they end.

    `trace` is a directory where what each process executes is recorded; empty: nowhere. Signals to this
    process are handed on to the program. Where the tracer fails later, all that it traces is killed.

    Raises
    ------
    EmulationError: it could not be traced, and nothing of it ran.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    words, variables = _strings(argv), _strings(f"{name}={value}" for name, value in environment.items())
    name = ffi.new("char[]", cpu.encode())
    directory = ffi.new("char[]", os.fsencode(os.path.abspath(trace))) if trace else ffi.NULL
    features = environment.get(launcher.ANNOUNCE)
    announce = ffi.NULL if features is None else ffi.new("char[]", features.encode())
    options = ffi.new(
        "struct amx_trap_options *",
        {"cpu": name, "patch": 0, "hybrid": -1, "trace": directory, "announce": announce},
    )
    counts, status = ffi.new("struct amx_trap_counts *"), ffi.new("int *")
    result = lib.amx_ptrace_run(
        ffi.new("char[]", os.fsencode(path)),
        ffi.new("char *[]", words),
        ffi.new("char *[]", variables),
        options,
        counts,
        status,
    )
    if status[0] == NOTHING_RAN:
        raise _error(path, -result)
    return Ended(
        _exit_status(int(status[0])),
        Counts.of(counts),
        Unrecorded(counts.unrecorded, reason_of(counts.unrecorded_error) if counts.unrecorded else ""),
        os.strerror(-result) if result else "",
    )


def _strings(texts: Iterable[str]) -> list[CData]:
    return [*(ffi.new("char[]", os.fsencode(text)) for text in texts), ffi.NULL]


def _exit_status(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _error(path: str, number: int) -> EmulationError:
    if number == errno.EIO:
        return EmulationError(
            f"{printable(path)} could not be traced",
            cause="Its memory cannot be reached: this process may use neither process_vm_readv(2) nor "
            "/proc/PID/mem on it, or it may be executed and not read",
            remedy="Allow one of them in the sandbox, mount /proc, or make the program readable; "
            "leave --ptrace away where preloading works",
            errno=number,
        )
    if number == errno.ENXIO:
        return EmulationError(
            f"{printable(path)} could not be traced",
            cause=NO_PROC,
            remedy=f"{MOUNT_PROC}; leave --ptrace away where preloading works",
            errno=number,
        )
    return EmulationError(
        f"{printable(path)} could not be traced",
        cause=os.strerror(number),
        remedy="See amx emulate --probe: it says whether ptrace works here, and what helps",
        errno=number,
    )
