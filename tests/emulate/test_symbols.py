"""Names of functions and lines, as hostile files and the tools that are asked give them."""

import os
import struct
from pathlib import Path

import elf_writing
import pytest
from elf_writing import SHT_PROGBITS, SHT_STRTAB, SHT_SYMTAB

from amx._lib import lib
from amx.emulation import elf, perf_map, symbols, tools
from amx.emulation.disassembly import decode
from amx.emulation.room import Room
from amx.emulation.symbols import Code, Location, Symbols
from amx.emulation.trace_file import RawModule, RawProcess, RawSite

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

TILEZERO = bytes.fromhex("c4e27b49c0")
BASE, BYTES = 0x1000, 16  # of the first function, and of each
FAR = 2**64 - 1


def executable(path, names):
    """An ELF file with a function of each name, which begins with TILEZERO, and with lines."""
    code_at = elf_writing.HEADER_BYTES + elf_writing.PROGRAM_BYTES
    code = b"".join(TILEZERO.ljust(BYTES, b"\x90") for _ in names)
    strings, table = b"\0", b""
    for i, name in enumerate(names):
        table += elf_writing.function(len(strings), BASE + code_at + i * BYTES, BYTES)
        strings += name + b"\0"
    kinds = b"\0.debug_line\0"
    table_at = code_at + len(code)
    strings_at = table_at + len(table)
    kinds_at = strings_at + len(strings)
    path.write_bytes(
        elf_writing.header(1, sections=(kinds_at + len(kinds), 4, 2))
        + elf_writing.segment(address=BASE, size=table_at)
        + code
        + table
        + strings
        + kinds
        + elf_writing.section(SHT_SYMTAB, table_at, len(table), link=1)
        + elf_writing.section(SHT_STRTAB, strings_at, len(strings))
        + elf_writing.section(SHT_STRTAB, kinds_at, len(kinds))
        + elf_writing.section(SHT_PROGBITS, 0, 0, name=1)
    )
    return code_at


def located(file, names, **module):
    """Where the functions are, in a process that has the file mapped."""
    code_at = executable(file, names)
    mapped = RawModule(**{"start": 0x7000, "end": 0x8000, "offset": 0, "device": (0, 0), "inode": 1,
                          "path": str(file), **module})  # fmt: skip
    sites = [site(mapped.start + code_at + i * BYTES, mapped) for i in range(len(names))]
    with Symbols() as found:
        return found.locate(process(sites), sites)


def site(address, module):
    return RawSite(address, decode(TILEZERO), module, 1, 0, 0, (), ())


def process(sites, pid=2**31 - 1):
    return RawProcess(pid, 0, 0, "", (), (), (), tuple(sites), 0, 0, 0, (), 0)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Makes a shell script the only tool there is."""

    def make(name, script):
        directory = tmp_path / "tools"
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
        monkeypatch.setattr(
            tools.shutil, "which", lambda asked: str(directory / name) if asked == name else None
        )

    return make


EACH = 'while read -r line; do echo "<$line>"; done'


def test_names_are_written_out_each_as_its_own(tmp_path, tool):
    """A newline in one of them does not give the others the answers of their neighbours."""
    tool("c++filt", EACH)
    names = [
        b"_Z3onev",
        b"_Z3b\nadv",
        b"_Z3twov",
        b"plain",
        b"_Z \x1b[m",
        b"_Z5three",
        b"_Z3r\radv",
        b"_Z\xff",
    ]
    assert [each.symbol for each in located(tmp_path / "file", names)] == [
        "<_Z3onev>", "_Z3b\nadv", "<_Z3twov>", "plain", "_Z \x1b[m", "<_Z5three>", "_Z3r\radv", "_Z\ufffd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        f"echo more; {EACH}",
        "read -r line; echo one",
        f"{EACH}; exit 1",
        "exec yes",
        "printf 'a\\n\\377\\n\\n'",
        "",
    ],
)
def test_answers_that_are_not_one_for_each_are_none(tmp_path, tool, script):
    """However many there are."""
    tool("c++filt", script)
    names = ["_Z3onev", "_Z3twov"]
    assert [each.symbol for each in located(tmp_path / "file", [b"_Z3onev", b"_Z3twov"])] == names


def test_answers_of_more_bytes_than_there_may_be_are_none(tmp_path, tool, monkeypatch):
    """Though they are one for each: names of C++ can grow exponentially."""
    tool("c++filt", EACH)
    monkeypatch.setattr(tools, "OUTPUT_BYTES", 16)
    assert tools.Tools().ask("c++filt", text="one two\n3\n", answers=2) == ["<one two>", "<3>"]
    assert tools.Tools().ask("c++filt", text="one two\nthree\n", answers=2) == []


def test_a_tool_that_takes_its_time_is_asked_no_longer(tmp_path, tool, monkeypatch):
    monkeypatch.setattr(tools, "SECONDS", 0.5)
    tool("c++filt", f"[ -e {tmp_path}/asked ] || touch {tmp_path}/asked; exec sleep 100")
    asked = tools.Tools()
    assert asked.ask("c++filt", answers=1) == []
    (tmp_path / "asked").unlink()
    assert asked.ask("c++filt", answers=1) == []
    assert not (tmp_path / "asked").exists()


def test_lines_are_each_its_own(tmp_path, tool):
    tool("addr2line", 'shift 2; for address; do echo "file.c:$((address))"; done')
    assert [each.line for each in located(tmp_path / "file", [b"one", b"two"])] == [
        f"file.c:{BASE + 64 + 56 + i * BYTES}" for i in range(2)
    ]


def test_a_newline_in_the_name_of_a_source_leaves_no_lines(tmp_path, tool):
    tool("addr2line", 'shift 2; printf "a\\nb.c:1\\n"; shift; for address; do echo "file.c:$address"; done')
    assert [each.line for each in located(tmp_path / "file", [b"one", b"two"])] == ["", ""]


def test_names_of_more_than_the_room_for_them_are_left_out(tmp_path, tool, monkeypatch):
    tool("none", "")
    monkeypatch.setattr(symbols, "NAME_BYTES", 10)
    assert [each.symbol for each in located(tmp_path / "file", [b"12345", b"67890", b"1"])] == [
        "12345",
        "67890",
        "",
    ]


@pytest.mark.parametrize(
    "module",
    [
        {"offset": FAR},
        {"start": FAR, "offset": 1},
        {"start": FAR - 0x100, "offset": FAR},
        *({"path": path} for path in ("/dev/zero", "/proc/self/mem", "/", "relative", "")),
    ],
    ids=str,
)
def test_a_place_that_cannot_be_has_no_name(tmp_path, tool, module):
    tool("none", "")
    (where,) = located(tmp_path / "file", [b"one"], **module)
    assert (where.symbol, where.build_id, where.line) == ("", "", "")


def test_a_fifo_in_the_place_of_the_program_is_not_waited_for(tmp_path, tool):
    tool("none", "")
    os.mkfifo(tmp_path / "fifo")
    (where,) = located(tmp_path / "file", [b"one"], path=str(tmp_path / "fifo"))
    assert where == Location(Code.GENERATED, str(tmp_path / "fifo"))


def test_files_are_closed_in_the_end(tmp_path, tool):
    tool("none", "")
    before = len(os.listdir("/proc/self/fd"))
    assert located(tmp_path / "file", [b"one"])[0].symbol == "one"
    assert len(os.listdir("/proc/self/fd")) == before


def test_more_files_than_are_kept_open_are_all_read(tmp_path, tool, monkeypatch):
    tool("none", "")
    monkeypatch.setattr(symbols, "OPEN_FILES", 2)
    sites = []
    for i in range(5):
        at = executable(tmp_path / str(i), [f"f{i}".encode()])
        sites.append(site(0x7000 + at, RawModule(0x7000, 0x8000, 0, (0, 0), 1, str(tmp_path / str(i)))))
    with Symbols() as found:
        assert [each.symbol for each in found.locate(process(sites), sites)] == [f"f{i}" for i in range(5)]


def test_a_file_is_not_read_for_ever_again(tmp_path, tool, monkeypatch):
    """Others that are read in between take its place among the open ones; each time counts."""
    tool("none", "")
    monkeypatch.setattr(symbols, "OPEN_FILES", 1)
    monkeypatch.setattr(symbols, "TABLE_BYTES", 5 * (elf.OPENING + TABLES + 1))  # of five files
    at = executable(tmp_path / "0", [b"f"])
    executable(tmp_path / "1", [b"f"])
    modules = [RawModule(0x7000, 0x8000, 0, (0, 0), 1, str(tmp_path / name)) for name in ("0", "1")]
    sites = [site(0x7000 + at, modules[i % 2]) for i in range(8)]
    with Symbols() as found:
        assert [each.symbol for each in found.locate(process(sites), sites)] == ["f"] * 5 + [""] * 3


TABLES = 56 + 4 * 64 + 24
"""Bytes of the tables of `executable` with one function, which has one segment."""


def not_elf(path):
    path.write_bytes(b"none")
    return elf.OPENING


def table_cut_off(path):
    """Its symbols are beyond the end of the file."""
    executable(path, [b"f"])
    with path.open("r+b") as file:
        file.seek(-4 * 64 + 24, os.SEEK_END)
        file.write(struct.pack("<Q", 2**40))
    return elf.OPENING + TABLES + 1


def whole(path):
    executable(path, [b"f"])
    return elf.OPENING + TABLES + 1


@pytest.mark.parametrize("first", [not_elf, table_cut_off, whole])
@pytest.mark.parametrize(("missing", "symbol"), [(0, "f"), (1, "")])
def test_what_is_read_of_a_file_is_missing_for_the_next(tmp_path, tool, monkeypatch, first, missing, symbol):
    """Whether it could be read or not."""
    tool("none", "")
    at = executable(tmp_path / "1", [b"f"])
    room = first(tmp_path / "0") + elf.OPENING + TABLES + 1 - missing
    monkeypatch.setattr(symbols, "TABLE_BYTES", room)
    modules = [RawModule(0x7000, 0x8000, 0, (0, 0), 1, str(tmp_path / name)) for name in ("0", "1")]
    sites = [site(0x7000 + at, module) for module in modules]
    with Symbols() as found:
        assert found.locate(process(sites), sites)[1].symbol == symbol


@pytest.mark.parametrize(("missing", "symbol"), [(0, "f"), (1, "")])
def test_what_is_read_of_a_map_is_missing_for_the_next_process(monkeypatch, tool, missing, symbol):
    """Also where both say that they have the same pid."""
    tool("none", "")
    pid = os.getpid()
    path = Path(f"/tmp/perf-{pid}.map")
    path.unlink(missing_ok=True)
    content = "1000 10 f"
    monkeypatch.setattr(symbols, "TABLE_BYTES", 2 * (len(content) + perf_map.LINE_BYTES) - missing)
    path.write_text(content)
    sites = [site(0x1000, None)]
    try:
        with Symbols() as found:
            assert found.locate(process(sites, pid), sites)[0].symbol == "f"
            assert found.locate(process(sites, pid), sites)[0].symbol == symbol
    finally:
        path.unlink()


def test_places_are_printed_as_text():
    where = Location(Code.FILE, "/a/\x1b[2Jb", 1, "", "f\nunction\x9b", 2, "x\x07.c:3")
    assert str(where) == r"f\nunction\x9b+0x2 (\x1b[2Jb) x\x07.c:3"


@pytest.fixture
def names():
    """What perf_map finds at addresses in such a content."""
    return lambda content, *wanted: perf_map._find(content, sorted(wanted), Room(2**30))


def test_the_last_writer_of_an_address_owns_it(names):
    content = b"10 10 first\n18 4 second\n1c 4 third\n"
    assert names(content, 0x10, 0x17, 0x18, 0x1B, 0x1C, 0x1F, 0x20) == {
        0x10: (0x10, "first"), 0x17: (0x10, "first"), 0x18: (0x18, "second"), 0x1B: (0x18, "second"),
        0x1C: (0x1C, "third"), 0x1F: (0x1C, "third"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [b"", b"10", b"10 10", b"x 10 f", b"10 x f", b"-20 100 f", b"10 -10 f", b"1" * 5000 + b" 10 f",
     b"0 " + b"f" * 5000 + b" f", b"\0\0\0", b"\xff \xff \xff", b"10 0 f"],
    ids=lambda line: repr(line[:20]),
)  # fmt: skip
def test_a_line_that_is_none_names_nothing_and_hides_nothing(names, line):
    content = b"10 10 kept\n" + line + b"\n"
    assert names(content, 0x10) == {0x10: (0x10, "kept")}


def test_as_many_lines_as_there_are_for_every_site(names):
    """Each address is named once: of 100,000 lines that have all of 10,000 the last alone counts."""
    content = b"".join(b"0 ffffffff f%d\n" % i for i in range(100_000))
    found = names(content, *range(10_000))
    assert set(found.values()) == {(0, "f99999")}
    assert len(found) == 10_000


def test_no_more_lines_than_there_is_room_for_are_read_of_all_files():
    """From the last on; the files before are not even opened."""
    content = b"10 10 first\n20 10 second\n30 10 third"
    room = Room(2 * perf_map.LINE_BYTES)
    assert perf_map._find(content, [0x10, 0x20, 0x30], room) == {
        0x20: (0x20, "second"),
        0x30: (0x30, "third"),
    }
    assert perf_map._find(content, [0x30], room) == {}


@pytest.mark.parametrize("chunk", range(1, 40))
def test_lines_are_whole_however_they_are_read(names, monkeypatch, chunk):
    monkeypatch.setattr(perf_map, "CHUNK_BYTES", chunk)
    content = b"10 10 first\n\n\n20 10 second\n1\n30 10 \n"
    assert names(content, 0x10, 0x20, 0x30) == {
        0x10: (0x10, "first"),
        0x20: (0x20, "second"),
        0x30: (0x30, ""),
    }


def test_a_name_of_any_length_is_cut(names):
    assert names(b"10 10 " + b"x" * 10_000, 0x10) == {0x10: (0x10, "x" * perf_map.NAME_BYTES)}
