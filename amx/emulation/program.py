"""Whether a program on disk can be run with a preloaded library, found out before anything runs."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from dataclasses import dataclass

from amx import foreign_file
from amx.emulation.elf_headers import (
    ELFCLASS64,
    ELFMAG,
    EM_X86_64,
    HEADER,
    MOST_SEGMENTS,
    PROGRAM_HEADER,
    PT_INTERP,
)
from amx.errors import EmulationError, ProgramError
from amx.foreign_file import ForeignFile
from amx.printable import printable

__all__ = ["Program", "find", "require_preloadable", "require_traceable"]

INTERPRETERS = 5  # how deep the kernel follows `#!` (fs/exec.c, exec_binprm)
INTERPRETER_LINE = 256  # BINPRM_BUF_SIZE
PATH_MAX = 4096


@dataclass(frozen=True, slots=True)
class Program:
    """A program as exec will take it.

    `path` is the file that was named or found in PATH; `binary` the ELF file that runs: the interpreter's
    where `path` is a script. `loader` is the dynamic loader that `binary` asks for, empty when it is static.
    """

    path: str
    binary: str
    loader: str
    bits: int
    machine: int


def find(name: str) -> Program:
    """Find a program as execvp(3) does, and look into it.

    Raises
    ------
    ProgramError: there is no such program (ENOENT), or it cannot be executed.
    """
    path = _which(name)
    binary = path
    for _ in range(INTERPRETERS + 1):
        interpreter = _interpreter_of(binary)
        if not interpreter:
            return _inspect(path, binary)
        binary = interpreter
        _require_executable(binary, f"{path}: its interpreter {binary}")
    raise _not_executable(path, errno.ELOOP)


def require_preloadable(program: Program) -> None:
    """Refuse what would run without the preloaded library, or not at all with it.

    Raises
    ------
    EmulationError: it is static, of another C library, of 32 bits, of another processor, or changes its
    user at exec.
    """
    require_traceable(program)
    if not program.loader:
        raise EmulationError(
            f"{printable(program.binary)} is static",
            cause="There is no dynamic loader in it that could preload the emulator",
            remedy="Use --ptrace",
        )
    own = _own_loader()
    if own and os.path.basename(own) != os.path.basename(program.loader):
        raise EmulationError(
            f"{printable(program.binary)} uses the C library of {printable(program.loader)}",
            cause=f"This package's emulator is built for that of {own}, and cannot be loaded there",
            remedy="Use --ptrace",
        )
    changes = _privileges(program.binary)
    if changes:
        raise EmulationError(
            f"{printable(program.binary)} {changes}",
            cause="The loader ignores LD_PRELOAD in programs that gain privileges (ld.so(8), AT_SECURE)",
            remedy="Run it as the user it would become, or run a copy without these privileges",
        )


def require_traceable(program: Program) -> None:
    """Refuse what has no AMX instructions whatever happens: EmulationError for 32 bits, another processor."""
    if program.bits != 64 or program.machine != EM_X86_64:
        what = "a 32-bit program" if program.bits == 32 else "a program for another processor"
        raise EmulationError(
            f"{printable(program.binary)} is {what}",
            cause="AMX exists in 64-bit x86 code only",
            remedy="Run a build of it for x86-64",
        )


def _own_loader() -> str:
    """The dynamic loader of this process, empty where it has none or cannot be looked into."""
    for path in ("/proc/thread-self/exe", sys.executable):  # the latter where /proc is not mounted
        try:
            return _inspect(path, path).loader
        except ProgramError:
            continue
    return ""


def _which(name: str) -> str:
    if os.sep in name:
        _require_executable(name, name)
        return name
    unusable: ProgramError | None = None
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        candidate = os.path.join(directory or os.curdir, name)
        try:
            _require_executable(candidate, candidate)
        except ProgramError as error:
            if error.errno != errno.ENOENT:
                unusable = unusable or error
        else:
            return candidate
    raise unusable or _not_found(name, "It is in no directory of PATH")


def _require_executable(path: str, what: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise _not_found(what, "There is no such file") from None
    except OSError as error:
        raise _not_executable(what, error.errno or errno.EACCES) from None
    if not stat.S_ISREG(mode):
        raise _not_executable(what, errno.EISDIR if stat.S_ISDIR(mode) else errno.EACCES)
    if not os.access(path, os.X_OK, effective_ids=True):
        raise _not_executable(what, errno.EACCES)


def _not_found(what: str, cause: str) -> ProgramError:
    return ProgramError(
        f"{printable(what)} cannot be run",
        cause=cause,
        remedy="Check the name; options of amx emulate stand before the program",
        operation="execve",
        errno=errno.ENOENT,
    )


def _not_executable(what: str, error: int) -> ProgramError:
    return ProgramError(
        f"{printable(what)} cannot be run",
        cause=os.strerror(error),
        remedy="Name an executable program",
        operation="execve",
        errno=error,
    )


def _look_into(path: str) -> ForeignFile:
    try:
        return foreign_file.opened(path)
    except OSError as error:
        raise ProgramError(
            f"{printable(path)} cannot be looked into",
            cause=str(error.strerror),
            remedy="Whether it is static can only be seen in the file: make it readable, or use --ptrace",
            errno=error.errno,
        ) from None


def _interpreter_of(path: str) -> str:
    """The interpreter that a script's first line names, empty for anything else (fs/binfmt_script.c)."""
    with _look_into(path) as file:
        start = file.read(0, INTERPRETER_LINE)
    if not start.startswith(b"#!"):
        return ""
    line, end, _ = start[2:].partition(b"\n")
    name = re.match(rb"[ \t]*([^ \t\0]*)", line)
    is_cut = not end and len(start) == INTERPRETER_LINE and name and name.end() == len(line)
    if not name or not name[1] or is_cut:
        raise _not_executable(path, errno.ENOEXEC)
    return os.fsdecode(name[1])


def _inspect(path: str, binary: str) -> Program:
    with _look_into(binary) as file:
        header = file.read(0, HEADER.size)
        if len(header) < HEADER.size or not header.startswith(ELFMAG):
            # Without a first line that names one, only a shell would know what to do with a text file.
            raise _not_executable(path, errno.ENOEXEC)
        machine = int.from_bytes(header[18:20], "little")
        if header[4] != ELFCLASS64:
            return Program(path, binary, "", 32, machine)
        try:
            return Program(path, binary, _loader(file, header), 64, machine)
        except ValueError:
            raise _not_executable(path, errno.ENOEXEC) from None


def _loader(file: ForeignFile, header: bytes) -> str:
    """What PT_INTERP names, empty where there is none; ValueError for what load_elf_binary() refuses."""
    _, _, _, _, _, offset, _, _, _, size, count, _, _, _ = HEADER.unpack(header)
    if size != PROGRAM_HEADER.size or not 0 < count <= MOST_SEGMENTS:
        raise ValueError("program headers")
    table = file.read(offset, size * count)
    if len(table) < size * count:
        raise ValueError("program headers")
    for kind, _, at, _, _, length, _, _ in PROGRAM_HEADER.iter_unpack(table):
        if kind == PT_INTERP:
            name = file.read(at, length) if 2 <= length <= PATH_MAX else b""
            if len(name) < length or not name.endswith(b"\0"):
                raise ValueError("the loader's name")
            return os.fsdecode(name.partition(b"\0")[0])
    return ""


def _privileges(path: str) -> str:
    """What exec would let the program gain (execve(2)), empty for nothing."""
    found = os.stat(path)
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return ""
    if found.st_mode & stat.S_ISUID and found.st_uid != os.getuid():
        return f"is set-user-ID (to uid {found.st_uid})"
    if found.st_mode & stat.S_ISGID and found.st_mode & stat.S_IXGRP and found.st_gid != os.getgid():
        return f"is set-group-ID (to gid {found.st_gid})"
    if os.geteuid() != 0 and _has_capabilities(path):
        return "has file capabilities"
    return ""


def _has_capabilities(path: str) -> bool:
    try:
        return "security.capability" in os.listxattr(path)
    except OSError:
        return False
