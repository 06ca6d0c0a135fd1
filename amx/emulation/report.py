"""What the processes of an emulated program reported at their ends."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from amx.emulation.counts import Counts
from amx.emulation.unrecorded import Unrecorded

__all__ = ["SCHEMA", "Process", "as_json", "read", "table", "total"]

SCHEMA = 1
NONE = Unrecorded()
COUNTS = tuple(field.name for field in dataclasses.fields(Counts))


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its program, and what was counted from its exec to its end.

    `pid` is None for all processes of a program together. `unplaced` and `unscanned` are what the emulated
    CPUID may have missed: instructions in functions whose bounds are unknown, files that could not be read.
    """

    pid: int | None
    program: str
    counts: Counts
    unplaced: int = 0
    unscanned: int = 0


def read(path: str) -> tuple[Process, ...]:
    """The processes in a report file, in the order of their beginnings; none where there is no file.

    Each exec begins another. Of a process that was killed, the last counts may be missing; a line that a full
    disk cut short is left out.
    """
    if not os.path.exists(path):
        return ()
    with open(path, encoding="utf-8", errors="replace") as file:
        said = map(_parse, file)
        return tuple(_process(process) for process in said if process is not None)


def _parse(line: str) -> dict[str, object] | None:
    try:
        said = json.loads(line[max(line.rfind('{"pid"'), 0) :])  # behind what was cut short
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _process(said: dict[str, object]) -> Process:
    counts = Counts(**{name: int(str(said.get(name, 0))) for name in COUNTS})
    pid, unplaced, unscanned = (int(str(said.get(name, 0))) for name in ("pid", "unplaced", "unscanned"))
    return Process(pid, str(said.get("program", "")), counts, unplaced, unscanned)


def total(processes: Iterable[Process]) -> Counts:
    """The sums over all processes."""
    every = [dataclasses.astuple(process.counts) for process in processes]
    return Counts(*map(sum, zip(*every, strict=True)))


def as_json(
    processes: Iterable[Process], missing: Unrecorded = NONE, *, cpu: str, status: int
) -> dict[str, object]:
    """The report as docs/json.md describes it; `status` is the program's exit status."""
    processes = tuple(processes)
    return {
        "schema": SCHEMA,
        "cpu": cpu,
        "exit_status": status,
        "total": dataclasses.asdict(total(processes)),
        "processes": [
            {
                "pid": process.pid,
                "program": process.program,
                **dataclasses.asdict(process.counts),
                "unplaced": process.unplaced,
                "unscanned": process.unscanned,
            }
            for process in processes
        ],
        "unrecorded": dataclasses.asdict(missing) if missing else None,
    }


def table(processes: Iterable[Process], missing: Unrecorded = NONE) -> str:
    """The report for people: a line for each process, and the sums."""
    processes = tuple(processes)
    absent = [f"Not counted: {missing}."] if missing else []
    if not processes:
        return "\n".join(["amx emulate: no process reported.", *absent])
    rows = [("pid", *COUNTS, "program")]
    rows += [_row(str(process.pid or "all"), process.counts, process.program) for process in processes]
    if len(processes) > 1:
        rows.append(_row("total", total(processes), f"{len(processes)} processes"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    missed = sum(process.unplaced + process.unscanned for process in processes)
    if missed:
        lines.append(
            f"CPUID may have been missed at {missed} places: docs/emulation.md says what that means."
        )
    return "\n".join(lines + absent)


def _row(name: str, counts: Counts, program: str) -> tuple[str, ...]:
    return (name, *map(str, dataclasses.astuple(counts)), program)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = [text.rjust(width) for text, width in zip(row[:-1], widths, strict=False)]
    return "  ".join((*numbers, row[-1]))
