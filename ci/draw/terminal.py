"""What a command wrote to a terminal, and the picture of it.

A record is a text file: the command behind `$ `, then everything as the terminal got it, colours included.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from draw.svg import box, document, text
from rich.text import Text

WIDTH, LINE, PAD, BAR = 7.8, 16, 16, 26  # of a character, in pixels
WORDS = re.compile(r"\S+(?: \S+)*")  # what stands between two spaces or more is placed by itself
COLOURS = {1: "red", 2: "green", 3: "yellow"}  # those that the commands use
CURSOR = re.compile(r"\x1b\[\?25[hl]")  # shown and hidden
STYLE = """
text { font-size: 13px } .quiet { font-size: 11px }
.bold, .command { font-weight: 600 } .italic { font-style: italic } .dim { fill: #616e7c }
.red { fill: #b91c1c } .green { fill: #15803d } .yellow { fill: #a16207 }
@media (prefers-color-scheme: dark) {
  .dim { fill: #9aa5b1 } .red { fill: #ff8a80 } .green { fill: #6ee7a0 } .yellow { fill: #f2cc60 }
}
"""


@dataclass(frozen=True)
class Terminal:
    """A command, how wide its terminal is, and what a reader has to know of the machine it ran on."""

    command: str
    columns: int
    title: str
    caption: str
    lines: int = 0  # of the output that are shown; 0 for all
    status: int = 0

    def record(self) -> str:
        """Run it; its programs are those beside this Python."""
        return f"$ {self.command}\n{run(self.command, self.columns, self.status)}"

    def draw(self, record: str) -> str:
        """The SVG."""
        lines = [Text(line, "command") for line in wrapped(f"$ {self.command}", self.columns)]
        for line in output_of(self.command, record).splitlines():
            lines += as_a_terminal_wraps(Text.from_ansi(line), self.columns)
        if self.lines and len(lines) > self.lines:
            lines = [*lines[: self.lines], Text("…", "dim")]
        while lines and not lines[-1].plain.strip():
            lines.pop()
        drawn = [text(PAD, BAR - 8, self.caption, "quiet")]
        for row, line in enumerate(lines):
            drawn += draw_line(line, BAR + PAD + row * LINE)
        width, height = 2 * PAD + self.columns * WIDTH, BAR + PAD + len(lines) * LINE
        frame = box(0.5, 0.5, width - 1, height - 1, "frame", radius=8)
        description = "\n".join([f"{self.caption}:", *(line.plain for line in lines)])
        return document(width, height, self.title, description, [frame, *drawn], STYLE)


def output_of(command: str, record: str) -> str:
    """What it printed."""
    recorded, _, output = record.partition("\n")
    if recorded != f"$ {command}":
        raise ValueError(f"what was recorded is {recorded[2:]!r}, not {command!r}: record it again")
    return output


def run(command: str, columns: int = 0, status: int = 0, directory: Path | None = None) -> str:
    """The output of a command on a terminal of so many columns, or without any in a pipe.

    It runs in that directory, or in an empty one.
    """
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TERM": "xterm-256color"}
    environment |= {"TTY_INTERACTIVE": "0"}  # rich: no progress bar
    environment.pop("COLUMNS", None)
    ours, theirs = pty.openpty() if columns else os.pipe()
    if columns:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with tempfile.TemporaryDirectory() as empty:
        child = subprocess.Popen(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs if columns else None,
            env=environment, cwd=directory or empty,
        )  # fmt: skip
        os.close(theirs)
        output = b""
        with suppress(OSError):  # of a terminal that nobody has open any more
            while part := os.read(ours, 1 << 16):
                output += part
        os.close(ours)
        if child.wait() != status:
            raise ValueError(f"{command}: status {child.returncode}, not {status}:\n{output.decode()}")
    lines = CURSOR.sub("", output.decode()).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"


def wrapped(words: str, columns: int) -> list[str]:
    """In lines of so many columns, cut wherever they end, as a terminal does."""
    return [words[at : at + columns] for at in range(0, len(words), columns)]


def as_a_terminal_wraps(line: Text, columns: int) -> list[Text]:
    """The same of what has colours."""
    return list(line.divide(range(columns, len(line), columns)))


def draw_line(line: Text, y: float) -> list[str]:
    """Every word where its columns are, whatever font the reader has."""
    drawn = []
    ends = sorted({0, len(line), *(span.start for span in line.spans), *(span.end for span in line.spans)})
    for start, end in itertools.pairwise(ends):
        styles = [line.style, *(span.style for span in line.spans if span.start <= start < span.end)]
        kind = " ".join(dict.fromkeys(name for style in styles for name in classes(style)))
        for word in WORDS.finditer(line.plain[start:end]):
            x = PAD + (start + word.start()) * WIDTH
            drawn.append(text(x, y, word[0], kind, length=len(word[0]) * WIDTH))
    return drawn


def classes(style: object) -> list[str]:
    """Of CSS, for a style of rich."""
    if isinstance(style, str):
        return style.split()
    names = [name for name in ("bold", "dim", "italic") if getattr(style, name)]
    color = getattr(style, "color", None)
    return [*names, COLOURS[color.number]] if color and color.number in COLOURS else names
