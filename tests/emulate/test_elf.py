"""What amx.emulation.elf says of damaged ELF files: nothing, or something, and no other exception."""

import os
import random
import struct

import pytest
from elf_writing import (
    HEADER_BYTES,
    PROGRAM_BYTES,
    PT_NOTE,
    SECTION_BYTES,
    SHT_STRTAB,
    SHT_SYMTAB,
    SYMBOL_BYTES,
    R,
    function,
    header,
    section,
    segment,
)

from amx import foreign_file
from amx.emulation import elf
from amx.emulation.room import Room

BUILD_ID = bytes(range(20))
NAMES = b"\0.strtab\0function\0"
FAR = 2**64 - 1


def content(*, note_bytes=36, symbol_name=9, names_at=None, symbols_at=None, sections_at=None):
    """A file with a note, a function of 16 bytes at 0x1010 and its name; some of it elsewhere."""
    at = HEADER_BYTES + 2 * PROGRAM_BYTES
    note = struct.pack("<3I4s", 4, len(BUILD_ID), 3, b"GNU\0") + BUILD_ID
    symbol = function(symbol_name, 0x1010, 16)
    body = note + symbol + NAMES
    symbol_at, string_at = at + len(note), at + len(note) + len(symbol)
    section_at = at + len(body) if sections_at is None else sections_at
    return b"".join(
        (
            header(2, sections=(section_at, 2, 0)),
            segment(address=0x1000),
            segment(PT_NOTE, R, at, size=note_bytes),
            body,
            section(SHT_STRTAB, string_at if names_at is None else names_at, len(NAMES), name=1),
            section(SHT_SYMTAB, symbol_at if symbols_at is None else symbols_at, len(symbol), name=1),
        )
    )


def ask(path):
    """Everything that is asked of a file."""
    file = elf.read(path, Room(2**30))
    if file is None:
        return None
    try:
        return (
            file.build_id,
            file.has_lines,
            file.address_of(0x10),
            file.symbol_at(0x1018),
            file.symbol_at(FAR),
        )
    finally:
        file.close()


def test_a_file_that_is_whole(tmp_path):
    (tmp_path / "file").write_bytes(content())
    function = elf.Symbol(0x1010, 16, "function")
    assert ask(tmp_path / "file") == (BUILD_ID.hex(), False, 0x1010, function, None)


@pytest.mark.parametrize("note_bytes", [35, 2**20, FAR])
def test_notes_that_end_elsewhere(tmp_path, note_bytes):
    (tmp_path / "file").write_bytes(content(note_bytes=note_bytes))
    assert ask(tmp_path / "file")[0] == BUILD_ID.hex()


def test_notes_beyond_the_file(tmp_path):
    damaged = bytearray(content(note_bytes=2**20))
    damaged[damaged.index(b"GNU\0")] = ord("X")
    (tmp_path / "file").write_bytes(damaged)
    assert ask(tmp_path / "file")[0] == ""


@pytest.mark.parametrize("names_at", [2**20, 2**63, FAR])
def test_names_beyond_the_file(tmp_path, names_at):
    (tmp_path / "file").write_bytes(content(names_at=names_at))
    assert ask(tmp_path / "file")[3] == elf.Symbol(0x1010, 16, "")


@pytest.mark.parametrize("at", [2**20, 2**63, FAR])
def test_sections_beyond_the_file(tmp_path, at):
    (tmp_path / "file").write_bytes(content(sections_at=at))
    assert ask(tmp_path / "file") is None


@pytest.mark.parametrize("at", [len(content()) - SYMBOL_BYTES + 1, 2**20, 2**63, FAR])
def test_a_table_of_symbols_that_ends_beyond_the_file_is_none(tmp_path, at):
    """What else the file says is known."""
    (tmp_path / "file").write_bytes(content(symbols_at=at))
    assert ask(tmp_path / "file") == (BUILD_ID.hex(), False, 0x1010, None, None)


@pytest.mark.parametrize(("before", "found"), [(elf.MOST_SECTIONS - 2, True), (elf.MOST_SECTIONS - 1, False)])
def test_so_many_sections_of_a_file_are_looked_at(tmp_path, before, found):
    """The table of symbols comes behind the others."""
    whole = bytearray(content())
    sections = before + 2
    at = len(whole) - 2 * SECTION_BYTES
    strings = whole[at : at + SECTION_BYTES]
    whole[60:62] = struct.pack("<H", sections)
    (tmp_path / "file").write_bytes(whole[:at] + strings * (before + 1) + whole[at + SECTION_BYTES :])
    function = elf.Symbol(0x1010, 16, "function")
    assert ask(tmp_path / "file")[3] == (function if found else None)


def test_a_name_without_end(tmp_path):
    """It is not taken to be the rest of the file."""
    whole = content()
    (tmp_path / "file").write_bytes(content(names_at=len(whole)) + b"x" * 32)
    assert ask(tmp_path / "file")[3] == elf.Symbol(0x1010, 16, "")


@pytest.fixture
def bytes_read(monkeypatch):
    """How many bytes each reading gave."""
    counts = []
    read = foreign_file.ForeignFile.read

    def counted(self, offset, size):
        content = read(self, offset, size)
        counts.append(len(content))
        return content

    monkeypatch.setattr(foreign_file.ForeignFile, "read", counted)
    return counts


def sparse(path, content):
    path.write_bytes(content)
    os.truncate(path, 2**33)
    return path


def test_notes_without_end_are_read_up_to_a_limit(tmp_path, bytes_read):
    """Each of no bytes, so that there are very many."""
    damaged = bytearray(content(note_bytes=2**33))
    damaged[damaged.index(b"GNU\0") - 12 :] = bytes(len(damaged) - damaged.index(b"GNU\0") + 12)
    assert ask(sparse(tmp_path / "file", damaged))[0] == ""
    assert sum(bytes_read) < 2 * elf.NOTE_BYTES


def test_a_name_without_end_is_read_up_to_a_limit(tmp_path, bytes_read):
    whole = content(names_at=2**20)
    (tmp_path / "file").write_bytes(whole)
    with (tmp_path / "file").open("r+b") as file:
        file.seek(2**20 + 9)
        file.write(b"x" * 2**20)
    assert ask(tmp_path / "file")[3] == elf.Symbol(0x1010, 16, "x" * elf.NAME_BYTES)
    assert sum(bytes_read) < 2**16


def test_very_many_symbol_tables_are_read_up_to_a_limit(tmp_path, bytes_read, monkeypatch):
    """65,535, all of the same mebibyte."""
    whole = content()
    at = len(whole) - 2 * SECTION_BYTES
    table = bytearray(whole[at + SECTION_BYTES :])
    table[32:40] = struct.pack("<Q", 2**20)  # its size
    header = bytearray(whole[:HEADER_BYTES])
    header[60:62] = struct.pack("<H", 0xFFFF)
    (tmp_path / "file").write_bytes(header + whole[HEADER_BYTES:at] + bytes(table) * 0xFFFF)
    monkeypatch.setattr(elf, "SYMBOL_BYTES", 2**22)
    file = elf.read(tmp_path / "file", Room(2**30))
    assert sum(bytes_read) < 2**22 + elf.MOST_SECTIONS * SECTION_BYTES + 2**12
    file.close()


def test_an_address_beyond_all_is_none(tmp_path):
    """p_vaddr of the greatest number there is."""
    damaged = bytearray(content())
    damaged[HEADER_BYTES + 16 : HEADER_BYTES + 24] = struct.pack("<Q", FAR)
    (tmp_path / "file").write_bytes(damaged)
    file = elf.read(tmp_path / "file", Room(2**30))
    assert (file.address_of(0), file.address_of(1)) == (FAR, None)
    file.close()


@pytest.mark.parametrize("at", [54, 58])  # e_phentsize, e_shentsize
@pytest.mark.parametrize("size", [0, 1, 55, 65, 65535])
def test_entries_of_another_size_are_no_table(tmp_path, at, size):
    damaged = bytearray(content())
    damaged[at : at + 2] = struct.pack("<H", size)
    (tmp_path / "file").write_bytes(damaged)
    assert ask(tmp_path / "file") is None


def test_a_file_that_is_cut_short_meanwhile_says_nothing(tmp_path):
    (tmp_path / "file").write_bytes(content())
    file = elf.read(tmp_path / "file", Room(2**30))
    os.truncate(tmp_path / "file", 10)
    assert (file.build_id, file.has_lines, file.bytes_at(0x10, 4)) == ("", False, b"")
    assert file.symbol_at(0x1018) == elf.Symbol(0x1010, 16, "")
    file.close()


def test_random_damage(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    extremes = bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\x7f", bytes(7) + b"\x80"
    for _ in range(500):
        damaged = bytearray(content())
        for _ in range(generator.choice((1, 2, 4))):
            at = generator.randrange(4, len(damaged) - 8)
            width = generator.choice((1, 2, 4, 8))
            damaged[at : at + width] = generator.choice((*extremes, generator.randbytes(8)))[:width]
        (tmp_path / "file").write_bytes(damaged[: generator.choice((len(damaged), len(damaged) // 2))])
        ask(tmp_path / "file")
