"""A console of rich on which nothing is cut, however narrow it is, and brackets are no markup."""

from __future__ import annotations

import os
from typing import IO, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["NarrowConsole", "open_console"]

UNLIMITED = 10_000  # columns, where no line has to be wrapped
USUAL, NARROWEST = 80, 20  # where a terminal does not know its width, or says what it cannot have


class NarrowConsole(Console):
    """No column of a table is narrower than its longest word; lines go beyond the edge where they have to."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As Console.print."""
        room = self.options.update(max_width=UNLIMITED)
        for column in (column for each in objects if isinstance(each, Table) for column in each.columns):
            words = [Measurement.get(self, room, cell).minimum for cell in (column.header, *column.cells)]
            column.min_width = max(words)
        super().print(*objects, **{"crop": False, **options})


def open_console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """A console on the standard output, the standard error or a file.

    As wide as the terminal, or as COLUMNS says; elsewhere lines, which are for programs, are not wrapped.
    """
    made = NarrowConsole(file=file, stderr=stderr, highlight=False, emoji=False, markup=False)
    made.width = _width_of(made.file)
    return made


def _width_of(file: IO[str]) -> int:
    try:
        of_terminal = os.get_terminal_size(file.fileno()).columns
    except (OSError, ValueError):  # no terminal; no descriptor
        return UNLIMITED
    columns = os.environ.get("COLUMNS", "")
    asked = int(columns) if columns.isdecimal() else 0
    return max(NARROWEST, asked or of_terminal or USUAL)
