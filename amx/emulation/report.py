"""What the processes of an emulated program reported at their ends."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from amx.emulation.counts import Counts

__all__ = ["SCHEMA", "Process", "as_json", "read", "table"]

SCHEMA = 1
COUNTS = tuple(field.name for field in dataclasses.fields(Counts))


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its program, and what was counted from its exec to its end."""

    pid: int
    program: str
    counts: Counts


def read(path: str) -> tuple[Process, ...]:
    """The processes in a report file, in the order of their ends; none where there is no file.

    A process that was killed is missing: nothing of it ran after that.
    """
    if not os.path.exists(path):
        return ()
    with open(path, encoding="utf-8", errors="replace") as file:
        return tuple(_process(json.loads(line)) for line in file if line.strip())


def _process(said: dict[str, object]) -> Process:
    counts = Counts(**{name: int(str(said.get(name, 0))) for name in COUNTS})
    return Process(int(str(said["pid"])), str(said.get("program", "")), counts)


def total(processes: Iterable[Process]) -> Counts:
    """The sums over all processes."""
    every = [dataclasses.astuple(process.counts) for process in processes]
    return Counts(*map(sum, zip(*every, strict=True)))


def as_json(processes: Iterable[Process], *, cpu: str, status: int) -> dict[str, object]:
    """The report as docs/json.md describes it; `status` is the program's exit status."""
    processes = tuple(processes)
    return {
        "schema": SCHEMA,
        "cpu": cpu,
        "exit_status": status,
        "total": dataclasses.asdict(total(processes)),
        "processes": [
            {"pid": process.pid, "program": process.program, **dataclasses.asdict(process.counts)}
            for process in processes
        ],
    }


def table(processes: Iterable[Process]) -> str:
    """The report for people: a line for each process, and the sums."""
    processes = tuple(processes)
    if not processes:
        return "amx emulate: no process reported; those that are killed do not."
    rows = [("pid", *COUNTS, "program")]
    rows += [_row(str(process.pid), process.counts, process.program) for process in processes]
    if len(processes) > 1:
        rows.append(_row("total", total(processes), f"{len(processes)} processes"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(name: str, counts: Counts, program: str) -> tuple[str, ...]:
    return (name, *map(str, dataclasses.astuple(counts)), program)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = [text.rjust(width) for text, width in zip(row[:-1], widths, strict=False)]
    return "  ".join((*numbers, row[-1]))
