"""What of an ELF file is needed to say which function an address is in: segments, symbols, build id.

Only 64-bit little-endian files. Layout: ELF-64 object file format, and elf(5).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["ElfFile", "Symbol", "read"]

IDENT = b"\x7fELF\x02\x01"  # ELFCLASS64, ELFDATA2LSB
HEADER = struct.Struct("<16s 2H I 3Q I 6H")
PROGRAM_HEADER = struct.Struct("<2I 6Q")
SECTION_HEADER = struct.Struct("<2I 4Q 2I 2Q")
NOTE = struct.Struct("<3I")
SYMBOL = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("index", "<u2"), ("value", "<u8"),
                   ("size", "<u8")])  # fmt: skip
PT_LOAD, PT_NOTE = 1, 4
SHT_SYMTAB, SHT_DYNSYM = 2, 11
STT_FUNC, STT_GNU_IFUNC = 2, 10
NT_GNU_BUILD_ID = 3


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

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self._content = content
        header = HEADER.unpack_from(content)
        program_at, section_at = header[5], header[6]
        program_bytes, programs, section_bytes, sections, names = header[9:14]
        self._segments = [
            _Segment(kind, offset, address, file_bytes)
            for kind, _, offset, address, _, file_bytes, _, _ in (
                PROGRAM_HEADER.unpack_from(content, program_at + i * program_bytes) for i in range(programs)
            )
        ]
        self._sections = [
            _Section(name, kind, offset, size, link)
            for name, kind, _, _, offset, size, link, _, _, _ in (
                SECTION_HEADER.unpack_from(content, section_at + i * section_bytes) for i in range(sections)
            )
        ]
        self._names_at = self._sections[names].offset if sections else 0
        self._symbols, self._strings_at = self._read_symbols()

    @property
    def build_id(self) -> str:
        """Hexadecimal, empty where there is none."""
        for segment in self._segments:
            if segment.kind == PT_NOTE:
                found = self._build_id_in(segment)
                if found:
                    return found
        return ""

    @property
    def has_lines(self) -> bool:
        """Whether it has the line numbers of its sources."""
        return any(self._string(self._names_at + s.name) == ".debug_line" for s in self._sections)

    def address_of(self, offset: int) -> int | None:
        """The address of a byte of the file; None where it is not loaded."""
        for segment in self._segments:
            if segment.kind == PT_LOAD and segment.offset <= offset < segment.offset + segment.file_bytes:
                return segment.address + offset - segment.offset
        return None

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file."""
        return self._content[offset : offset + size]

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

    def _read_symbols(self) -> tuple[np.ndarray, np.ndarray]:
        """Functions in the order of addresses, and for each where its table of strings begins."""
        tables = [np.empty(0, SYMBOL)]
        strings = [np.empty(0, np.int64)]
        for wanted in (SHT_SYMTAB, SHT_DYNSYM):
            for section in self._sections:
                if section.kind != wanted:
                    continue
                count = section.size // SYMBOL.itemsize
                table = np.frombuffer(self._content, SYMBOL, count, section.offset)
                kind = table["info"] & 15
                table = table[((kind == STT_FUNC) | (kind == STT_GNU_IFUNC)) & (table["index"] != 0)]
                tables.append(table)
                strings.append(np.full(len(table), self._sections[section.link].offset))
        symbols, strings_at = np.concatenate(tables), np.concatenate(strings)
        order = np.argsort(symbols["value"], kind="stable")
        return symbols[order], strings_at[order]

    def _string(self, at: int) -> str:
        """Empty where none is: beyond the file, or without an end."""
        end = self._content.find(b"\0", at) if at < len(self._content) else -1
        return self._content[at:end].decode(errors="replace") if end >= 0 else ""

    def _build_id_in(self, segment: _Segment) -> str:
        at, end = segment.offset, min(segment.offset + segment.file_bytes, len(self._content))
        while at + NOTE.size <= end:
            name_bytes, size, kind = NOTE.unpack_from(self._content, at)
            name_at = at + NOTE.size
            at = name_at + _aligned(name_bytes)
            if kind == NT_GNU_BUILD_ID and self._content[name_at : name_at + 4] == b"GNU\0":
                return self._content[at : at + size].hex()
            at += _aligned(size)
        return ""


def read(path: Path) -> ElfFile | None:
    """The file; None where it cannot be read, or is no such ELF file."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return ElfFile(content) if content[: len(IDENT)] == IDENT else None
    except (OSError, struct.error, IndexError, OverflowError, ValueError):
        return None


def _aligned(size: int) -> int:
    return (size + 3) & ~3
