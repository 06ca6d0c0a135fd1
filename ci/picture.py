"""docs/architecture.svg, of the layers as they are declared: csrc/layers.txt, and pyproject.toml for Python.

`ci/picture.py` draws it anew; `ci/picture.py --check` ends with 1 where another would be drawn.
"""

from __future__ import annotations

import html
import sys
import tomllib
from pathlib import Path

import layers

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/architecture.svg"
CHARACTER, LINE, PAD, GAP = 7.6, 17, 8, 8  # of the monospaced font, in pixels
COLUMN, MARGIN, TOP = 600, 24, 64
STYLE = """
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1f2933 }
.title { font-weight: 600; font-size: 15px }
.question { fill: #52606d; font-size: 11px }
.room { fill: #e3eefb; stroke: #7b9cc4 }
.layer { fill: #f7f9fb; stroke: #cbd2d9 }
.arrow { stroke: #52606d; fill: none; marker-end: url(#head) }
#head path { fill: #52606d }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } .question, #head path { fill: #9aa5b1 } .arrow { stroke: #9aa5b1 }
  .room { fill: #243b53; stroke: #5b7ea8 } .layer { fill: #1b2733; stroke: #3e4c59 } .ground { fill: #11181f }
}
"""


def python_layers() -> list[layers.Layer]:
    """Highest first, as import-linter has them."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("containers") == ["amx"]]
    return [layers.Layer(tuple(layer.split(" | ")), "") for layer in contract["layers"]]


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """One line of text."""
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{name}>{html.escape(words)}</text>'


def wrapped(words: str, width: float) -> list[str]:
    """The words in lines that fit."""
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + 1 + len(word) > width / (CHARACTER - 0.6):
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if words else []


def draw_layer(x: float, y: float, layer: layers.Layer) -> tuple[list[str], float]:
    """One layer from (x, y) on: its rooms as boxes, the question below; and how high it is."""
    drawn, at, row = [], x + PAD, y + PAD
    for room in layer.rooms:
        width = len(room) * CHARACTER + 2 * PAD
        if at + width > x + COLUMN - PAD:
            at, row = x + PAD, row + LINE + 2 * PAD
        drawn.append(
            f'<rect class="room" x="{at:g}" y="{row:g}" width="{width:g}" height="{LINE + 6}" rx="4"/>'
        )
        drawn.append(text(at + PAD, row + LINE - 1, room))
        at += width + GAP
    bottom = row + LINE + 6
    if len(layer.question) * (CHARACTER - 0.6) < x + COLUMN - PAD - at:
        drawn.append(text(at + GAP, row + LINE - 1, layer.question, "question"))
    else:
        for line in wrapped(layer.question, COLUMN - 2 * PAD):
            bottom += LINE - 2
            drawn.append(text(x + PAD, bottom, line, "question"))
    height = bottom + PAD - y
    frame = f'<rect class="layer" x="{x:g}" y="{y:g}" width="{COLUMN}" height="{height:g}" rx="6"/>'
    return [frame, *drawn], height


def draw_column(x: float, title: str, highest_first: list[layers.Layer]) -> tuple[list[str], float]:
    """All layers of a language below each other; and where they end."""
    drawn, y = [text(x, TOP - 24, title, "title")], float(TOP)
    for number, layer in enumerate(highest_first):
        if number:
            drawn.append(f'<path class="arrow" d="M{x + COLUMN / 2:g} {y - 14:g} v9"/>')
        boxes, height = draw_layer(x, y, layer)
        drawn += boxes
        y += height + 16
    return drawn, y


def picture() -> str:
    """The whole SVG."""
    python, python_end = draw_column(MARGIN, "amx/  Python", python_layers())
    right = 2 * MARGIN + COLUMN + 40
    c, c_end = draw_column(right, "csrc/  C", layers.declared(layers.CSRC)[::-1])
    width, height = right + COLUMN + MARGIN, max(python_end, c_end) + MARGIN
    start, end = f"{MARGIN + COLUMN + 4} {python_end - 40:g}", f"{right - 6} {TOP + 18}"
    bend = f"{right - 40} {python_end - 40:g}, {MARGIN + COLUMN + 30} {TOP + 18}"
    binding = f'<path class="arrow" d="M{start} C {bend}, {end}"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
            "<title>The layers of linux-amx: every import, include and use of a name leads down</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="5" refY="3" orient="auto">'
            '<path d="M0 0 L6 3 L0 6 z"/></marker></defs>',
            f'<rect class="ground" width="{width:g}" height="{height:g}"/>',
            *python,
            *c,
            binding,
            "</svg>\n",
        ]
    )


def main() -> int:
    """The command."""
    if sys.argv[1:] == ["--check"]:
        if PICTURE.read_text() == picture():
            return 0
        print("docs/architecture.svg is not of the layers as they are declared: run ci/picture.py")
        return 1
    PICTURE.write_text(picture())
    return 0


if __name__ == "__main__":
    sys.exit(main())
