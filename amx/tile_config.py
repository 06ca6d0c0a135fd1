"""Shapes of the tile registers: what LDTILECFG loads, and what a palette allows."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amx import errors
from amx.arrays import refuse_mask
from amx.cpu import Palette
from amx.dtypes import parse

__all__ = ["PALETTE_1", "TileConfig", "TileShape", "bad_config", "check_product_shapes"]

# The one palette defined so far (SDM vol. 1, 18.1), as CPUID leaf 0x1D describes it on every CPU with AMX.
PALETTE_1 = Palette(
    number=1, total_tile_bytes=8192, bytes_per_tile=1024, bytes_per_row=64, max_names=8, max_rows=16
)
MAX_NAMES, MAX_ROWS, BYTES_PER_ROW = PALETTE_1.max_names, PALETTE_1.max_rows, PALETTE_1.bytes_per_row


@dataclass(frozen=True)
class TileShape:
    """Rows, and bytes of each row, of one tile register."""

    rows: int
    colsb: int

    def __str__(self) -> str:
        return f"{self.rows} rows x {self.colsb} bytes"


@dataclass(frozen=True)
class TileConfig:
    """The shapes of the tile registers: what LDTILECFG loads (SDM vol. 1, chapter 18).

    Parameters
    ----------
    tiles: for each register from TMM0 on `(rows, colsb)` or a `TileShape`, or None for one that is not used.
        At most 8; rows 1-16, colsb 1-64 bytes. Loads, stores and products want colsb to be a multiple of 4.
    start_row: the row at which an interrupted load or store continues; 0 for everybody but a debugger.

    Raises
    ------
    TileConfigError: what the palette does not allow; the message names the tile and the value.
    """

    if TYPE_CHECKING:  # an attribute that is no field: not compared, shown or taken by dataclasses' functions
        _layout: tuple[tuple[TileShape | None, ...], bytes]
    tiles: tuple[TileShape | None, ...]
    start_row: int = 0

    def __init__(self, tiles: Sequence[TileShape | tuple[int, int] | None], *, start_row: int = 0) -> None:
        if hasattr(self, "_layout"):
            raise AttributeError("a TileConfig is immutable: make another one")
        shapes = tuple(_shape(number, tile) for number, tile in enumerate(tiles))
        start_row = operator.index(start_row)
        if not 0 <= start_row <= 255:
            raise bad_config(f"start_row={start_row}", "it is one byte", "use 0")
        shapes += (None,) * (MAX_NAMES - len(shapes))
        _check(shapes, PALETTE_1)
        object.__setattr__(self, "tiles", shapes)
        object.__setattr__(self, "start_row", start_row)
        # What a TileContext works with: shapes that nobody else has, and what LDTILECFG reads of them.
        own = tuple(shape and TileShape(shape.rows, shape.colsb) for shape in shapes)
        object.__setattr__(self, "_layout", (own, _image(own, start_row)))

    def validate(self, palette: Palette) -> None:
        """Check every tile against the limits of a palette, such as one of `amx.cpu.palettes()`.

        Raises
        ------
        TileConfigError: the palette has fewer tiles, rows or bytes; the message names tile and value.
        """
        _check(self.tiles, palette)

    @classmethod
    def for_product(cls, dtype: object, m: int = 16, n: int = 16, k: int | None = None) -> TileConfig:
        """The configuration for one block of C (m x n) = A (m x k) B (k x n) of an element type.

        Up to 16 x 16: TMM0 is C, TMM1 A, TMM2 B. Up to 32 x 32: TMM0-3 are C (2 * row tile + column tile),
            TMM4-5 A, TMM6-7 B, as in the kernels of `amx.matmul`. B is loaded as rows of 4 bytes of K:
            `b[k/g][n][k%g]`, g = 4 / itemsize.

        Parameters
        ----------
        dtype: int8, uint8, bfloat16 or float16.
        m, n: 1-32.
        k: elements of K in a tile, a multiple of g up to 64 bytes; None: 64 bytes.

        Raises
        ------
        TileConfigError: a block that eight tiles cannot hold.
        DtypeError: another dtype.
        """
        element = parse(dtype)
        group = 4 // element.size
        k = BYTES_PER_ROW // element.size if k is None else k
        if not (1 <= m <= 2 * MAX_ROWS and 1 <= n <= 2 * MAX_ROWS):
            raise bad_config(
                f"a block of {m} x {n}", "eight tiles hold at most 32 x 32", "cut the product into blocks"
            )
        if not 1 <= k * element.size <= BYTES_PER_ROW or k % group:
            raise bad_config(
                f"k={k} of {element.value}",
                f"a tile row holds {BYTES_PER_ROW} bytes, in groups of {group} elements",
                f"use a multiple of {group} up to {BYTES_PER_ROW // element.size}, and pad with zeros",
            )
        rows = [min(m, MAX_ROWS), m - MAX_ROWS]
        columns = [min(n, MAX_ROWS), n - MAX_ROWS]
        if m <= MAX_ROWS and n <= MAX_ROWS:
            return cls([(m, 4 * n), (m, k * element.size), (k // group, 4 * n)])
        c = [(r, 4 * width) if r > 0 and width > 0 else None for r in rows for width in columns]
        a = [(r, k * element.size) if r > 0 else None for r in rows]
        b = [(k // group, 4 * width) if width > 0 else None for width in columns]
        return cls([*c, *a, *b])

    @classmethod
    def from_bytes(cls, image: bytes) -> TileConfig | None:
        """What a 64-byte image of LDTILECFG or STTILECFG says; None for palette 0, the INIT state.

        Raises
        ------
        TileConfigError: LDTILECFG would raise #GP for this image, or it is not 64 bytes long.
        """
        refuse_mask(image, "The image")
        image = bytes(memoryview(image))
        if len(image) != 64:
            raise bad_config(
                f"an image of {len(image)} bytes", "a tile configuration has 64", "pass all of it"
            )
        if image[0] == 0:
            return None
        if image[0] != PALETTE_1.number:
            raise bad_config(
                f"palette {image[0]}",
                f"only palette {PALETTE_1.number} is defined",
                f"set byte 0 to {PALETTE_1.number}",
            )
        for number in (*range(2, 16), *range(32, 48), *range(56, 64)):
            if image[number]:
                raise bad_config(f"byte {number} is {image[number]}", "it is reserved", "set it to 0")
        tiles = []
        for number in range(MAX_NAMES):
            rows, colsb = (
                image[48 + number],
                int.from_bytes(image[16 + 2 * number : 18 + 2 * number], "little"),
            )
            tiles.append(TileShape(rows, colsb) if rows or colsb else None)
        return cls(tiles, start_row=image[1])

    def to_bytes(self) -> bytes:
        """The 64 bytes that LDTILECFG reads."""
        return self._layout[1]

    def __str__(self) -> str:
        used = [f"TMM{number}: {shape}" for number, shape in enumerate(self.tiles) if shape is not None]
        return ", ".join(used) or "no tiles"


def _image(tiles: Sequence[TileShape | None], start_row: int) -> bytes:
    image = bytearray(64)
    image[0] = PALETTE_1.number
    image[1] = start_row
    for number, shape in enumerate(tiles):
        if shape is not None:
            image[16 + 2 * number : 18 + 2 * number] = shape.colsb.to_bytes(2, "little")
            image[48 + number] = shape.rows
    return bytes(image)


def _shape(number: int, tile: TileShape | tuple[int, int] | None) -> TileShape | None:
    if tile is None:
        return None
    try:
        rows, colsb = (tile.rows, tile.colsb) if isinstance(tile, TileShape) else tile
        return TileShape(operator.index(rows), operator.index(colsb))
    except (TypeError, ValueError):
        raise bad_config(
            f"TMM{number} is {tile!r}",
            "A tile is two integers, rows and bytes of a row",
            "Use None for no tile",
        ) from None


def _check(tiles: Sequence[TileShape | None], palette: Palette) -> None:
    if len(tiles) > palette.max_names and any(tiles[palette.max_names :]):
        raise bad_config(f"{len(tiles)} tiles", f"{palette} allows {palette.max_names}", "leave some out")
    for number, shape in enumerate(tiles):
        if shape is not None:
            _check_shape(number, shape, palette)


def _check_shape(number: int, shape: TileShape, palette: Palette) -> None:
    if not 1 <= shape.rows <= palette.max_rows:
        raise bad_config(
            f"TMM{number} has {shape.rows} rows",
            f"palette {palette.number} allows 1-{palette.max_rows}",
            "use None for no tile",
        )
    if not 1 <= shape.colsb <= palette.bytes_per_row:
        raise bad_config(
            f"TMM{number} has rows of {shape.colsb} bytes",
            f"palette {palette.number} allows 1-{palette.bytes_per_row}",
            "use None for no tile",
        )


def bad_config(what: str, cause: str, remedy: str) -> errors.TileConfigError:
    """The error for a configuration that LDTILECFG would refuse, or that makes no sense."""
    return errors.TileConfigError(what, cause=cause, remedy=remedy, operation="ldtilecfg")


def check_product_shapes(
    insn: str, d: tuple[int, TileShape], a: tuple[int, TileShape], b: tuple[int, TileShape]
) -> None:
    """Raise `TileShapeError` unless `insn` multiplies tiles of these numbers and shapes.

    The CPU raises #UD (SDM vol. 2, the instruction's page).
    """

    def refuse(cause: str) -> errors.TileShapeError:
        tiles = ", ".join(f"TMM{number} ({shape})" for number, shape in (d, a, b))
        return errors.TileShapeError(
            f"{insn} of {tiles}", cause=cause, remedy="use another configuration", operation=insn
        )

    for number, shape in (d, a, b):
        if shape.colsb % 4:
            raise refuse(f"rows of TMM{number} are no multiple of 4 bytes")
    if d[1].rows != a[1].rows:
        raise refuse("d and a have different numbers of rows (M)")
    if d[1].colsb != b[1].colsb:
        raise refuse("d and b have rows of different length (N)")
    if a[1].colsb != 4 * b[1].rows:
        raise refuse("a row of a is not 4 bytes for each row of b (K)")
