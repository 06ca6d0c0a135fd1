"""docs/architecture.svg, of the layers as csrc/layers.txt and, for Python, pyproject.toml declare them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import layers
from draw.svg import CHARACTER, box, document, text

ROOT = Path(__file__).resolve().parents[2]
LINE, PAD, GAP = 17, 8, 8  # in pixels
COLUMN, MARGIN, TOP = 600, 24, 64


def python_layers() -> list[layers.Layer]:
    """Highest first, as import-linter has them."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("containers") == ["amx"]]
    return [layers.Layer(tuple(layer.split(" | ")), "") for layer in contract["layers"]]


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
        drawn.append(box(at, row, width, LINE + 6))
        drawn.append(text(at + PAD, row + LINE - 1, room))
        at += width + GAP
    bottom = row + LINE + 6
    if len(layer.question) * (CHARACTER - 0.6) < x + COLUMN - PAD - at:
        drawn.append(text(at + GAP, row + LINE - 1, layer.question, "quiet"))
    else:
        for line in wrapped(layer.question, COLUMN - 2 * PAD):
            bottom += LINE - 2
            drawn.append(text(x + PAD, bottom, line, "quiet"))
    height = bottom + PAD - y
    return [box(x, y, COLUMN, height, "frame", radius=6), *drawn], height


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
    return document(
        width,
        height,
        "The layers of linux-amx",
        "Two columns of layers, the highest on top: Python in amx/, C in csrc/. Every import, include and "
        "use of a name leads down, and the lowest layer of Python leads to the highest of C.",
        [*python, *c, binding],
    )
