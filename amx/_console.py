"""A console of rich on which nothing is cut, however narrow it is, and no text is markup or an escape."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from amx.printable import printable_lines

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

    def render_str(self, text: str, **options: Any) -> Text:
        """As Console.render_str, of what is printed for the text in the end, which is as wide."""
        return super().render_str(printable_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Console.render; what acts on a terminal does not come from a text."""
        for each in super().render(renderable, options):
            yield each if each.control else each._replace(text=printable_lines(each.text))


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
