"""Tile configurations: their 64 bytes, and what the palette does not allow."""

import numpy as np
import pytest

import amx
from amx.cpu import Palette
from amx.tile_config import TileConfig, TileShape


def test_image_has_the_fields_where_the_manual_puts_them():
    """Palette in byte 0, start_row in 1, colsb from 16 in 2 bytes each, rows from 48 (SDM vol. 1, 18.1)."""
    image = TileConfig([(16, 64), None, (3, 12)], start_row=2).to_bytes()
    assert len(image) == 64
    assert {offset: value for offset, value in enumerate(image) if value} == {
        0: 1,
        1: 2,
        16: 64,
        20: 12,
        48: 16,
        50: 3,
    }


def test_bytes_and_back():
    """from_bytes reads what to_bytes wrote; the INIT state is no configuration."""
    config = TileConfig([(1, 1), None, (16, 63)])
    assert TileConfig.from_bytes(config.to_bytes()) == config
    assert TileConfig.from_bytes(bytes(64)) is None
    assert TileConfig.from_bytes(b"\0" + b"\xff" * 63) is None  # palette 0: the rest is ignored


def test_presets_fit_the_instruction():
    """Each preset has d.rows = a.rows, d.colsb = b.colsb and a.colsb = 4 b.rows, for all its tiles."""
    assert TileConfig.for_product("int8").tiles[:3] == (TileShape(16, 64),) * 3
    assert TileConfig.for_product("bfloat16", 5, 3, 10).tiles[:3] == (
        TileShape(5, 12),
        TileShape(5, 20),
        TileShape(5, 12),
    )
    big = TileConfig.for_product("uint8", 20, 32, 12).tiles
    assert big == tuple(
        TileShape(*s) for s in [(16, 64), (16, 64), (4, 64), (4, 64), (16, 12), (4, 12), (3, 64), (3, 64)]
    )
    narrow = TileConfig.for_product("float16", 32, 8).tiles
    assert narrow[1] is None
    assert narrow[7] is None


def test_it_prints_readably():
    """str() names the tiles in use."""
    assert str(TileConfig([None, (2, 8)])) == "TMM1: 2 rows x 8 bytes"


BAD = [
    (lambda: TileConfig([(17, 64)]), "TMM0 has 17 rows"),
    (lambda: TileConfig([(0, 64)]), "TMM0 has 0 rows"),
    (lambda: TileConfig([None, (16, 65)]), "TMM1 has rows of 65 bytes"),
    (lambda: TileConfig([(16, 0)]), "rows of 0 bytes"),
    (lambda: TileConfig([(1, 4)] * 9), "9 tiles"),
    (lambda: TileConfig([(1.0, 4)]), r"TMM0 is \(1.0, 4\)"),
    (lambda: TileConfig([(1, 4, 5)]), r"TMM0 is \(1, 4, 5\)"),
    (lambda: TileConfig("ab"), "TMM0 is 'a'"),
    (lambda: TileConfig([(1, 4)], start_row=256), "start_row=256"),
    (lambda: TileConfig.from_bytes(b"\2" + bytes(63)), "palette 2"),
    (lambda: TileConfig.from_bytes(bytes([1, 0, 5]) + bytes(61)), "byte 2 is 5"),
    (lambda: TileConfig.from_bytes(bytes([1]) + bytes(31) + b"\4" + bytes(31)), "byte 32 is 4"),
    (lambda: TileConfig.from_bytes(bytes([1]) + bytes(47) + b"\4" + bytes(15)), "rows of 0 bytes"),
    (lambda: TileConfig.from_bytes(bytes(63)), "63 bytes"),
    (lambda: TileConfig.for_product("int8", 33), "33 x 16"),
    (lambda: TileConfig.for_product("int8", k=6), "k=6"),
    (lambda: TileConfig.for_product("bfloat16", k=33), "k=33"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_the_palette_does_not_allow_is_named(make, message):
    """Every image that LDTILECFG would answer with #GP is refused before, naming the value."""
    with pytest.raises(amx.errors.TileConfigError, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)


def test_an_unknown_dtype_has_no_preset():
    """A preset for float64 is a DtypeError."""
    with pytest.raises(amx.errors.DtypeError, match="float64"):
        TileConfig.for_product("float64")


def test_a_smaller_palette_is_respected():
    """What one CPU's palette allows is refused on another's that is smaller."""
    config = TileConfig([(16, 64)])
    config.validate(Palette(1, 8192, 1024, 64, 8, 16))
    with pytest.raises(amx.errors.TileConfigError, match=r"TMM0 has 16 rows.*allows 1-8"):
        config.validate(Palette(1, 4096, 512, 64, 8, 8))
    with pytest.raises(amx.errors.TileConfigError, match="allows 1-32"):
        config.validate(Palette(1, 4096, 512, 32, 8, 16))
    with pytest.raises(amx.errors.TileConfigError, match="8 tiles"):
        TileConfig([(1, 4)] * 8).validate(Palette(1, 4096, 1024, 64, 4, 16))


def test_integers_of_numpy_are_integers():
    """Sizes may be any integers; the configuration holds Python's."""
    config = TileConfig([(np.int64(16), np.uint8(64))])
    assert config == TileConfig([(16, 64)])
    assert TileConfig.from_bytes(config.to_bytes()) == config
