"""LDTILECFG, STTILECFG, TILERELEASE and TILEZERO on the software tile machine."""

import pytest
from emulator_machine import GP, OK, UD, Machine, image

SHAPES = [(16, 64), (3, 12), (1, 1), (0, 0), (16, 3), (5, 64), (2, 2), (9, 33)]


def configured(shapes=SHAPES, **fields):
    """A machine in which no tile byte is zero."""
    machine = Machine()
    assert machine.ldtilecfg(image(shapes, **fields)) == OK
    for tile in range(8):
        machine.tiles[tile][:] = 0x5A
    return machine


def spoiled(index, value):
    bytes_ = bytearray(image(SHAPES))
    bytes_[index] = value
    return bytes(bytes_)


def test_a_configuration_is_stored_as_loaded():
    """Also colsb that no product takes, and tiles without rows."""
    assert configured(start_row=7).config == image(SHAPES, start_row=7)


@pytest.mark.parametrize("start_row", [0, 15, 16, 255])
def test_any_start_row_is_taken(start_row):
    assert configured(start_row=start_row).start_row == start_row


def test_loading_zeroes_all_tiles():
    machine = configured()
    assert machine.ldtilecfg(image(SHAPES)) == OK
    assert not any(tile.any() for tile in machine.tiles)


@pytest.mark.parametrize("palette", [2, 3, 255])
def test_an_unknown_palette_is_gp(palette):
    assert Machine().ldtilecfg(image(SHAPES, palette=palette)) == GP


@pytest.mark.parametrize("index", [*range(2, 16), *range(32, 48), *range(56, 64)])
def test_a_reserved_byte_is_gp(index):
    """The bytes of tiles 8 to 15 are reserved in palette 1."""
    assert Machine().ldtilecfg(spoiled(index, 1)) == GP


@pytest.mark.parametrize(
    ("index", "value"), [(16, 65), (17, 1), (48, 17), (48, 0), (16, 0), (54, 255), (51, 1), (22, 4)]
)
def test_a_shape_beyond_the_palette_or_half_zero_is_gp(index, value):
    assert Machine().ldtilecfg(spoiled(index, value)) == GP


def test_gp_leaves_everything_as_it_was():
    machine = configured(start_row=3)
    assert machine.ldtilecfg(spoiled(48, 17)) == GP
    assert machine.config == image(SHAPES, start_row=3)
    assert all((tile == 0x5A).all() for tile in machine.tiles)


def test_palette_0_is_init_whatever_else_it_says():
    machine = configured()
    assert machine.ldtilecfg(bytes([0, *[0xFF] * 63])) == OK
    assert machine.config == bytes(64)
    assert not any(tile.any() for tile in machine.tiles)


def test_release_is_init():
    machine = configured(start_row=3)
    machine.tilerelease()
    assert machine.config == bytes(64)
    assert not any(tile.any() for tile in machine.tiles)


def test_zero_takes_the_whole_tile_and_start_row():
    """All 1024 bytes, not only the shape; colsb need not be a multiple of 4; other tiles stay."""
    machine = configured(start_row=200)
    assert machine.tilezero(4) == OK
    assert not machine.tiles[4].any()
    assert machine.start_row == 0
    assert all((machine.tiles[tile] == 0x5A).all() for tile in range(8) if tile != 4)


def test_zero_without_rows_is_ud():
    machine = configured(start_row=2)
    assert machine.tilezero(3) == UD
    assert (machine.tiles[3] == 0x5A).all()
    assert machine.start_row == 2


def test_zero_without_configuration_is_ud():
    assert Machine().tilezero(0) == UD
