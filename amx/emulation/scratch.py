"""A directory for what the processes of an emulated program write."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator

from amx.emulation import unrecorded
from amx.errors import EmulationError

__all__ = ["directory"]

SEARCHABLE = 0o711
ENOUGH = 4096  # bytes of a file, for the least that is written


@contextlib.contextmanager
def directory(what: str) -> Iterator[str]:
    """Its path; in the end it is removed by the process that made it. `what` needs it, as an error says.

    It lies in one that only this user can list: processes of the program that become another user know its
    name, and other users do not.

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
            os.chmod(made, SEARCHABLE)
            inner = tempfile.mkdtemp(dir=made)
            os.chmod(inner, SEARCHABLE)
            unrecorded.prepare(inner)
        except OSError as error:
            raise _none(what, error) from None
        yield inner
    finally:
        if os.getpid() == owner:  # else it is a forked child
            shutil.rmtree(made, ignore_errors=True)


def _none(what: str, error: OSError) -> EmulationError:
    return EmulationError(
        f"{what}: this needs a temporary file, and none can be written",
        cause=_cause(error),
        remedy="Set TMPDIR to a directory that can be written",
    )


def _cause(error: OSError) -> str:
    """Python tries several directories, and in the end says only that none would do."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < ENOUGH:
        return f"No file may be larger than {limit} bytes (ulimit -f), whatever TMPDIR is"
    named = os.environ.get("TMPDIR")
    return f"TMPDIR is {named!r}: {error.strerror}" if named else f"TMPDIR is not set: {error.strerror}"
