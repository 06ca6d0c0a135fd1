"""`amx emulate -- PROGRAM`: what a program needs in its environment to be emulated, and to report."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from amx.emulation import preload_name
from amx.errors import EmulationError

__all__ = ["ANNOUNCE", "CPU", "FEATURES", "LIBRARY", "PRELOAD", "environment", "library", "report_file"]

LIBRARY = "libamxemu.so"
# Of the preloaded library, csrc/trap/preload/preload.c.
CPU, PATCH = "AMX_EMULATE_CPU", "AMX_EMULATE_PATCH"
REPORT = "AMX_EMULATE_REPORT"  # a file, one line from each process
TRACE = "AMX_EMULATE_TRACE"  # a directory, one file from each process
ANNOUNCE = "AMX_EMULATE_ANNOUNCE"  # csrc/trap/answers/announce.h
PRELOAD = "LD_PRELOAD"
# Of LeakSanitizer, which AddressSanitizer brings along. At its end it traces the process that it is in.
LEAKS, NO_LEAKS = "LSAN_OPTIONS", "detect_leaks=0"
# What can be announced beside AMX though the host lacks it.
FEATURES = ("avx512_fp16", "avx512_bf16", "avx_vnni")


def library() -> str:
    """Path of the library that is preloaded, as LD_PRELOAD can have it.

    Raises
    ------
    EmulationError: this build has none, or its path cannot be named in LD_PRELOAD.
    """
    directories = sys.modules[__package__].__path__
    paths = [os.path.abspath(os.path.join(directory, LIBRARY)) for directory in directories]
    path = next(filter(os.path.isfile, paths), None)
    if path is None:
        raise EmulationError(
            f"{LIBRARY} is not installed",
            cause="This build has no machine layer: not x86-64 Linux, or built with AMX_FORCE_STUBS",
            remedy="Install the package on x86-64 Linux without AMX_FORCE_STUBS",
        )
    return preload_name.of(path)


def report_file(directory: str) -> str:
    """Where the processes of a program write their counts."""
    return os.path.join(directory, "report")


def environment(
    base: Mapping[str, str],
    *,
    cpu: str,
    patch: bool,
    preload: bool = True,
    directory: str = "",
    trace: bool = False,
    announce: str | None = None,
) -> dict[str, str]:
    """The environment of a program that is to be emulated, made from another.

    preload: whether the program's own loader brings the emulator; else a tracer is to, and LeakSanitizer,
        which would trace as well, and die, is told not to, unless `base` tells it to.
    directory: where its processes write their counts and, with `trace`, what they executed; empty: nowhere
        of ours.
    announce: names of FEATURES, separated by commas, or "none"; None: as `base` says, or else what oneDNN
        wants.
    """
    variables = {**base, CPU: cpu, PATCH: str(int(patch))}
    if announce is not None:
        variables[ANNOUNCE] = announce
    if directory:
        variables[REPORT] = report_file(directory)
        variables.pop(TRACE, None)
        if trace:
            variables[TRACE] = directory
    entries = [entry for entry in re.split("[ :]", base.get(PRELOAD, "")) if entry and not _is_ours(entry)]
    if preload:
        entries.insert(0, library())
    elif LEAKS not in base:
        variables[LEAKS] = NO_LEAKS
    elif NO_LEAKS not in base[LEAKS]:
        variables[LEAKS] = f"{NO_LEAKS}:{base[LEAKS]}"  # what is said later counts
    variables.pop(PRELOAD, None)
    if entries:
        variables[PRELOAD] = ":".join(entries)
    return variables


def _is_ours(entry: str) -> bool:
    return os.path.basename(entry) == LIBRARY
