"""The tasks of a small product over Dask, as a picture: `python examples/task_graph.py graph.svg`.

A of two chunks of rows and three of K, times B of three chunks of K and one of columns; docs/dask.md has it.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
from dask.core import get_dependencies

import amx.dask

WIDTH, HEIGHT, ACROSS, DOWN, MARGIN = 118, 38, 132, 84, 16
COLOURS = {"a": "#e4e7eb", "b": "#e4e7eb", "pack": "#fbe3c8", "product": "#cfe3fb", "sum": "#d3f0d6"}
WORDS = {"a": "A", "b": "B", "pack": "pack", "product": "multiply", "sum": "add"}
Key = tuple[Any, ...]


def product() -> Any:
    """The dask array whose graph is drawn."""
    a = da.from_array(np.ones((4, 6), np.int8), chunks=2, name="a")
    b = da.from_array(np.ones((6, 2), np.int8), chunks=2, name="b")
    return amx.dask.matmul(a, b)


def kind(key: Key) -> str:
    """What a task does, by the name in its key."""
    name = key[0].removeprefix("amx-").partition("-")[0]
    return "sum" if name == "matmul" else str(name)


def levels(graph: Mapping[Key, Any]) -> dict[Key, int]:
    """How many tasks come before each at least: its row in the picture."""
    found: dict[Key, int] = {}

    def level(key: Key) -> int:
        if key not in found:
            found[key] = 1 + max(map(level, get_dependencies(graph, key)), default=-1)
        return found[key]

    for key in graph:
        level(key)
    return found


def picture(graph: Mapping[Key, Any]) -> str:
    """SVG; what depends on a task is below it."""
    rows: dict[int, list[Key]] = {}
    for key, level in levels(graph).items():
        rows.setdefault(level, []).append(key)
    widest = max(map(len, rows.values())) * ACROSS
    places: dict[Key, tuple[float, float]] = {}
    for level, keys in sorted(rows.items()):
        left = MARGIN + (widest - len(keys) * ACROSS) / 2
        for number, key in enumerate(sorted(keys, key=lambda key: (kind(key), key[1:]))):
            # Below what it comes from; a product, below its chunk of A.
            sources = get_dependencies(graph, key)
            above = [places[each][0] for each in sources if kind(key) != "product" or kind(each) == "a"]
            x = sum(above) / len(above) if above else left + number * ACROSS
            places[key] = x, MARGIN + level * DOWN
    parts = [
        f'<path d="M{places[source][0] + WIDTH / 2:g} {places[source][1] + HEIGHT:g} '
        f'L{places[key][0] + WIDTH / 2:g} {places[key][1]:g}" stroke="#7b8794" fill="none"/>'
        for key in graph
        for source in sorted(get_dependencies(graph, key))
    ]
    for key, (x, y) in places.items():
        words = f"{WORDS[kind(key)]} {', '.join(map(str, key[1:]))}"
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{COLOURS[kind(key)]}" '
            f'stroke="#7b8794"/><text x="{x + WIDTH / 2:g}" y="{y + 23:g}">{html.escape(words)}</text>'
        )
    height = 2 * MARGIN + (len(rows) - 1) * DOWN + HEIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {widest + 2 * MARGIN} {height}">',
            "<style>text { font: 12px ui-monospace, Menlo, monospace; text-anchor: middle }</style>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def main() -> None:
    """The command."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE.svg")
    # Without the arrays themselves, which the chunks of A and B are cut from.
    graph = {key: task for key, task in dict(product().dask).items() if isinstance(key, tuple)}
    graph = {key: graph[key] for key in graph if set(get_dependencies(graph, key)) <= set(graph)}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(picture(graph))


if __name__ == "__main__":
    main()
