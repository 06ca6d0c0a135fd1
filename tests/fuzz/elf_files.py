"""ELF files: the scan of their code by the tables for unwinding, what exec asks of them, their symbols."""

import contextlib
import ctypes
import os
import random
import re
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import compiling
import scanning
from elf_writing import HEADER_BYTES, PROGRAM_BYTES, SECTION_BYTES

from amx.emulation import elf, elf_headers, program
from amx.emulation.disassembly import decode
from amx.emulation.room import Room
from amx.emulation.symbols import Symbols
from amx.emulation.trace_file import RawModule, RawProcess, RawSite
from amx.errors import AmxError
from amx.foreign_file import ForeignFile
from fuzz import changing
from fuzz.engine import Fuzzer

KINDS = 7  # all of enum code_kind
LDTILECFG = bytes.fromhex("c4e2784900")  # as it stands in the programs of the corpus
MOST_SITES = 3
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
ADDRESSES = (0, 1, 0x1000, 0x1010, 0x401000, 2**63, 2**64 - 1)
BEYOND = """
#include "trap/code/insn_length.h"
unsigned __real_insn_length(const uint8_t *code, size_t size);
unsigned __wrap_insn_length(const uint8_t *code, size_t size) {
    return ((const volatile uint8_t *)code)[size] ? __real_insn_length(code, size) : 1;
}
"""
_library: ctypes.CDLL | None = None


def prepare() -> None:
    """Compile the scan, with what AMX_FUZZ_FLAGS says."""
    global _library
    _library = _compiled() if _library is None else _library


def _compiled(*more: str) -> ctypes.CDLL:
    sanitizers = os.environ.get("AMX_FUZZ_FLAGS", "").split()
    with tempfile.TemporaryDirectory() as directory, compiling.objects_of_this_run():
        return scanning.load(scanning.build(Path(directory, "scan.so"), *sanitizers, more=more))


@contextlib.contextmanager
def _file(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program")
        path.write_bytes(data)
        path.chmod(0o755)
        yield path


def code(data: bytes) -> None:
    """As a program that is to be run."""
    with _file(data) as path:
        _scan(path)
        _exec(path)


def symbols(data: bytes) -> None:
    """As a file that a trace names."""
    with _file(data) as path:
        _symbols(path)
        _locate(path, data)


def _scan(path: Path) -> None:
    assert _library is not None
    answer = scanning.scan(_library, path, KINDS)
    if isinstance(answer, int):
        return
    sites = [(address, length) for _, address, length in answer[0]]
    assert sites == sorted(set(sites)), "not in ascending order"
    assert all(3 <= length <= 15 or length == 2 for _, length in sites)


def _symbols(path: Path) -> None:
    file = elf.read(path, Room(2**30))
    if file is None:
        return
    with contextlib.closing(file):
        assert len(file.build_id) <= 2 * path.stat().st_size
        assert file.has_lines in (True, False)
        for address in ADDRESSES:
            file.address_of(address)
            file.bytes_at(address, 5)
            symbol = file.symbol_at(address)
            assert symbol is None or symbol.address <= address


def _locate(path: Path, data: bytes) -> None:
    """The places of its instructions, with the tools for lines and C++ names."""
    module = RawModule(0, len(data), 0, (0, 0), 0, str(path))
    offsets = [found.start() for found in re.finditer(re.escape(LDTILECFG), data)][:MOST_SITES]
    sites = [
        RawSite(offset, decode(data[offset : offset + len(LDTILECFG)]), module, 1, 0, 0, (), ())
        for offset in offsets
    ]
    process = RawProcess(0, 0, 0, "", (), (), (), tuple(sites), 0, 0, 0, (), 0)
    with Symbols() as together, Symbols() as alone:
        places = together.locate(process, sites)
        for site, place in zip(sites, places, strict=True):
            own = alone.locate(process, [site])[0]
            if not (place.line and own.line):  # a tool that gives up at one site gives up all that were asked
                place, own = replace(place, line=""), replace(own, line="")
            assert place == own, "one site has another's place"
    for place in places:
        text = str(place)
        text.encode()
        assert not CONTROL.search(text), "a terminal would obey it"


def _exec(path: Path) -> None:
    """Whether it could be run; an answer or an error of ours."""
    with contextlib.suppress(AmxError):
        program.require_preloadable(program.find(str(path)))


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A file whose headers, or whatever else, say something else; or a script."""
    data = chance.choice(corpus)
    kind = chance.randrange(8)
    if kind == 0 or not data.startswith(b"\x7fELF"):
        return changing.spoil(chance, data, corpus, chance.choice((0, 2, 4)))
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 5))):
        changing.set_field(chance, changed, chance.choice(_fields(data)))
    if kind == 1:
        del changed[chance.randrange(HEADER_BYTES, len(changed)) :]
    return bytes(changed)


def fields_of_headers(data: bytes) -> list[int]:
    """Where the numbers of the headers are, each as likely as another."""
    places = [*range(16, HEADER_BYTES, 2)]
    for entry, size in _headers(data):
        places += range(entry, entry + size, 8)
    return [place for place in places if 0 <= place <= len(data) - 8]


def _fields(data: bytes) -> list[int]:
    """These, and where what they name begins."""
    places = fields_of_headers(data)
    for entry, size in _headers(data):
        at = struct.unpack_from("<Q", data, entry + (8 if size == PROGRAM_BYTES else 24))[0]
        places += range(at, at + 64, 4)
    return [place for place in places if 0 <= place <= len(data) - 8]


def _headers(data: bytes) -> list[tuple[int, int]]:
    """Where the headers of segments and sections are, and of how many bytes."""
    program_at, section_at = struct.unpack_from("<QQ", data, 32)
    programs, sections = struct.unpack_from("<H", data, 56)[0], struct.unpack_from("<H", data, 60)[0]
    return [(program_at + number * PROGRAM_BYTES, PROGRAM_BYTES) for number in range(programs)] + [
        (section_at + number * SECTION_BYTES, SECTION_BYTES) for number in range(sections)
    ]


def _plant_beyond() -> None:
    """Of an instruction one byte is read that may be behind the segment."""
    global _library
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write(BEYOND)
        source.flush()
        _library = _compiled("-Wno-missing-prototypes", "-Wl,--wrap=insn_length", source.name)


def _plant_headers() -> None:
    """The place of the program headers is believed to be one."""

    def loader(file: ForeignFile, header: bytes) -> str:
        offset = elf_headers.HEADER.unpack(header)[5]
        return str(elf_headers.PROGRAM_HEADER.unpack(file.read(offset, PROGRAM_BYTES)))

    program._loader = loader


def _plant_names() -> None:
    """A name without an end is looked for without bounds."""

    def string(self: elf.ElfFile, at: int) -> str:
        content = self._content.read(at, 2**20)
        return content[: content.index(b"\0")].decode()

    elf.ElfFile._string = string


CODE = Fuzzer(
    "elf-code",
    code,
    change,
    prepare,
    planted={"believed-headers": _plant_headers, "read-beyond": _plant_beyond},
    sanitized=frozenset({"read-beyond"}),
)
SYMBOLS = Fuzzer("elf-symbols", symbols, change, planted={"unbounded-name": _plant_names})
