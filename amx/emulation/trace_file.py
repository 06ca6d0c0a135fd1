"""The files that csrc/trap/trace/file.h defines, as they are: no symbols, nothing added up."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amx import foreign_file
from amx.emulation.disassembly import Instruction, mnemonics
from amx.errors import TraceError
from amx.printable import printable

__all__ = ["RawConfiguration", "RawModule", "RawProcess", "RawSite", "RawThread", "read_file"]

MAGIC = b"AMXTRACE"
VERSION = 2
USED = 2
OPS = 64

HEADER = struct.Struct("<8s I i i i q 16I 3Q 64Q 448s 1024s")
THREAD = struct.Struct("<i I 4Q")
CONFIGURATION = struct.Struct("<I 4x 64s 2Q")
MODULE = struct.Struct("<I I I 4x 4Q 448s")
SITE = struct.Struct("<I I Q 2Q 3Q 3B 3B 2x")
TABLES = THREAD, CONFIGURATION, MODULE, SITE
MOST = 256, 512, 256, 16384  # entries of each
BYTES = 4 * 2**20  # of a file: more than these take


@dataclass(frozen=True, slots=True)
class RawThread:
    """`struct trace_thread`; `configured` says whether a configuration was left loaded."""

    id: int
    configured: bool
    instructions: int
    ldtilecfgs: int
    changes: int
    tilereleases: int


@dataclass(frozen=True, slots=True)
class RawConfiguration:
    """`struct trace_config`."""

    image: bytes
    loads: int
    changes: int


@dataclass(frozen=True, slots=True)
class RawModule:
    """`struct trace_module`: a line of /proc/PID/maps. `path` is as os.fsdecode() has it."""

    start: int
    end: int
    offset: int
    device: tuple[int, int]
    inode: int
    path: str


@dataclass(frozen=True, slots=True)
class RawSite:
    """`struct trace_site`. low, high: of rows and colsb, or of M, N and K; empty before the first."""

    address: int
    instruction: Instruction
    module: RawModule | None
    executed: int
    faults: int
    work: int
    low: tuple[int, ...]
    high: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RawProcess:
    """A file. `lost_instructions`: mnemonic and count of those that found no site.

    `error` is the errno for which the tables could not grow, 0 where they could.
    """

    pid: int
    parent: int
    started: int  # nanoseconds since 1970
    executable: str
    command: tuple[str, ...]
    threads: tuple[RawThread, ...]
    configurations: tuple[RawConfiguration, ...]
    sites: tuple[RawSite, ...]
    lost_threads: int
    lost_configurations: int
    lost_modules: int
    lost_instructions: tuple[tuple[str, int], ...]
    error: int


def read_file(path: Path) -> RawProcess:
    """One file; it may still be written to.

    Raises
    ------
    OSError: it cannot be read; it is no regular file of this user's, or too large to be a trace.
    TraceError: it is none, or of another version.
    """
    content = foreign_file.read(path, BYTES, owned=True, links=False)
    if len(content) < HEADER.size or content[:8] != MAGIC:
        raise _unreadable(path, "It does not begin as a trace does, or ended before it was begun")
    fields = HEADER.unpack_from(content)
    _, version, pid, parent, error, started = fields[:6]
    if version != VERSION:
        raise _unreadable(path, f"It has version {version}, and this is version {VERSION}")
    tables = [_Table(content, *fields[at : at + 3]) for at in (6, 10, 14, 18)]
    if any(table.end > len(content) for table in tables):
        raise _unreadable(path, "It is shorter than its header says")
    if any(table.entry_bytes < form.size for table, form in zip(tables, TABLES, strict=True)):
        raise _unreadable(path, "Its tables have smaller entries than this version's")
    if any(table.entries > most for table, most in zip(tables, MOST, strict=True)):
        raise _unreadable(path, "Its tables have more entries than this version's")
    threads, configurations, modules, sites = tables
    lost = fields[22:]
    known = {number: _module(entry) for number, entry in modules.used(MODULE)}
    entries = [entry for _, entry in sites.used(SITE)]
    if any(_op(entry) >= len(_mnemonics()) for entry in entries):
        raise _unreadable(path, "It names instructions that this version does not know")
    return RawProcess(
        pid=pid,
        parent=parent,
        started=started,
        executable=_text(lost[3 + OPS]),
        command=tuple(_decoded(word) for word in lost[4 + OPS].rstrip(b"\0").split(b"\0") if word),
        threads=tuple(
            RawThread(entry[0], bool(entry[1]), *entry[2:]) for entry in threads.all(THREAD) if entry[0]
        ),
        configurations=tuple(RawConfiguration(*entry[1:]) for _, entry in configurations.used(CONFIGURATION)),
        sites=tuple(_site(entry, known) for entry in entries),
        lost_threads=lost[0],
        lost_configurations=lost[1],
        lost_modules=lost[2],
        lost_instructions=tuple(
            (mnemonic, count)
            for mnemonic, count in zip(_mnemonics(), lost[3 : 3 + OPS], strict=False)
            if count
        ),
        error=error,
    )


@dataclass(frozen=True, slots=True)
class _Table:
    content: bytes
    offset: int
    entries: int
    entry_bytes: int

    @property
    def end(self) -> int:
        return self.offset + self.entries * self.entry_bytes

    def all(self, form: struct.Struct) -> Iterator[tuple[int, ...]]:
        for number in range(self.entries):
            yield form.unpack_from(self.content, self.offset + number * self.entry_bytes)

    def used(self, form: struct.Struct) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Those whose first field says so, with their numbers."""
        states = self.content[self.offset : self.end : self.entry_bytes]
        for number in (number for number, state in enumerate(states) if state == USED):
            yield number, form.unpack_from(self.content, self.offset + number * self.entry_bytes)


@functools.cache
def _mnemonics() -> tuple[str, ...]:
    return mnemonics()


def _module(entry: tuple[Any, ...]) -> RawModule:
    _, major, minor, start, end, offset, inode, path = entry
    return RawModule(start, end, offset, (major, minor), inode, os.fsdecode(path.partition(b"\0")[0]))


def _op(entry: tuple[Any, ...]) -> int:
    return int(entry[3]) & 0xFF  # as trace_pack() packed it


def _site(entry: tuple[Any, ...], modules: dict[int, RawModule]) -> RawSite:
    _, module, address, low_half, high_half, executed, faults, work = entry[:8]
    low, high = entry[8:11], entry[11:14]
    has_shape = low[0] <= high[0]
    return RawSite(
        address=address,
        instruction=_unpack(low_half, high_half),
        module=modules.get(module - 1),
        executed=executed,
        faults=faults,
        work=work,
        low=low if has_shape else (),
        high=high if has_shape else (),
    )


def _unpack(low: int, high: int) -> Instruction:
    """What trace_pack() packed."""
    op, length, d, a, b = (low >> shift & 0xFF for shift in (0, 8, 16, 24, 32))
    return Instruction(
        mnemonic=_mnemonics()[op],
        length=length,
        d=d,
        a=a,
        b=b,
        base=_signed(low >> 40, 8),
        index=_signed(low >> 48, 8),
        segment=_signed(low >> 56, 8),
        displacement=_signed(high, 32),
        scale=high >> 32 & 0xFF,
        row_register=_signed(high >> 40, 8),
        row=high >> 48 & 0xFF,
        has_memory=bool(high >> 56 & 1),
        address32=bool(high >> 57 & 1),
        apx=bool(high >> 58 & 1),
    )


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _text(field: bytes) -> str:
    return _decoded(field.partition(b"\0")[0])


def _decoded(word: bytes) -> str:
    return word.decode(errors="backslashreplace")


def _unreadable(path: Path, cause: str) -> TraceError:
    return TraceError(f"{printable(str(path))} is no trace that can be read", cause=cause)
