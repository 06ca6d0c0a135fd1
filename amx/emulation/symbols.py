"""Where in a program an address was: file, function, line; after the process has gone.

Nothing is claimed of a file that is no longer what ran: its bytes at the place must be the instruction that
was executed there.
"""

from __future__ import annotations

import enum
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from amx.emulation import elf, perf_map
from amx.emulation.disassembly import Instruction, decode
from amx.emulation.room import Room
from amx.emulation.tools import Tools
from amx.emulation.trace_file import RawModule, RawProcess, RawSite
from amx.printable import printable

__all__ = ["Code", "Location", "Symbols"]

OPEN_FILES = 16
TABLE_BYTES = 2**30  # of the tables of all files, as often as they are read
NAME_BYTES = 128 * 2**20  # of the names and lines of all sites
OFFSETS = 2**63
MANGLED = re.compile(r"_Z[A-Za-z0-9_.$@]+")


class Code(enum.Enum):
    """What kind of memory code was in."""

    FILE = "file"
    GENERATED = "generated"  # made at run time (JIT), or decrypted, or loaded by other means
    UNKNOWN = "unknown"  # nothing was recorded about it


@dataclass(frozen=True, slots=True)
class Location:
    """Where an instruction stands.

    Attributes
    ----------
    code: in what kind of memory.
    module: path of the file; of generated code the mapping's name, which may be empty.
    offset: in the file; None in generated code.
    build_id: of the file, hexadecimal, may be empty.
    symbol: of the function, empty where it is not known.
    symbol_offset: bytes from the function's begin; 0 without one.
    line: "file:number" of the source, empty where it is not known.
    """

    code: Code
    module: str = ""
    offset: int | None = None
    build_id: str = ""
    symbol: str = ""
    symbol_offset: int = 0
    line: str = ""

    def __str__(self) -> str:
        if self.symbol:
            where = f"{self.symbol}+{self.symbol_offset:#x}"
        elif self.offset is not None:
            where = f"{self.offset:#x}"
        else:
            where = ""
        file = Path(self.module).name if self.code is Code.FILE else self._memory()
        return printable(" ".join(word for word in (where, f"({file})", self.line) if word))

    def _memory(self) -> str:
        if self.code is Code.UNKNOWN:
            return "unknown code"
        return f"generated code{' in ' + self.module if self.module else ''}"


class Symbols:
    """Looks sites up; remembers the files that it has read last. A context manager, since they are open.

    Names of more bytes than NAME_BYTES in all are left out, and tables of more than TABLE_BYTES not read.
    """

    def __init__(self) -> None:
        self._files: dict[str, elf.ElfFile | None] = {}  # by path, the last used last
        self._room = Room(TABLE_BYTES)
        self._name_bytes = NAME_BYTES
        self._tools = Tools()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            self._close_oldest()

    def locate(self, process: RawProcess, sites: Iterable[RawSite]) -> list[Location]:
        """The place of each of these sites of a process."""
        sites = list(sites)
        located = [self._locate(site) for site in sites]
        located = self._generated(process, sites, located)
        return self._demangled(self._with_lines(sites, located))

    def _locate(self, site: RawSite) -> Location:
        if site.module is None:
            return Location(Code.UNKNOWN)
        path = _path_of(site.module)
        location = Location(Code.GENERATED, _text(path))
        offset = site.address - site.module.start + site.module.offset
        file = self._file(path) if path.startswith("/") and 0 <= offset < OFFSETS else None
        try:
            return location if file is None else self._in_file(file, site, replace(location, offset=offset))
        except OSError:  # it could be read a moment ago
            return location

    def _in_file(self, file: elf.ElfFile, site: RawSite, location: Location) -> Location:
        location = replace(location, code=Code.FILE)
        offset = location.offset or 0
        if not _stands_at(file, offset, site.instruction):
            return location
        location = replace(location, build_id=file.build_id)
        address = file.address_of(offset)
        symbol = None if address is None else file.symbol_at(address)
        if symbol is None or address is None:
            return location
        return replace(location, symbol=self._kept(symbol.name), symbol_offset=address - symbol.address)

    def _file(self, path: str) -> elf.ElfFile | None:
        if path in self._files:
            self._files[path] = self._files.pop(path)
            return self._files[path]
        if len(self._files) == OPEN_FILES:
            self._close_oldest()
        self._files[path] = elf.read(Path(path), self._room)
        return self._files[path]

    def _close_oldest(self) -> None:
        file = self._files.pop(next(iter(self._files)))
        if file is not None:
            file.close()

    def _kept(self, name: str) -> str:
        """The name, where there is still room for it."""
        self._name_bytes -= len(name)
        return name if self._name_bytes >= 0 else ""

    def _generated(
        self, process: RawProcess, sites: list[RawSite], locations: list[Location]
    ) -> list[Location]:
        """With the names that code generators gave."""
        wanted = [
            site.address
            for site, location in zip(sites, locations, strict=True)
            if location.code is not Code.FILE
        ]
        found = perf_map.names(process.pid, process.started, wanted, self._room) if wanted else {}
        result = []
        for site, location in zip(sites, locations, strict=True):
            if location.code is not Code.FILE and site.address in found:
                start, name = found[site.address]
                location = replace(location, symbol=self._kept(name), symbol_offset=site.address - start)
            result.append(location)
        return result

    def _with_lines(self, sites: list[RawSite], locations: list[Location]) -> list[Location]:
        """By addr2line, where it is installed and the file has lines."""
        places = [self._place(site, location) for site, location in zip(sites, locations, strict=True)]
        asked: defaultdict[str, set[int]] = defaultdict(set)
        for path, address in filter(None, places):
            asked[path].add(address)
        found: dict[object, str] = {}
        for path, addresses in asked.items():
            answers = self._tools.ask("addr2line", "-e", path, *map(hex, addresses), answers=len(addresses))
            for address, line in zip(addresses, answers, strict=False):
                text = re.sub(r" \(discriminator \d+\)$", "", line)
                if not text.startswith("?") and not text.endswith((":?", ":0")):
                    found[path, address] = text
        return [
            replace(location, line=self._kept(found[place])) if place in found else location
            for place, location in zip(places, locations, strict=True)
        ]

    def _place(self, site: RawSite, location: Location) -> tuple[str, int] | None:
        """A file that has lines, and the address in it."""
        if site.module is None or not location.build_id + location.symbol or location.code is not Code.FILE:
            return None
        path = _path_of(site.module)
        file = self._file(path)
        try:
            address = file.address_of(location.offset or 0) if file and file.has_lines else None
        except OSError:
            return None
        return None if address is None else (path, address)

    def _demangled(self, locations: list[Location]) -> list[Location]:
        """C++ names as they are written, where c++filt is installed."""
        names = sorted({each.symbol for each in locations if MANGLED.fullmatch(each.symbol)})
        if not names:
            return locations
        answers = self._tools.ask("c++filt", text="\n".join(names) + "\n", answers=len(names))
        known = dict(zip(names, answers, strict=False))
        return [
            replace(each, symbol=self._kept(known[each.symbol])) if each.symbol in known else each
            for each in locations
        ]


def _path_of(module: RawModule) -> str:
    """Maps escape a newline; what was deleted may be there again, and is compared."""
    return module.path.removesuffix(" (deleted)").replace("\\012", "\n")


def _stands_at(file: elf.ElfFile, offset: int, instruction: Instruction) -> bool:
    return decode(file.bytes_at(offset, instruction.length)) == instruction


def _text(path: str) -> str:
    """Bytes that are no UTF-8 can be in paths, and not in texts."""
    return os.fsencode(path).decode(errors="backslashreplace")
