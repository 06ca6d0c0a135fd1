"""How B lies in its tile, as the instructions answer: with the identity as A, the product is B.

`python ci/draw/tile_layout.py` asks them, on AMX or emulated: a one at each place of the tile in turn, and
the element of B that it is.
"""

from __future__ import annotations

import re
import sys

K, N = 8, 4
TITLES = {
    "int8": "int8: TDPBSSD; four of a column side by side: tile[k/4][n][k%4]",
    "bf16": "bfloat16: TDPBF16PS; two of a column side by side: tile[k/2][n][k%2]",
}
COMMAND = "python ci/draw/tile_layout.py"
CELL, HIGH, MARGIN = 44, 26, 24
HUES = (210, 35, 150, 320)  # of a column of B
PLACE = re.compile(r"^(\w+) row (\d+): (.*)$", re.MULTILINE)
STYLE = "".join(
    [f".n{n} {{ fill: hsl({hue} 70% 88%); stroke: hsl({hue} 40% 55%) }}\n" for n, hue in enumerate(HUES)]
    + ["@media (prefers-color-scheme: dark) {\n"]
    + [f".n{n} {{ fill: hsl({hue} 45% 24%); stroke: hsl({hue} 40% 50%) }}\n" for n, hue in enumerate(HUES)]
    + ["}\n"]
)


def ask() -> str:
    """A line for each row of the tile."""
    import ml_dtypes
    import numpy as np

    import amx

    lines = []
    for name, dtype in (("int8", np.dtype(np.int8)), ("bf16", np.dtype(ml_dtypes.bfloat16))):
        config = amx.TileConfig.for_product(name, m=K, n=N, k=K)
        rows, width = config.tiles[2].rows, config.tiles[2].colsb // dtype.itemsize
        with amx.TileContext(config) as tiles:
            tiles.load(1, np.eye(K).astype(dtype))
            for row in range(rows):
                places = []
                for column in range(width):
                    b = np.zeros((rows, width), dtype)
                    b[row, column] = 1
                    tiles.load(2, b)
                    tiles.zero(0)
                    (tiles.dpbssd if name == "int8" else tiles.dpbf16ps)(0, 1, 2)
                    ((k, n),) = np.argwhere(tiles.store(0))
                    places.append(f"b[{k}][{n}]")
                lines.append(f"{name} row {row}: {' '.join(places)}")
    return "\n".join(lines) + "\n"


def draw(record: str) -> str:
    """The SVG."""
    from draw.svg import box, document, text

    def cell(x: float, y: float, k: int, n: int) -> list[str]:
        return [
            box(x, y, CELL, HIGH, f"n{n}", radius=0),
            text(x + CELL / 2, y + 17, f"{k},{n}", anchor="middle"),
        ]

    drawn = [text(MARGIN, 34, f"B, {K} x {N} (k,n)", "title")]
    for k in range(K):
        for n in range(N):
            drawn += cell(MARGIN + n * CELL, 50 + k * HIGH, k, n)
    left, y = MARGIN * 2 + N * CELL + 24, 34
    for name, title in TITLES.items():
        rows = [places.split() for which, _, places in PLACE.findall(record) if which == name]
        drawn.append(text(left, y, title, "title"))
        for row, places in enumerate(rows):
            for column, place in enumerate(places):
                k, n = (int(number) for number in re.findall(r"\d+", place))
                drawn += cell(left + column * CELL, y + 16 + row * HIGH, k, n)
        words = len(rows[0]) // N
        note = f"{len(rows)} rows of {N} words of 32 bits, {words} elements each"
        drawn.append(text(left, y + 34 + len(rows) * HIGH, note, "quiet"))
        y += 16 + len(rows) * HIGH + 60
    description = (
        f"A matrix B of {K} rows and {N} columns, and the same in a tile: for int8 four rows of B stand in a "
        "row of the tile, interleaved so that the four of a column are side by side; for bfloat16 two."
    )
    width = left + 16 * CELL + MARGIN
    return document(
        width, max(y - 14, 50 + K * HIGH + MARGIN), "How B lies in its tile", description, drawn, STYLE
    )


if __name__ == "__main__":
    sys.stdout.write(ask())
