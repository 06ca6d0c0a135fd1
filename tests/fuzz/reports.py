"""The lines that an emulated program's processes report: whatever stands there, the rest is told."""

import json
import random
import tempfile
from pathlib import Path

from amx.emulation import report, unrecorded
from fuzz import changing
from fuzz.engine import Fuzzer

GOOD = b'{"pid": 4711, "program": "last", "instructions": 5}\n'


def read(data: bytes) -> None:
    """A report to which a program has written, and the processes that could not."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "report")
        path.write_bytes(data[8:] + b"\n" + GOOD)
        Path(directory, unrecorded.NAME).write_bytes((data[:8] * 2).ljust(unrecorded.SIZE, b"\0"))
        _, missing = unrecorded.read(directory)
        processes, unreadable = report.read(str(path))
        missing = missing or unreadable
        text = report.table(processes, missing)
        said = json.loads(json.dumps(report.as_json(processes, missing, cpu="spr", status=7)))
    text.encode()
    assert "\x1b" not in text, "a terminal would obey it"
    assert said["exit_status"] == 7
    last = said["processes"][-1]
    assert (last["pid"], last["program"], last["instructions"]) == (4711, "last", 5), last


def change(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Lines with other values, or spoiled."""
    lines = chance.choice(corpus)[8:].splitlines()
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(lines))
        if chance.random() < 0.2:
            lines[at] = changing.spoil(chance, lines[at], lines)
        else:
            try:
                tree = json.loads(lines[at])
            except (ValueError, RecursionError):
                continue
            lines[at] = changing.as_text(chance, changing.spoil_tree(chance, tree)) if tree else b"[]"
    return chance.randbytes(8) + b"\n".join(lines)


def _plant_unchecked() -> None:
    """A line is taken to be what the library wrote."""
    report._parse = json.loads


FUZZER = Fuzzer("reports", read, change, planted={"unchecked": _plant_unchecked})
