"""What of an ELF file is needed to say which function an address is in: segments, symbols, build id.

Only 64-bit little-endian files. What a file says of itself is not believed: sizes and numbers are bounded as
below, and what is beyond is as if it were not there. What is read of tables, of this file and of others, is
taken from a `Room`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amx import foreign_file
from amx.emulation.elf_headers import (
    ELFCLASS64,
    ELFDATA2LSB,
    ELFMAG,
    HEADER,
    MOST_SEGMENTS,
    PROGRAM_HEADER,
    PT_LOAD,
    PT_NOTE,
    SECTION_HEADER,
)
from amx.emulation.room import Room
from amx.foreign_file import ForeignFile

__all__ = ["SYMBOL_BYTES", "ElfFile", "Symbol", "read"]

IDENT = bytes((*ELFMAG, ELFCLASS64, ELFDATA2LSB))
NOTE = struct.Struct("<3I")
SYMBOL = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("index", "<u2"), ("value", "<u8"),
                   ("size", "<u8")])  # fmt: skip
SHT_SYMTAB, SHT_DYNSYM = 2, 11
STT_FUNC, STT_GNU_IFUNC = 2, 10
NT_GNU_BUILD_ID = 3

OPENING = 16 * 2**10  # bytes that could be read in the time that a file takes to be opened, whatever it is
MOST_SECTIONS = 1024
SYMBOL_BYTES = 64 * 2**20  # of all tables of symbols of a file
SECTION_NAME_BYTES = 64 * 2**10  # of all of a file
NAME_BYTES = 4096  # of a name; what is longer is cut
NOTE_BYTES = 64 * 2**10  # of all notes of a file
BUILD_ID_BYTES = 64
ADDRESSES = 2**64


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function; `size` is 0 where the file does not say."""

    address: int
    size: int
    name: str


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    kind: int
    offset: int
    size: int
    link: int


class ElfFile:
    """An ELF file. Addresses are the file's own: as if it were loaded at 0."""

    def __init__(self, content: ForeignFile, room: Room) -> None:
        """room: for what is read of its tables."""
        self._content = content
        self._room = room
        header = HEADER.unpack(content.read(0, HEADER.size))
        program_at, section_at = header[5], header[6]
        program_bytes, programs, section_bytes, sections, names = header[9:14]
        self._segments = [
            _Segment(kind, offset, address, file_bytes)
            for kind, _, offset, address, _, file_bytes, _, _ in self._table(
                PROGRAM_HEADER, program_at, min(programs, MOST_SEGMENTS), program_bytes
            )
        ]
        self._sections = [
            _Section(name, kind, offset, size, link)
            for name, kind, _, _, offset, size, link, _, _, _ in self._table(
                SECTION_HEADER, section_at, min(sections, MOST_SECTIONS), section_bytes
            )
        ]
        self._names = names
        self._symbols, self._strings_at = self._read_symbols()

    def close(self) -> None:
        """The file; what was asked before is still known."""
        self._content.close()

    @functools.cached_property
    def build_id(self) -> str:
        """Hexadecimal, empty where there is none."""
        room = NOTE_BYTES
        for segment in self._segments:
            if segment.kind == PT_NOTE and room > 0:
                size = min(segment.file_bytes, room)
                room -= size
                if not self._room.take(size):
                    break
                found = _build_id_in(self._content.read(segment.offset, size + BUILD_ID_BYTES), size)
                if found:
                    return found
        return ""

    @functools.cached_property
    def has_lines(self) -> bool:
        """Whether it has the line numbers of its sources."""
        if self._names >= len(self._sections):
            return False
        table = self._sections[self._names]
        size = min(table.size, SECTION_NAME_BYTES)
        names = self._content.read(table.offset, size) if self._room.take(size) else b""
        return any(names.startswith(b".debug_line\0", section.name) for section in self._sections)

    def address_of(self, offset: int) -> int | None:
        """The address of a byte of the file; None where it is not loaded."""
        if not self._room.take(len(self._segments)):
            return None
        for segment in self._segments:
            if segment.kind == PT_LOAD and segment.offset <= offset < segment.offset + segment.file_bytes:
                address = segment.address + offset - segment.offset
                return address if address < ADDRESSES else None
        return None

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file."""
        return self._content.read(offset, size)

    def symbol_at(self, address: int) -> Symbol | None:
        """The function that an address is in; one of unknown size ends where the next one begins."""
        i = int(np.searchsorted(self._symbols["value"], np.uint64(address), side="right")) - 1
        if i < 0:
            return None
        # Of several names of one function the first: that of .symtab before that of .dynsym.
        i = int(np.searchsorted(self._symbols["value"], self._symbols["value"][i], side="left"))
        start, size = int(self._symbols["value"][i]), int(self._symbols["size"][i])
        if size != 0 and address >= start + size:
            return None
        return Symbol(start, size, self._string(int(self._strings_at[i]) + int(self._symbols["name"][i])))

    def _table(
        self, form: struct.Struct, at: int, entries: int, entry_bytes: int
    ) -> Iterator[tuple[int, ...]]:
        if entries == 0:
            return iter(())
        if entry_bytes != form.size:
            raise ValueError(f"entries of {entry_bytes} bytes")
        if not self._room.take(entries * entry_bytes):
            raise ValueError("no room")
        content = self._content.read(at, entries * entry_bytes)
        if len(content) < entries * entry_bytes:
            raise ValueError("the file ends before")
        return form.iter_unpack(content)

    def _read_symbols(self) -> tuple[np.ndarray, np.ndarray]:
        """Functions in the order of addresses, and for each where its table of strings begins."""
        own = Room(SYMBOL_BYTES)
        tables = [np.empty(0, SYMBOL)]
        strings = [np.empty(0, np.uint64)]
        for wanted in (SHT_SYMTAB, SHT_DYNSYM):
            for section in self._sections:
                size = section.size // SYMBOL.itemsize * SYMBOL.itemsize
                if section.kind != wanted or section.link >= len(self._sections):
                    continue
                if size > self._room.left or not own.take(size):
                    continue
                self._room.take(size)
                content = self._content.read(section.offset, size)
                if len(content) < size:
                    continue
                table = np.frombuffer(content, SYMBOL)
                kind = table["info"] & 15
                table = table[((kind == STT_FUNC) | (kind == STT_GNU_IFUNC)) & (table["index"] != 0)]
                tables.append(table)
                strings.append(np.full(len(table), self._sections[section.link].offset, np.uint64))
        symbols, strings_at = np.concatenate(tables), np.concatenate(strings)
        order = np.argsort(symbols["value"], kind="stable")
        return symbols[order], strings_at[order]

    def _string(self, at: int) -> str:
        """Empty where none is: beyond the file, or without an end."""
        name, end, _ = self._content.read(at, NAME_BYTES + 1).partition(b"\0")
        return name[:NAME_BYTES].decode(errors="replace") if end or len(name) > NAME_BYTES else ""


def read(path: Path, room: Room) -> ElfFile | None:
    """The file, to be closed; None where it cannot be read, is no such ELF file, or there is no room."""
    if not room.take(OPENING):
        return None
    try:
        content = foreign_file.opened(path)
    except OSError:
        return None
    try:
        if content.read(0, len(IDENT)) == IDENT:
            return ElfFile(content, room)
    except (OSError, struct.error, IndexError, ValueError):
        pass
    content.close()
    return None


def _build_id_in(notes: bytes, size: int) -> str:
    """In so many bytes of notes; the last one may end behind them."""
    at, end = 0, min(size, len(notes))
    while at + NOTE.size <= end:
        name_bytes, id_bytes, kind = NOTE.unpack_from(notes, at)
        name_at = at + NOTE.size
        at = name_at + _aligned(name_bytes)
        if (
            kind == NT_GNU_BUILD_ID
            and notes[name_at : name_at + 4] == b"GNU\0"
            and id_bytes <= BUILD_ID_BYTES
        ):
            return notes[at : at + id_bytes].hex()
        at += _aligned(id_bytes)
    return ""


def _aligned(size: int) -> int:
    return (size + 3) & ~3
