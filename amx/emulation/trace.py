"""What of AMX a program executed: every site with its counts, how full the tiles were, what they were set to.

`read(directory)` takes what the emulation recorded there, one file for each process, and says where in the
programs the sites are. `Trace.write` and `Trace.load` keep it as JSON (docs/json.md); `str` is a summary.

    >>> from amx.emulation import trace
    >>> print(trace.Trace(()))
    Nothing was recorded: no process was emulated. (A static program needs --ptrace.)
"""

from __future__ import annotations

import json
from pathlib import Path

from amx import written_file
from amx.emulation import trace_json, trace_reading, trace_tables, trace_verdicts
from amx.emulation.trace_data import (
    Configuration,
    Extent,
    Lost,
    Process,
    Recorded,
    Site,
    Thread,
    Total,
)
from amx.errors import TraceError

__all__ = [
    "Configuration",
    "Extent",
    "Lost",
    "Process",
    "Site",
    "Thread",
    "Total",
    "Trace",
    "read",
]


class Trace(Recorded):
    """Everything that was recorded, for people and for files.

    `unreadable` says which files could not be read, and why; `unrecorded` how many processes wrote none.
    """

    @classmethod
    def _of(cls, recorded: Recorded) -> Trace:
        return cls(recorded.processes, recorded.unreadable, recorded.unrecorded)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What it means, in sentences."""
        return trace_verdicts.verdicts(self)

    def __str__(self) -> str:
        return trace_tables.as_text(self)

    def to_json(self) -> str:
        """As docs/json.md describes it."""
        return json.dumps(trace_json.as_json(self), indent=1) + "\n"

    def write(self, path: str | Path) -> None:
        """Write `to_json()` into a file, which takes the place of an old one when all of it is on the disk.

        Raises
        ------
        OSError: it cannot be written.
        """
        with written_file.writing(path) as file:
            file.write(self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `write` wrote.

        Raises
        ------
        OSError: the file cannot be read; it is no regular one, or has more than 512 MiB.
        TraceError: it is no trace, or of another schema.
        """
        return cls._of(trace_json.load(Path(path)))


def read(directory: str | Path) -> Trace:
    """Read the files that the emulation recorded in a directory.

    Processes may still be running. Symbols come from the files that the processes had mapped, so this is to
    be done on the same machine, before those change, and by the user whose processes they are: files of
    others, but for root's, are among the unreadable ones, since tools would be run on what they name.

    Raises
    ------
    TraceError: there is no such directory.
    """
    path = Path(directory)
    if not path.is_dir():
        raise TraceError(
            f"There is no directory {str(path)!r} to read a trace from",
            cause="A trace is recorded into a directory with one file for each process",
            remedy="Name the directory that was given as trace=, or use Trace.load() for a file",
        )
    return Trace._of(trace_reading.read_directory(path))
