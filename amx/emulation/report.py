"""What the processes of an emulated program reported at their ends."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

from amx import foreign_file
from amx.emulation.counts import Counts
from amx.emulation.unrecorded import Unrecorded
from amx.foreign_json import Json
from amx.printable import printable

__all__ = ["SCHEMA", "Process", "as_json", "read", "table", "total"]

SCHEMA = 1
NONE = Unrecorded()
PROCESSES = 2**16
LINE = 1024  # bytes, as csrc/trap/preload/report.c has it
COUNTS = tuple(field.name for field in dataclasses.fields(Counts))
NUMBERS = "pid", "unplaced", "unscanned", *COUNTS


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


def read(path: str) -> tuple[tuple[Process, ...], Unrecorded]:
    """The processes in a report file, in the order of their beginnings, and what is missing there.

    Each exec begins another. Of a process that was killed, the last counts may be missing. Processes may
    write there what they like: a line that is none of ours, or that a full disk cut short, is left out, and
    so is what is beyond PROCESSES of them.

    Raises
    ------
    OSError: there is no such file, or it cannot be read; it is no regular file of this user's.
    """
    with foreign_file.opened(path, owned=True, links=False) as file:
        content = file.read(0, PROCESSES * LINE + 1)
    said = [_parse(line) for line in content[: PROCESSES * LINE].split(b"\n") if line.strip()]
    found = tuple(process for process in said if process is not None)
    if len(content) > PROCESSES * LINE:
        return found, Unrecorded(None, f"the report has more than {PROCESSES:,} lines")
    wrong = len(said) - len(found)
    lines = "1 line of the report is" if wrong == 1 else f"{wrong:,} lines of the report are"
    return found, Unrecorded(None, f"{lines} not as the emulation writes them") if wrong else NONE


def _parse(line: bytes) -> Process | None:
    line = line[max(line.rfind(b'{"pid"'), 0) :]  # behind what was cut short
    if len(line) > LINE:
        return None
    try:
        said = Json(json.loads(line.decode(errors="replace")))
        pid, unplaced, unscanned, *counts = (said.number(name, default=0) for name in NUMBERS)
        return Process(pid, said.text("program", ""), Counts(*counts), unplaced, unscanned)
    except (ValueError, RecursionError):
        return None


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
    return (name, *map(str, dataclasses.astuple(counts)), printable(program))


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = [text.rjust(width) for text, width in zip(row[:-1], widths, strict=False)]
    return "  ".join((*numbers, row[-1]))
