"""The pictures of the documentation: docs/pictures/NAME.svg, drawn of what a command printed, NAME.txt.

`ci/pictures.py` draws all anew, for which it needs rich; `--check` ends with 1 where another would be drawn.
`.venv/bin/python ci/pictures.py --record NAME...` runs the commands first, of the package beside that Python.
docs/architecture.svg has no record: it is of the layers as they are declared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from draw import architecture, roofline, states, tile_layout
from draw.terminal import Terminal, output_of, run

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/pictures"
HERE = "AMD Zen 4 (EPYC), a virtual machine without AMX, Linux 6.18"
MODEL = "by amx emulate on an AMD Zen 4 without AMX: software, not silicon"
PRODUCT = "import amx, numpy as np; amx.matmul(np.ones((100, 200), np.int8), np.ones((200, 70), np.int8))"
CHECKED = "PERM-02 INH-01 INH-05 ALT-03 FAULT-01 SIG-02"


@dataclass(frozen=True)
class Recorded:
    """A picture that is not a terminal, of what a command prints."""

    command: str
    drawn: Callable[[str], str]

    def record(self) -> str:
        """Run it in the checkout."""
        return f"$ {self.command}\n{run(self.command, directory=ROOT)}"

    def draw(self, record: str) -> str:
        """The SVG."""
        return self.drawn(output_of(self.command, record))


OF_RECORDS: dict[str, Terminal | Recorded] = {
    "demo": Terminal("amx demo", 88, "amx demo", HERE),
    "explain": Terminal("amx explain", 80, "amx explain says why there is no AMX", HERE, status=1),
    "explain-emulated": Terminal("amx emulate -- amx explain", 80, "amx explain with AMX emulated", MODEL),
    "check": Terminal(f"amx emulate -- amx check {CHECKED}", 88, "Six checks of amx check", MODEL),
    "trace": Terminal(
        f"amx emulate --trace trace.json -- python -c '{PRODUCT}'", 92,
        "The report of amx emulate --trace", MODEL, lines=31,
    ),
    "states": Recorded(states.COMMAND, states.draw),
    "tile-layout": Recorded(tile_layout.COMMAND, tile_layout.draw),
    "roofline": Recorded(roofline.COMMAND, roofline.draw),
}  # fmt: skip


def record_of(name: str) -> Path:
    """Where it is."""
    return PICTURES / f"{name}.txt"


def drawn() -> dict[Path, str]:
    """What every picture should be."""
    files = {ROOT / "docs/architecture.svg": architecture.picture()}
    for name, picture in OF_RECORDS.items():
        files[PICTURES / f"{name}.svg"] = picture.draw(record_of(name).read_text())
    return files


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing")
    what.add_argument("--record", nargs="+", choices=OF_RECORDS, metavar="NAME", help=", ".join(OF_RECORDS))
    arguments = parser.parse_args()
    for name in arguments.record or ():
        record_of(name).write_text(OF_RECORDS[name].record())
    status = 0
    for file, svg in drawn().items():
        if not arguments.check:
            file.write_text(svg)
        elif not file.exists() or file.read_text() != svg:
            print(f"{file.relative_to(ROOT)} is not what its source gives: run ci/pictures.py")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
