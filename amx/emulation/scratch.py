"""A directory for what the processes of an emulated program write."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from amx.emulation import unrecorded
from amx.errors import EmulationError

__all__ = ["directory"]


@contextlib.contextmanager
def directory(what: str) -> Iterator[str]:
    """Its path; in the end it is removed by the process that made it. `what` needs it, as an error says.

    Raises
    ------
    EmulationError: none can be made.
    """
    try:
        made = tempfile.mkdtemp(prefix="amx-emulate-")
    except OSError as error:
        raise _none(what, error) from None
    owner = os.getpid()
    try:
        try:
            unrecorded.prepare(made)
        except OSError as error:
            raise _none(what, error) from None
        yield made
    finally:
        if os.getpid() == owner:  # else it is a forked child
            shutil.rmtree(made, ignore_errors=True)


def _none(what: str, error: OSError) -> EmulationError:
    return EmulationError(
        f"{what}: no temporary file can be written",
        cause=_cause(error),
        remedy="Set TMPDIR to a directory that can be written, and ulimit -f to no less than 2 MiB",
        errno=error.errno,
    )


def _cause(error: OSError) -> str:
    """Python has tried several directories, and says only that none would do."""
    named = os.environ.get("TMPDIR")
    tried = f"TMPDIR is {named!r}" if named else "TMPDIR is not set"
    return f"{tried}; {error.strerror or error}"
