"""Names of generated code, as its generator may have written them to /tmp/perf-PID.map.

The format is tools/perf/Documentation/jit-interface.txt's. As by perf, only a file of this user or of root
is believed: anybody can make one of that name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from amx import foreign_file
from amx.emulation.room import Room

__all__ = ["names"]

BYTES = 16 * 2**20  # of a file
LINE_BYTES = 64  # that could be read in the time that a line takes, however short it is
CHUNK_BYTES = 2**16  # that are made lines of at a time
SHORTEST = len("1 1 ")
NAME_BYTES = 4096  # of a name; what is longer is cut
DIGITS = 18  # of an address
TICK_NS = 10_000_000  # the times of files may lag behind the clock by one tick, 10 ms at the most


def names(pid: int, started: int, addresses: Iterable[int], room: Room) -> dict[int, tuple[int, str]]:
    """For each address that is in a function its begin and name; `started` in nanoseconds since 1970.

    None of a file from before the process. The last writer of an address owns it. What there is no room for
    is not read.
    """
    try:
        with foreign_file.opened(f"/tmp/perf-{pid}.map", owned=True, links=False, most=BYTES) as file:
            if file.status.st_mtime_ns + TICK_NS <= started:
                return {}
            content = file.read(0, BYTES) if room.take(file.status.st_size) else b""
    except OSError:
        return {}
    return _find(content, sorted(set(addresses)), room)


def _find(content: bytes, wanted: list[int], room: Room) -> dict[int, tuple[int, str]]:
    """From the last line on, so that each address is named once, however many lines have it."""
    found: dict[int, tuple[int, str]] = {}
    following = list(range(len(wanted) + 1))  # the first from there on that has no name yet
    for line in _lines(content, room):
        if len(found) == len(wanted):
            break
        start, size, name = _parse(line)
        i = _first(following, bisect_left(wanted, start))
        while i < len(wanted) and wanted[i] < start + size:
            found[wanted[i]] = start, name
            following[i] = i + 1
            i = _first(following, i)
    return found


def _lines(content: bytes, room: Room) -> Iterator[bytes]:
    """From the last one on; without those that are too short to name anything."""
    end = len(content)
    while end > 0:
        begin = content.rfind(b"\n", 0, max(0, end - CHUNK_BYTES)) + 1
        lines = content[begin:end].split(b"\n")
        affordable = min(len(lines), room.left // LINE_BYTES)
        room.take(affordable * LINE_BYTES)
        yield from (line for line in reversed(lines[len(lines) - affordable :]) if len(line) >= SHORTEST)
        if affordable < len(lines):
            return
        end = begin - 1


def _first(following: list[int], i: int) -> int:
    while following[i] != i:
        following[i] = following[following[i]]
        i = following[i]
    return i


def _parse(line: bytes) -> tuple[int, int, str]:
    """Of "START SIZE name", numbers hexadecimal; of another line no bytes."""
    fields = line.split(b" ", 2)
    if len(fields) == 3 and max(len(fields[0]), len(fields[1])) <= DIGITS:
        try:
            start, size = int(fields[0], 16), int(fields[1], 16)
            if start >= 0:
                return start, size, fields[2][:NAME_BYTES].decode(errors="replace")
        except ValueError:
            pass
    return 0, 0, ""
