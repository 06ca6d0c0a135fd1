"""A name for a library that LD_PRELOAD can have, whatever its path.

Entries are separated by spaces and colons, and there is no quoting (ld.so(8)). A path with such characters is
named by a symbolic link in a directory of ours that nobody else can write to, in the user's runtime directory
or among temporary files. It stays, since the program and its children go on needing it when the launcher has
become the program.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat

from amx.errors import EmulationError
from amx.own_directory import is_own, places

__all__ = ["of"]

MODE = 0o755
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
SPECIAL = frozenset(" :\t\n\v\f\r")  # to musl all white space


def of(path: str) -> str:
    """The path itself, or that of a link to it.

    Raises
    ------
    EmulationError: it needs a link, and there is no place for one.
    """
    if not SPECIAL & {*path}:
        return path
    refusals = []
    for place in places():
        try:
            return _link(place, path)
        except OSError as error:
            refusals.append(f"{place}: {error.strerror or error}")
    raise EmulationError(
        f"{path} cannot be preloaded",
        cause="LD_PRELOAD can name no path with a space or a colon, and there is no place for a link "
        f"to it ({'; '.join(refusals) or 'no directory can be written'})",
        remedy="Set TMPDIR to a directory that can be written and has neither in its path, or install so",
    )


def _require_fit(place: str) -> None:
    """LD_PRELOAD can name it, and nobody else but root put another directory in the place of ours."""
    if SPECIAL & {*place}:
        raise OSError(errno.EINVAL, "it has such a path itself")
    found = os.stat(place)
    is_open = found.st_mode & WRITABLE_BY_OTHERS and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (os.geteuid(), 0) or is_open:
        raise PermissionError(errno.EPERM, "others can rename what is in it")


def _link(place: str, path: str) -> str:
    _require_fit(place)
    number = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    directory = os.path.join(place, f"amx-emulate-{os.geteuid()}-{number}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, MODE)
    if not is_own(os.lstat(directory), MODE):
        raise PermissionError(errno.EPERM, f"{directory} is not this user's alone")
    link = os.path.join(directory, os.path.basename(path))
    with contextlib.suppress(FileExistsError):
        os.symlink(path, link)
    if os.readlink(link) != path:
        raise FileExistsError(errno.EEXIST, f"{link} names another file")
    return link
