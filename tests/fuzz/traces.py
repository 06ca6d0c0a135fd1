"""`Trace.load` and `trace.read`: what is taken can be shown, written and read again; the rest is refused."""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from amx import foreign_json
from amx.emulation import trace, trace_file
from amx.errors import TraceError
from fuzz import changing
from fuzz.engine import Fuzzer


def load(data: bytes) -> None:
    """A trace as JSON."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "trace.json")
        path.write_bytes(data)
        try:
            found = trace.Trace.load(path)
        except TraceError:
            return
        _use(found)
        again = Path(directory, "again.json")
        found.write(again)
        assert trace.Trace.load(again) == found, "it is another when it was written and read"


def read(data: bytes) -> None:
    """What the emulation writes, as the file of one process beside one that is whole."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "1.trace").write_bytes(data)
        found = trace.read(directory)
        assert len(found.processes) + len(found.unreadable) == 1
        _use(found)


def _use(found: trace.Trace) -> None:
    """All that is asked of a trace."""
    for text in (str(found), *found.verdicts, *map(str, found.configurations), *map(str, found.sites)):
        text.encode()
    assert found.complete in (True, False)
    json.loads(found.to_json())


def change_json(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A trace with other values."""
    texts = [data for data in corpus if data.startswith(b"{")]
    return changing.as_text(chance, changing.spoil_tree(chance, json.loads(chance.choice(texts))))


def change_file(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A file of a process with other numbers, most of them where there are some."""
    files = [data for data in corpus if not data.startswith(b"{")]
    data = chance.choice(files)
    if chance.random() < 0.3:
        return changing.spoil(chance, data, files, 8)
    changed = bytearray(data)
    header = trace_file.HEADER
    tables: list[Any] = list(header.unpack_from(data)[6:22])
    for _ in range(chance.choice((1, 1, 2, 4))):
        start, size = chance.choice([(12, 100), *_entries(tables)])
        changing.set_field(chance, changed, min(start + chance.randrange(size), len(changed) - 8))
    return bytes(changed)


def _entries(tables: list[Any]) -> list[tuple[int, int]]:
    """The first entries of each table: where, and how many bytes."""
    return [
        (tables[at] + number * tables[at + 2], tables[at + 2])
        for at in (0, 4, 8, 12)
        for number in range(min(tables[at + 1], 6))
    ]


def _plant_unchecked() -> None:
    """Numbers are believed to be some."""
    foreign_json.Json.number = lambda self, name, within=None: self._content[name]


def _plant_short() -> None:
    """A header is believed that says more than the file has."""
    trace_file._Table.end = property(lambda self: 0)


JSON = Fuzzer("traces-json", load, change_json, planted={"unchecked": _plant_unchecked})
FILES = Fuzzer("traces-files", read, change_file, planted={"believed": _plant_short})
