"""TILEMOVROW and TCVTROW*: one row of a tile in a ZMM register, as it is or converted.

Specification only: the oracle is the model written from docs/numerics.md, and no silicon was at hand.
"""

import random

import ml_dtypes
import numerics_model
import numpy as np
import pytest
from emulator_encode import row_code
from emulator_machine import OK, ROW_MOVES, UD, Machine, Window, image

RAX, RDX = 0, 2
NOTHING = Window(bytearray(1))
ROWS, COLSB = 5, 40


def machine(start_row=0, shape=(ROWS, COLSB)):
    made = Machine()
    assert made.ldtilecfg(image([(0, 0), shape], start_row=start_row)) == OK
    made.tiles[1][:] = np.arange(1, 1025, dtype=np.uint32).astype(np.uint8).reshape(16, 64)
    return made


def registers():
    """All ZMM registers, of which the instruction may change one."""
    return np.full((32, 64), 0xC5, np.uint8)


def moved(made, name, zmm=3, **form):
    """The register that the row went to."""
    all_ = registers()
    before = made.config[2:]
    assert made.step(row_code(name, zmm, 1, **form), NOTHING, zmm=all_)[0] == OK
    assert made.start_row == 0
    assert made.config[2:] == before
    assert (np.delete(all_, zmm, axis=0) == 0xC5).all()
    return all_[zmm]


def converted(name, words):
    """A register of 16 words, by way of a tile of one row."""
    made = machine(shape=(1, 64))
    made.words(1)[0] = words
    return moved(made, name, row=0).view(np.uint32).tolist()


@pytest.mark.parametrize("zmm", [0, 9, 17, 31])
def test_a_row_moves_and_is_zero_beyond_its_columns(zmm):
    made = machine()
    for row in range(ROWS):
        result = moved(made, "tilemovrow", zmm, row=row)
        assert (result[:COLSB] == made.tiles[1][row, :COLSB]).all()
        assert not result[COLSB:].any()


@pytest.mark.parametrize("name", ROW_MOVES)
def test_a_row_beyond_the_tile_is_zero(name):
    for row in range(ROWS, 16):
        assert not moved(machine(), name, row=row).any()


@pytest.mark.parametrize("name", ROW_MOVES)
def test_only_four_bits_of_the_rows_number_count(name):
    """Of the immediate and of the register alike."""
    expected = moved(machine(), name, row=2)
    assert (moved(machine(), name, row=0xF2) == expected).all()
    made, all_ = machine(), registers()
    code = row_code(name, 3, 1, register=RDX)
    assert made.step(code, NOTHING, gpr={RDX: 0xFFFF_FFFF_FFFF_FFF2}, zmm=all_) == (OK, 0x400000 + len(code))
    assert (all_[3] == expected).all()


@pytest.mark.parametrize("name", ROW_MOVES)
def test_a_register_of_apx_holds_the_row(name):
    made, all_ = machine(), registers()
    code = row_code(name, 3, 1, register=20)
    assert made.step(code, NOTHING, zmm=all_)[0] == UD  # a CPU without APX
    assert (all_ == 0xC5).all()
    assert made.step(code, NOTHING, egpr={20: 2}, zmm=all_)[0] == OK
    assert (all_[3] == moved(machine(), name, row=2)).all()


@pytest.mark.parametrize("name", ROW_MOVES)
def test_start_row_is_ignored_and_reset(name):
    assert (moved(machine(start_row=200), name, row=1) == moved(machine(), name, row=1)).all()


@pytest.mark.parametrize("name", ROW_MOVES)
@pytest.mark.parametrize("shape", [(0, 0), (3, 10)])
def test_a_tile_that_cannot_be_used_is_ud(name, shape):
    """Without rows, or with colsb that is no multiple of 4; nothing changes."""
    made, all_ = machine(start_row=1, shape=shape), registers()
    assert made.step(row_code(name, 3, 1, row=0), NOTHING, zmm=all_) == (UD, 0x400000)
    assert (all_ == 0xC5).all()
    assert made.start_row == 1


@pytest.mark.parametrize("name", ROW_MOVES)
def test_without_configuration_is_ud(name):
    assert Machine().step(row_code(name, 3, 1, row=0), NOTHING, zmm=registers())[0] == UD


@pytest.mark.parametrize("name", ROW_MOVES)
def test_without_avx512_is_ud(name):
    made = machine(start_row=1)
    assert made.step(row_code(name, 3, 1, row=0), NOTHING)[0] == UD
    assert made.start_row == 1


def numbers(rng, count):
    """Words that are interesting as int32, binary32 or both."""
    kinds = (
        lambda: rng.getrandbits(32),
        lambda: rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000, 0xFF800000, 0x7F800001]),
        lambda: rng.getrandbits(1) << 31 | rng.randrange(1 << 23),
        lambda: rng.getrandbits(1) << 31 | rng.randrange(100, 145) << 23 | rng.getrandbits(23),
        # ties and their neighbours, for both halves
        lambda: (rng.randrange(95, 145) << 23 | rng.getrandbits(11) << 12) + rng.randrange(-1, 2),
        lambda: (rng.getrandbits(15) << 16 | 0x8000) + rng.randrange(-1, 2),
    )
    return [rng.choice(kinds)() for _ in range(count)]


@pytest.mark.parametrize("name", ROW_MOVES)
def test_conversions_equal_the_model(name):
    """16,000 words."""
    rng = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    for _ in range(1000):
        words = numbers(rng, 16)
        assert converted(name, words) == [numerics_model.ROWS[name](word) for word in words], words


@pytest.mark.parametrize(
    ("name", "dtype", "high"),
    [
        ("tcvtrowps2bf16h", ml_dtypes.bfloat16, True),
        ("tcvtrowps2bf16l", ml_dtypes.bfloat16, False),
        ("tcvtrowps2phh", np.float16, True),
        ("tcvtrowps2phl", np.float16, False),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_halves_equal_numpys_conversion(name, dtype, high):
    """Finite normal binary32 numbers, denormal results among them."""
    rng = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    for _ in range(500):
        words = np.array(numbers(rng, 16), np.uint32)
        exponents = words & 0x7F800000
        words[(exponents == 0) | (exponents == 0x7F800000)] = 0x3F800000
        halves = words.view(np.float32).astype(dtype).view(np.uint16).astype(np.uint32)
        assert converted(name, words) == (halves << 16 if high else halves).tolist()


def test_integers_equal_numpys_conversion():
    rng = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    for _ in range(500):
        words = np.array(numbers(rng, 16), np.uint32)
        expected = words.view(np.int32).astype(np.float32).view(np.uint32).tolist()
        assert converted("tcvtrowd2ps", words) == expected


@pytest.mark.parametrize(
    ("name", "word", "result"),
    [
        ("tcvtrowd2ps", 0x01000001, 0x4B800000),  # 2**24 + 1: the tie goes to even
        ("tcvtrowd2ps", 0x01000003, 0x4B800002),
        ("tcvtrowd2ps", 0x80000000, 0xCF000000),
        ("tcvtrowps2bf16l", 0x3F808000, 0x3F80),  # a tie
        ("tcvtrowps2bf16l", 0x3F818000, 0x3F82),
        ("tcvtrowps2bf16l", 0x7F7FFFFF, 0x7F80),  # overflow
        ("tcvtrowps2bf16l", 0x807FFFFF, 0x8000),  # a denormal is a zero
        ("tcvtrowps2bf16l", 0xFF800001, 0xFFC0),  # a signalling NaN becomes quiet
        ("tcvtrowps2bf16h", 0x7FA1FFFF, 0x7FE10000),
        ("tcvtrowps2phl", 0x33000000, 0x0000),  # 2**-25: half of the smallest denormal goes to even
        ("tcvtrowps2phl", 0x33000001, 0x0001),
        ("tcvtrowps2phl", 0x387FFFFF, 0x0400),  # rounds up to the smallest normal number
        ("tcvtrowps2phl", 0x477FEFFF, 0x7BFF),  # the largest that does not overflow
        ("tcvtrowps2phl", 0x477FF000, 0x7C00),
        ("tcvtrowps2phl", 0xFF802000, 0xFE01),
        ("tcvtrowps2phh", 0xC0000000, 0xC0000000),
    ],
)
def test_conversions_on_paper(name, word, result):
    assert hex(converted(name, [word] * 16)[0]) == hex(result)
