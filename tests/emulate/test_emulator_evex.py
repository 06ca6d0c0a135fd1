"""EVEX encodings: row moves and the registers of APX; which are #UD, and what the others say."""

import itertools

import pytest
from emulator_encode import evex, row_code
from emulator_machine import INVALID, OPS, ROW_MOVES, VALID, decode
from emulator_opcodes import CONFIGURE, MOVE, NONE, R9, RAX, RDX, fields, hexed

from amx._lib import ffi, lib


@pytest.mark.parametrize(
    ("code", "mnemonic", "zmm", "tile", "register", "row", "apx"),
    [  # of assemblers' own test suites
        ("62f265484aca", "tilemovrow", 1, 2, 3, 0, 0),
        ("62f37d4807ca08", "tilemovrow", 1, 2, -1, 8, 0),
        ("62626e484af5", "tcvtrowd2ps", 30, 5, 2, 0, 0),
        ("62637e4807f508", "tcvtrowd2ps", 30, 5, -1, 8, 0),
        ("62626f486df5", "tcvtrowps2bf16h", 30, 5, 2, 0, 0),
        ("62637f4807f508", "tcvtrowps2bf16h", 30, 5, -1, 8, 0),
        ("62626e486df5", "tcvtrowps2bf16l", 30, 5, 2, 0, 0),
        ("62637e4877f508", "tcvtrowps2bf16l", 30, 5, -1, 8, 0),
        ("62626c486df5", "tcvtrowps2phh", 30, 5, 2, 0, 0),
        ("62637c4807f508", "tcvtrowps2phh", 30, 5, -1, 8, 0),
        ("62626d486df5", "tcvtrowps2phl", 30, 5, 2, 0, 0),
        ("62637f4877f508", "tcvtrowps2phl", 30, 5, -1, 8, 0),
        ("62f20d404aca", "tilemovrow", 1, 2, 30, 0, 1),  # APX: row in r30d
        ("62f20d406dca", "tcvtrowps2phl", 1, 2, 30, 0, 1),
        ("62637d4807ea12", "tilemovrow", 29, 2, -1, 0x12, 0),
    ],
)
def test_hand_assembled_row_moves(code, mnemonic, zmm, tile, register, row, apx):
    code = hexed(code)
    verdict, insn = decode(code + b"\xcc" * 4)
    assert verdict == VALID
    assert fields(insn) == (mnemonic, (zmm, tile, 0), NONE, NONE, 0, 0, -1, 0, len(code))
    assert (insn.row_register, insn.row, insn.apx, insn.has_memory) == (register, row, apx, 0)


@pytest.mark.parametrize("name", ROW_MOVES)
def test_every_operand_of_row_moves(name):
    """32 ZMM registers, 8 tiles, 32 registers or 256 constants; EVEX.X does not count."""
    for zmm, tile, register in itertools.product(range(32), range(8), range(32)):
        verdict, insn = decode(row_code(name, zmm, tile, register=register, index=8 * (tile & 1)))
        assert verdict == VALID
        assert (insn.op, insn.d, insn.a, insn.row_register) == (OPS[name], zmm, tile, register)
        assert insn.apx == (register >= 16)
    for row in range(256):
        verdict, insn = decode(row_code(name, 3, 4, row=row))
        assert (verdict, insn.row, insn.row_register, insn.length) == (VALID, row, -1, 7)


@pytest.mark.parametrize("name", ROW_MOVES)
@pytest.mark.parametrize("form", [{"register": 2}, {"row": 2}])
@pytest.mark.parametrize(
    "broken",
    [
        {"w": 1},
        {"length": 0},
        {"length": 1},
        {"length": 3},
        {"z": 1},
        {"b": 1},
        {"rm": 8},
        {"rm": 16},
        {"index": 16},
        {"aaa": 1},
        {"aaa": 2},
        {"aaa": 4},
    ],
    ids=str,
)
def test_row_moves_that_are_ud(name, form, broken):
    """EVEX.W, vector length, zeroing, broadcast, masking, tiles from 8 on."""
    assert decode(row_code(name, 1, 2, **form))[0] == VALID
    assert decode(row_code(name, 1, 2, **form, **broken))[0] == INVALID


@pytest.mark.parametrize("name", ROW_MOVES)
def test_an_immediate_row_leaves_no_use_for_vvvv(name):
    for vvvv in range(1, 32):
        assert decode(row_code(name, 1, 2, row=2, vvvv=vvvv))[0] == INVALID


@pytest.mark.parametrize(
    ("code", "mnemonic", "tile", "base", "index", "scale", "displacement"),
    [  # of assemblers' own test suites, but for the first two
        ("62fa7c084907", "ldtilecfg", 0, 23, NONE, 0, 0),
        ("62da7d08490487", "sttilecfg", 0, 31, RAX, 2, 0),
        ("62da7f084a7c5708", "tileloaddrs", 7, 31, RDX, 1, 8),
        ("629a7d084a640920", "tileloaddrst1", 4, 25, R9, 0, 32),
        ("629a7f084a8c2e80000000", "tileloaddrs", 1, 30, 13, 0, 128),
    ],
)
def test_hand_assembled_apx(code, mnemonic, tile, base, index, scale, displacement):
    """Registers up to r31; the 8-bit displacement is not scaled."""
    code = hexed(code)
    verdict, insn = decode(code)
    assert verdict == VALID
    assert fields(insn) == (mnemonic, (tile, 0, 0), base, index, scale, displacement, -1, 0, len(code))
    assert insn.apx


APX = {**CONFIGURE, **MOVE}


@pytest.mark.parametrize(("opcode", "pp"), APX)
def test_every_register_of_apx(opcode, pp):
    """32 bases times 32 indexes; index 4 is none, and so no base is with mod 0 and 101b, whatever B is."""
    reg = 0 if opcode == 0x49 else 5
    for mod, base, index in itertools.product((0, 1), range(32), range(32)):
        code = evex(2, pp, opcode, mod << 6 | reg << 3 | 4, (index & 7) << 3 | base & 7, 1, 2, 3, 4,
                    rm=base, index=index)  # fmt: skip
        verdict, insn = decode(code)
        no_base = mod == 0 and base & 7 == 5
        assert verdict == VALID
        assert ffi.string(lib.amxemu_mnemonic(insn.op)).decode() == APX[opcode, pp]
        assert (insn.base, insn.index) == (NONE if no_base else base, NONE if index == 4 else index)
        assert insn.length == 7 + (4 if no_base else mod)
        assert insn.apx


@pytest.mark.parametrize(("opcode", "pp"), APX)
@pytest.mark.parametrize(
    "broken",
    [
        {"w": 1},
        {"length": 1},
        {"length": 2},
        {"length": 3},
        {"z": 1},
        {"b": 1},
        {"vvvv": 1},
        {"vvvv": 16},
        {"aaa": 1},
        {"aaa": 2},
        {"aaa": 4},
    ],
    ids=str,
)
def test_apx_forms_that_are_ud(opcode, pp, broken):
    """W, vector length, zeroing, broadcast, masking, NF (bit 2 of aaa), vvvv in use."""
    assert decode(evex(2, pp, opcode, 0x04, 0x20))[0] == VALID
    assert decode(evex(2, pp, opcode, 0x04, 0x20, **broken))[0] == INVALID


@pytest.mark.parametrize(("opcode", "pp"), MOVE)
@pytest.mark.parametrize("reg", [8, 16])
def test_apx_has_no_more_tiles(opcode, pp, reg):
    assert decode(evex(2, pp, opcode, 0x04, 0x20, reg=reg))[0] == INVALID
