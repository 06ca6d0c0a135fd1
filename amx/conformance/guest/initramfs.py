"""An initramfs in which a kernel is judged: amx-provoke as the first process, its plan, and nothing else.

The format is Documentation/driver-api/early-userspace/buffer-format.rst: a cpio archive ("newc"), compressed
by gzip (RFC 1952). The same program and plan give the same bytes: no time, no user and no name of a file of
here is in them.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from amx import foreign_file
from amx.conformance.check import Check, Need
from amx.conformance.selection import Selection
from amx.emulation import elf_headers
from amx.errors import GuestError
from amx.printable import printable

__all__ = ["STATIC", "archive", "plan", "program"]

STATIC = "AMX_PROVOKE_STATIC"  # variable with the path of another amx-provoke that is linked statically
MOST = 1 << 26  # bytes of a program; ours has less than one MiB
ET_EXEC, ET_DYN = 2, 3
SLOWNESS = 4  # on time limits: children cost 40 times as much where QEMU translates a guest
REMEDY = (
    f"Set {STATIC} to one that is linked statically: cmake -S csrc -B build/static -DAMX_STATIC_PROVOKE=ON "
    "&& cmake --build build/static --target amx-provoke, in a checkout and with a static C library (Debian, "
    "Ubuntu: apt install libc6-dev; Fedora: dnf install glibc-static; or CC=musl-gcc)"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a name in the archive stands for."""

    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)  # major and minor number


def program() -> bytes:
    """amx-provoke for a guest: the one that is installed, or that the variable names.

    Raises
    ------
    GuestError: there is none, or it would need more than a kernel.
    """
    path = os.environ.get(STATIC) or os.path.join(
        sys.modules["amx.conformance"].__path__[0], "amx-provoke-static"
    )
    try:
        content = foreign_file.read(path, MOST)
    except OSError as error:
        raise GuestError(
            f"{printable(path)} cannot be read", cause=error.strerror or str(error), remedy=REMEDY
        ) from None
    if cause := _dependence(content):
        raise GuestError(f"{printable(path)} cannot be the first process", cause=cause, remedy=REMEDY)
    return content


def plan(selection: Selection, catalogue: Iterable[Check]) -> str:
    """What the guest is to do, a line for each check: its id and its time limit in seconds, longer than here.

    Those that a selected one rests on are made too. An optional one is made where it was asked for.
    """
    by_id = {check.id: check for check in catalogue}
    wanted: set[str] = set()
    waiting = [check for check in selection.checks if _is_made(check, selection)]
    while waiting:
        check = waiting.pop()
        wanted.add(check.id)
        waiting += [by_id[id] for id in check.depends if id not in wanted]
    return "".join(
        f"{check.id} {SLOWNESS * check.timeout:g}\n" for check in by_id.values() if check.id in wanted
    )


def archive(program: bytes, plan: str) -> bytes:
    """The bytes of an initramfs whose first process is the program.

    The nodes are for the time before it has mounted a file system of devices.
    """
    root = {
        "dev": _Entry(stat.S_IFDIR | 0o755),
        "dev/console": _Entry(stat.S_IFCHR | 0o600, device=(5, 1)),
        "dev/null": _Entry(stat.S_IFCHR | 0o666, device=(1, 3)),
        "init": _Entry(stat.S_IFREG | 0o755, program),
        "plan": _Entry(stat.S_IFREG | 0o644, plan.encode()),
        "proc": _Entry(stat.S_IFDIR | 0o755),
        "sys": _Entry(stat.S_IFDIR | 0o755),
        "tmp": _Entry(stat.S_IFDIR | stat.S_ISVTX | 0o777),
    }
    return _gzip(_cpio(root))


def _is_made(check: Check, selection: Selection) -> bool:
    return Need.OPT_IN not in check.needs or check.id in selection.asked


def _dependence(content: bytes) -> str:
    """Why a kernel alone cannot run this program; empty where it can."""
    header = elf_headers.HEADER
    if len(content) < header.size:
        return "It is no program"
    identity, kind, machine, _, _, offset, _, _, _, size, count, *_ = header.unpack_from(content)
    if not identity.startswith(elf_headers.ELFMAG):
        return "It is no ELF file"
    if (identity[4], identity[5], machine) != (
        elf_headers.ELFCLASS64,
        elf_headers.ELFDATA2LSB,
        elf_headers.EM_X86_64,
    ) or kind not in (ET_EXEC, ET_DYN):
        return "It is no program for x86-64"
    segment = elf_headers.PROGRAM_HEADER
    if size != segment.size or not count or offset + count * size > len(content):
        return "Its program headers are damaged"
    kinds = [struct.unpack_from("<I", content, offset + size * each)[0] for each in range(count)]
    if elf_headers.PT_INTERP in kinds:
        return "It is linked dynamically, and in an initramfs there are no libraries"
    return "" if elf_headers.PT_LOAD in kinds else "It has nothing to load"


def _cpio(root: Mapping[str, _Entry]) -> bytes:
    parts: list[bytes] = []
    for inode, (name, entry) in enumerate(sorted(root.items()), start=1):
        parts += _member(name, entry, inode)
    parts += _member("TRAILER!!!", _Entry(0), 0)
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % 512)


def _member(name: str, entry: _Entry, inode: int) -> Iterable[bytes]:
    """Header and name, and the content; each is filled up to four bytes."""
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    user = group = time = checksum = 0
    fields = (inode, entry.mode, user, group, links, time, len(entry.content))
    numbers = (*fields, 0, 0, *entry.device, len(name) + 1, checksum)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers)
    for part in (header + name.encode() + b"\0", entry.content):
        yield part + bytes(-len(part) % 4)


def _gzip(content: bytes) -> bytes:
    """By hand, since what Python's own module writes into the header differs between its versions."""
    method, flags, time, extra, system = 8, 0, 0, 2, 255
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = compressor.compress(content) + compressor.flush()
    header = struct.pack("<2s 2B I 2B", b"\x1f\x8b", method, flags, time, extra, system)
    return header + deflated + struct.pack("<2I", zlib.crc32(content), len(content) & 0xFFFFFFFF)
