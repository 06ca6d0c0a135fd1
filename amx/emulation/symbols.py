"""Where in a program an address was: file, function, line; after the process has gone.

Nothing is claimed of a file that is no longer what ran: its bytes at the place must be the instruction that
was executed there.
"""

from __future__ import annotations

import enum
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from amx import lifetime
from amx.emulation import elf
from amx.emulation.disassembly import Instruction, decode
from amx.emulation.trace_file import RawModule, RawProcess, RawSite

__all__ = ["Code", "Location", "Symbols"]

TOOL_SECONDS = 60
TICK_NS = 10_000_000  # the times of files may lag behind the clock by one tick, 10 ms at the most


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
        return " ".join(word for word in (where, f"({file})", self.line) if word)

    def _memory(self) -> str:
        if self.code is Code.UNKNOWN:
            return "unknown code"
        return f"generated code{' in ' + self.module if self.module else ''}"


class Symbols:
    """Looks sites up; remembers the files it has read."""

    def __init__(self) -> None:
        self._files: dict[str, elf.ElfFile | None] = {}  # by what Location.module has
        self._paths: dict[str, str] = {}  # of these
        self._maps: dict[tuple[int, int], list[tuple[int, int, str]]] = {}

    def locate(self, process: RawProcess, sites: Iterable[RawSite]) -> list[Location]:
        """The place of each of these sites of a process."""
        places = [(site, self._locate(process, site)) for site in sites]
        lines = self._lines(location for _, location in places)
        located = [replace(location, line=lines.get(location, "")) for _, location in places]
        return _demangled(located)

    def _locate(self, process: RawProcess, site: RawSite) -> Location:
        module = site.module
        if module is None:
            return self._generated(process, site, Location(Code.UNKNOWN))
        path = self._printable(_path_of(module))
        if not path.startswith("/"):
            return self._generated(process, site, Location(Code.GENERATED, path))
        file = self._file(path)
        if file is None:
            return self._generated(process, site, Location(Code.GENERATED, path))
        offset = site.address - module.start + module.offset
        if not _stands_at(file, offset, site.instruction):
            return Location(Code.FILE, path, offset)
        location = Location(Code.FILE, path, offset, build_id=file.build_id)
        address = file.address_of(offset)
        symbol = None if address is None else file.symbol_at(address)
        if symbol is None or address is None:
            return location
        return replace(location, symbol=symbol.name, symbol_offset=address - symbol.address)

    def _file(self, path: str) -> elf.ElfFile | None:
        if path not in self._files:
            self._files[path] = elf.read(Path(self._paths[path]))
        return self._files[path]

    def _printable(self, path: str) -> str:
        """Bytes that are no UTF-8 can be in paths, and not in texts."""
        text = os.fsencode(path).decode(errors="backslashreplace")
        self._paths[text] = path
        return text

    def _generated(self, process: RawProcess, site: RawSite, location: Location) -> Location:
        """Code generators can write /tmp/perf-PID.map (tools/perf/Documentation/jit-interface.txt)."""
        key = process.pid, process.started
        if key not in self._maps:
            self._maps[key] = _read_perf_map(process)
        for start, size, name in reversed(self._maps[key]):  # the last writer of an address owns it
            if start <= site.address < start + size:
                return replace(location, symbol=name, symbol_offset=site.address - start)
        return location

    def _lines(self, locations: Iterable[Location]) -> dict[Location, str]:
        """By addr2line, where it is installed and the file has lines."""
        tool = shutil.which("addr2line")
        wanted: defaultdict[str, dict[int, Location]] = defaultdict(dict)
        for location in locations:
            file = self._files.get(location.module)
            if tool and file and file.has_lines and location.build_id + location.symbol:
                address = file.address_of(location.offset or 0)
                if address is not None:
                    wanted[location.module][address] = location
        found: dict[Location, str] = {}
        for path, places in wanted.items():
            answer = _run([str(tool), "-e", self._paths[path], *map(hex, places)])
            for location, line in zip(places.values(), answer, strict=False):
                text = re.sub(r" \(discriminator \d+\)$", "", line)
                if not text.startswith("?") and not text.endswith((":?", ":0")):
                    found[location] = text
        return found


def _path_of(module: RawModule) -> str:
    """Maps escape a newline; what was deleted may be there again, and is compared."""
    return module.path.removesuffix(" (deleted)").replace("\\012", "\n")


def _stands_at(file: elf.ElfFile, offset: int, instruction: Instruction) -> bool:
    return decode(file.bytes_at(offset, instruction.length)) == instruction


def _read_perf_map(process: RawProcess) -> list[tuple[int, int, str]]:
    """Lines "START SIZE name", numbers hexadecimal; none where the process wrote no such file."""
    path = Path(f"/tmp/perf-{process.pid}.map")
    result: list[tuple[int, int, str]] = []
    try:
        if path.stat().st_mtime_ns + TICK_NS <= process.started:
            return result
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                start, size, name = line.rstrip("\n").split(" ", 2)
                result.append((int(start, 16), int(size, 16), name))
    except (OSError, ValueError):
        pass
    return result


def _demangled(locations: list[Location]) -> list[Location]:
    """C++ names as they are written, where c++filt is installed."""
    names = sorted({location.symbol for location in locations if location.symbol.startswith("_Z")})
    tool = shutil.which("c++filt")
    if not names or not tool:
        return locations
    known = dict(zip(names, _run([tool], "\n".join(names)), strict=False))
    return [replace(each, symbol=known.get(each.symbol, each.symbol)) for each in locations]


def _run(command: list[str], text: str = "") -> list[str]:
    """The lines it prints; none where it fails."""
    try:
        done = lifetime.run(command, input=text, capture_output=True, check=True, timeout=TOOL_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()
