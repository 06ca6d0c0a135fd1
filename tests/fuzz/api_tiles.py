"""Tiles of configurations, numbers and buffers that are not what they seem: what was loaded, or an error."""

from typing import Any

import numpy as np

import amx
from fuzz.api_products import ELEMENTS, NAMES, Products
from fuzz.choices import Choices

PRODUCTS = ("dpbssd", "dpbsud", "dpbusd", "dpbuud", "dpbf16ps", "dpfp16ps")


class LyingConfig(amx.TileConfig):
    """Loads other tiles than it says it has."""

    def to_bytes(self) -> bytes:
        return amx.TileConfig([(16, 64)] * 8).to_bytes()


class LyingNumber(int):
    """Is another number each time it is asked."""

    def __index__(self) -> int:
        return 1

    def __lt__(self, other: Any) -> bool:
        return True


class Tiles(Products):
    """Tiles, and a product between two of their instructions."""

    def __init__(self, choices: Choices) -> None:
        super().__init__(choices)
        self.tiles: amx.TileContext | None = None
        self.loaded: dict[int, bytes] = {}

    def configuration(self) -> amx.TileConfig:
        kind = self.c.below(6)
        if kind == 0:
            found = amx.TileConfig.from_bytes(self.c.bytes(64))
            return found if found is not None else amx.TileConfig([(1, 4)])
        if kind == 1:
            return amx.TileConfig.for_product(self.c.one_of(ELEMENTS), self.c.below(40), self.c.below(40))
        if kind == 2:
            return amx.TileConfig.for_product(self.c.one_of(ELEMENTS))
        of = LyingConfig if kind == 3 else amx.TileConfig
        shapes = [
            self.c.one_of(((16, 64), (1, 4), (1, 64), (16, 4), (3, 12), None, (0, 0), (17, 64), (1, 65)))
            for _ in range(8)
        ]
        return of([shape if self.c.often(7) or shape is None else (16, 64) for shape in shapes])

    def configure(self) -> None:
        found = self.configuration()
        assert type(found) is LyingConfig or amx.TileConfig.from_bytes(found.to_bytes()) == found
        str(found)

    def enter(self) -> None:
        if self.tiles is not None and self.c.often(4):
            tiles, self.tiles = self.tiles, None
            tiles.__exit__(None, None, None)
        if self.c.often(1) and self.tiles is not None:
            self.tiles.__enter__()
        if self.tiles is None:
            tiles = amx.TileContext(self.configuration())
            self.tiles = tiles.__enter__()
            self.loaded = {}

    def tile(self) -> None:
        """One call on the tiles that are open."""
        if self.tiles is None:
            self.enter()
        tiles = self.tiles
        assert tiles is not None
        number = (
            self.c.below(8)
            if self.c.often(7)
            else self.c.one_of((-1, 8, True, 2**70, "x", None, LyingNumber(99), 1.0))
        )
        kind = self.c.below(8)
        if kind == 0:
            self.loaded.pop(number, None)
            tiles.zero(number)
        elif kind in (1, 2):
            self.load(tiles, number)
        elif kind == 3:
            out = tiles.store(number)
            want = self.loaded.get(number)
            assert want is None or out.tobytes() == want
        elif kind == 4:
            where = {} if self.c.often(4) else {"offset": self.c.integer(), "stride": self.c.integer()}
            tiles.store(number, self.memory(), **where)
        elif kind == 5:
            numbers = [self.c.below(8) for _ in range(3)]
            self.loaded.pop(numbers[0], None)
            getattr(tiles, self.c.one_of(PRODUCTS))(*numbers)
        elif kind == 6:
            self.reconfigure(tiles)
        else:
            self.multiply()

    def reconfigure(self, tiles: amx.TileContext) -> None:
        """Say that the open tiles are others."""
        try:
            if self.c.often(4):
                tiles.config = amx.TileConfig([(1, 4)] * 8)
            else:
                tiles.__init__(self.configuration())
        except AttributeError:
            return
        self.loaded = {}
        for number in range(8):
            tiles.store(number)

    def load(self, tiles: amx.TileContext, number: Any) -> None:
        self.loaded.pop(number, None)
        load = self.c.one_of((tiles.load, tiles.loadt1))
        if self.c.often(4):
            shape = (
                tiles.config.tiles[number]
                if number in range(8) and number < len(tiles.config.tiles)
                else None
            )
            source = np.arange(shape.rows * shape.colsb if shape else 64, dtype=np.uint8)
            load(number, source)
            self.loaded[number] = source.tobytes()
        elif self.c.often(4):
            load(number, self.memory(), offset=self.c.integer(), stride=self.c.integer())
        else:
            load(number, self.some(), dtype=self.c.one_of(NAMES))

    def memory(self) -> Any:
        """A buffer of about the size of a tile."""
        size = self.c.one_of((1024, 1023, 1025, 64, 4, 0, 15 * 64 + 4, 4096))
        kind = self.c.below(5)
        if kind == 0:
            return bytes(size)
        if kind == 1:
            return bytearray(size)
        if kind == 2:
            return np.zeros(size, np.uint8)[:: self.c.one_of((1, -1, 2))]
        if kind == 3:
            return self.some()
        return np.zeros(size // 4, self.c.one_of((np.int32, np.float32)))


def plant_bounds() -> None:
    """A tile is stored into a buffer that ends before it."""
    from amx import tiles

    usual = tiles.region_of

    def region_of(source: Any, shape: Any, *rest: Any, **more: Any) -> Any:
        return usual(source, type(shape)(1, 4), *rest, **more)

    tiles.region_of = region_of
