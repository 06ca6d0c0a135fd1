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
from amx.own_directory import is_own

__all__ = ["directory", "require"]

ENOUGH = 4096  # bytes of a file, for the least that is written


@contextlib.contextmanager
def directory(what: str) -> Iterator[str]:
    """Its path; in the end it is removed by the process that made it. `what` needs it, as an error says.

    Nobody but this user can reach anything in it, and the program's processes write to no other
    (csrc/trap/files/own_directory.h). What the program has put too deep into it to be removed stays.

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
            with contextlib.suppress(RecursionError):
                shutil.rmtree(made, ignore_errors=True)


def require(path: str) -> None:
    """Refuse what is no such directory any more: a program can remove it, and anybody make another.

    Raises
    ------
    EmulationError: it is not this user's, or open to others, or not there.
    """
    with contextlib.suppress(OSError):
        if is_own(os.lstat(path)):
            return
    raise EmulationError(
        f"There is no directory {path!r} of this user's alone any more",
        cause="What was recorded in it was removed while the program ran",
    )


def _none(what: str, error: OSError) -> EmulationError:
    """Python tries several directories, and in the end says only that none would do."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    named = os.environ.get("TMPDIR")
    if limit != resource.RLIM_INFINITY and limit < ENOUGH:
        cause = f"No file may be larger than {limit} bytes, in whatever directory"
        remedy = "Raise that limit (ulimit -f)"
    else:
        cause = f"TMPDIR is {repr(named) if named else 'not set'}: {error.strerror}"
        remedy = "Set TMPDIR to a directory that can be written"
    return EmulationError(
        f"{what}: this needs a temporary file, and none can be written", cause=cause, remedy=remedy
    )
