"""Which bytes are AMX instructions, which of AMX's encodings are #UD, and what the others say."""

import itertools
import random
import shutil
import subprocess

import children
import pytest
from emulator_encode import evex, row_code
from emulator_machine import INVALID, NOT_AMX, OPS, ROW_MOVES, VALID, WITHDRAWN, decode

from amx._lib import ffi, lib

RAX, RCX, RDX, RSP, RBP, RDI, R8, R9, R12, R13 = 0, 1, 2, 4, 5, 7, 8, 9, 12, 13
RIP = 32
NONE = -1

# VEX.128.<pp>.<map>.W0 <opcode>: the whole set (SDM vol. 2 and ISE reference, opcode tables). Map 0F38, but 5
# where the opcode is above 0xF0.
CONFIGURE = {(0x49, 0): "ldtilecfg", (0x49, 1): "sttilecfg"}
MOVE = {
    (0x4B, 3): "tileloadd",
    (0x4B, 1): "tileloaddt1",
    (0x4B, 2): "tilestored",
    (0x4A, 3): "tileloaddrs",
    (0x4A, 1): "tileloaddrst1",
}
PRODUCT = {
    (0x5E, 3): "tdpbssd",
    (0x5E, 2): "tdpbsud",
    (0x5E, 1): "tdpbusd",
    (0x5E, 0): "tdpbuud",
    (0x5C, 2): "tdpbf16ps",
    (0x5C, 3): "tdpfp16ps",
    (0x6C, 0): "tcmmrlfp16ps",
    (0x6C, 1): "tcmmimfp16ps",
    (0xFD, 0): "tdpbf8ps",
    (0xFD, 3): "tdpbhf8ps",
    (0xFD, 2): "tdphbf8ps",
    (0xFD, 1): "tdphf8ps",
}
WITHDRAWN_PRODUCT = {
    (0x48, 1): "tmmultf32ps",
    (0x48, 0): "ttmmultf32ps",
    (0x6C, 2): "ttdpbf16ps",
    (0x6C, 3): "ttdpfp16ps",
    (0x6B, 2): "ttcmmrlfp16ps",
    (0x6B, 3): "ttcmmimfp16ps",
    (0x6B, 0): "tconjtcmmimfp16ps",
}
WITHDRAWN_TRANSPOSE = {(0x6B, 1): "tconjtfp16", (0x5F, 2): "ttransposed"}
WITHDRAWN_MOVE = {
    (0x6E, 0): "t2rpntlvwz0",
    (0x6F, 0): "t2rpntlvwz0t1",
    (0x6E, 1): "t2rpntlvwz1",
    (0x6F, 1): "t2rpntlvwz1t1",
    (0xF8, 0): "t2rpntlvwz0rs",
    (0xF9, 0): "t2rpntlvwz0rst1",
    (0xF8, 1): "t2rpntlvwz1rs",
    (0xF9, 1): "t2rpntlvwz1rst1",
}


def vex_map(opcode):
    """Of the instructions with VEX encodings."""
    return 5 if opcode >= 0xF0 else 2


def hexed(code):
    return bytes.fromhex(code)


def fields(insn):
    """(mnemonic, tiles, base, index, scale, displacement, segment, address32, length)."""
    return (
        ffi.string(lib.amxemu_mnemonic(insn.op)).decode(),
        (insn.d, insn.a, insn.b),
        insn.base,
        insn.index,
        insn.scale,
        insn.displacement,
        insn.segment,
        insn.address32,
        insn.length,
    )


@pytest.mark.parametrize(
    ("code", "mnemonic", "tiles", "base", "index", "scale", "displacement"),
    [
        ("c4e2784900", "ldtilecfg", (0, 0, 0), RAX, NONE, 0, 0),
        ("c4e27849042c", "ldtilecfg", (0, 0, 0), RSP, RBP, 0, 0),
        ("c4e2784905f0ffffff", "ldtilecfg", (0, 0, 0), RIP, NONE, 0, -16),
        ("c4c2784945f8", "ldtilecfg", (0, 0, 0), R13, NONE, 0, -8),
        ("c4e2794980000100ff", "sttilecfg", (0, 0, 0), RAX, NONE, 0, -0xFFFF00),
        ("c4e27849c0", "tilerelease", (0, 0, 0), NONE, NONE, 0, 0),
        ("c4e27b49f8", "tilezero", (7, 0, 0), NONE, NONE, 0, 0),
        ("c4e27b4b1408", "tileloadd", (2, 0, 0), RAX, RCX, 0, 0),
        ("c4e27b4b1420", "tileloadd", (2, 0, 0), RAX, NONE, 0, 0),
        ("c4a27b4b5460c0", "tileloadd", (2, 0, 0), RAX, R12, 1, -64),
        ("c482794b7cc57f", "tileloaddt1", (7, 0, 0), R13, R8, 3, 127),
        ("c4e27a4b348d78563412", "tilestored", (6, 0, 0), NONE, RCX, 2, 0x12345678),
        ("c4e2635eca", "tdpbssd", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e2425ef5", "tdpbsud", (6, 5, 7), NONE, NONE, 0, 0),
        ("c4e2795ed1", "tdpbusd", (2, 1, 0), NONE, NONE, 0, 0),
        ("c4e2605eca", "tdpbuud", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e2625cca", "tdpbf16ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e2635cca", "tdpfp16ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e2606cca", "tcmmrlfp16ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e2616cca", "tcmmimfp16ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e560fdca", "tdpbf8ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e563fdca", "tdpbhf8ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e562fdca", "tdphbf8ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e561fdca", "tdphf8ps", (1, 2, 3), NONE, NONE, 0, 0),
        ("c4e27b4a5c5708", "tileloaddrs", (3, 0, 0), RDI, RDX, 1, 8),
        ("c482794a640820", "tileloaddrst1", (4, 0, 0), R8, R9, 0, 32),
    ],
)
def test_hand_assembled(code, mnemonic, tiles, base, index, scale, displacement):
    """Operands and length, whatever follows."""
    code = hexed(code)
    verdict, insn = decode(code + b"\xcc" * 4)
    assert verdict == VALID
    assert fields(insn) == (mnemonic, tiles, base, index, scale, displacement, -1, 0, len(code))
    assert bool(insn.has_memory) == (mnemonic in {*CONFIGURE.values(), *MOVE.values()})


def expected_verdict(opcode, pp, w, l_bit, r, b, vvvv, modrm):
    """By the rules of the instruction pages and what silicon was seen to ignore."""
    mod, reg, rm = modrm >> 6, modrm >> 3 & 7, modrm & 7
    memory = mod != 3
    key = (opcode, pp)
    if key in MOVE or key in WITHDRAWN_MOVE:
        legal = memory and rm == 4 and r == 0 and vvvv == 0
    elif key in PRODUCT or key in WITHDRAWN_PRODUCT:
        legal = not memory and r == b == 0 and vvvv < 8 and len({reg, rm, vvvv}) == 3
    elif key in WITHDRAWN_TRANSPOSE:
        legal = not memory and r == b == 0 and vvvv == 0
    elif key == (0x49, 3):
        legal = not memory and rm == 0 and r == 0 and vvvv == 0
    elif key == (0x49, 1):
        legal = memory and reg == 0 and vvvv == 0
    elif key == (0x49, 0):
        legal = ((memory and reg == 0) or modrm == 0xC0) and vvvv == 0
    else:
        return NOT_AMX
    if not legal or w or l_bit:
        return INVALID
    withdrawn = key in WITHDRAWN_PRODUCT or key in WITHDRAWN_TRANSPOSE or key in WITHDRAWN_MOVE
    return WITHDRAWN if withdrawn else VALID


ALL_VEX = {**CONFIGURE, **MOVE, **PRODUCT, **WITHDRAWN_PRODUCT, **WITHDRAWN_TRANSPOSE, **WITHDRAWN_MOVE}
ALL_VEX |= {(0x49, 3): "tilezero"}
NAMED = {ffi.string(lib.amxemu_mnemonic(op)).decode(): op for op in range(lib.AMXEMU_NAMED_OPS)}


def name_of(opcode, pp, modrm):
    """Of an encoding without errors."""
    return "tilerelease" if (opcode, pp, modrm) == (0x49, 0, 0xC0) else ALL_VEX[opcode, pp]


VEX_OPCODES = sorted({opcode for opcode, _ in ALL_VEX})


@pytest.mark.parametrize("opcode", VEX_OPCODES)
def test_every_vex_payload_and_modrm(opcode):
    """All R, X, B, W, vvvv, L, pp and ModRM of each opcode: 524,288 encodings each."""
    insn = ffi.new("struct amxemu_insn *")
    code = bytearray([0xC4, 0, 0, opcode, 0, 0x24, 1, 2, 3, 4])
    buffer = ffi.from_buffer("uint8_t[]", code)
    wrong = []
    for p0, p1 in itertools.product(range(vex_map(opcode), 0x100, 0x20), range(256)):
        r, b, vvvv = ~p0 >> 7 & 1, ~p0 >> 5 & 1, ~p1 >> 3 & 15
        code[1], code[2] = p0, p1
        for modrm in range(256):
            code[4] = modrm
            found = lib.amxemu_decode(buffer, len(code), insn)
            expected = expected_verdict(opcode, p1 & 3, p1 >> 7, p1 >> 2 & 1, r, b, vvvv, modrm)
            named = found not in (VALID, WITHDRAWN) or insn.op == NAMED[name_of(opcode, p1 & 3, modrm)]
            if found != expected or not named:
                wrong.append(code.hex())
    assert not wrong


@pytest.mark.parametrize("mod", [0, 1, 2])
def test_every_sib(mod):
    """Base, index, scale and displacement: no index is 100b without X; no base is 101b in mod 0, B or not."""
    for x, b, sib in itertools.product((0, 1), (0, 1), range(256)):
        code = bytes([0xC4, 0xE2 & ~(x << 6 | b << 5), 0x7B, 0x4B, mod << 6 | 4, sib, 0x80, 0x81, 0x82, 0x83])
        verdict, insn = decode(code)
        index = sib >> 3 & 7 | x << 3
        base = sib & 7 | b << 3
        no_base = mod == 0 and sib & 7 == 5
        size = 4 if no_base else (0, 1, 4)[mod]
        displacement = int.from_bytes(code[6 : 6 + size], "little", signed=True)
        assert verdict == VALID
        assert (insn.base, insn.index) == (NONE if no_base else base, NONE if index == 4 else index)
        assert (insn.scale, insn.displacement, insn.length) == (sib >> 6, displacement, 6 + size)


@pytest.mark.parametrize("b", [0, 1])
@pytest.mark.parametrize("modrm", [modrm for modrm in range(0xC0) if modrm & 0x38 == 0])
def test_every_address_of_a_configuration(b, modrm):
    """Without SIB too; mod 0 with rm 101b is relative to RIP, B or not."""
    code = bytes([0xC4, 0xE2 & ~(b << 5), 0x78, 0x49, modrm, 0x24, 0x11, 0x12, 0x13, 0x14])
    verdict, insn = decode(code)
    mod, rm = modrm >> 6, modrm & 7
    assert verdict == VALID
    if rm == 4:
        assert (insn.base, insn.length) == (4 | b << 3, 6 + (0, 1, 4)[mod])
    elif mod == 0 and rm == 5:
        assert (insn.base, insn.length) == (RIP, 9)
    else:
        assert (insn.base, insn.length) == (rm | b << 3, 5 + (0, 1, 4)[mod])


LEGACY = (0x66, 0xF2, 0xF3, 0xF0)
IGNORED = (0x26, 0x2E, 0x36, 0x3E)
REX = (0x40, 0x48, 0x4F)
PREFIXES = (*LEGACY, *IGNORED, *REX, 0x64, 0x65, 0x67)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
@pytest.mark.parametrize("insn", ["c4e27b4b1408", "c4e2635eca", "c4e2784900", "c4e560fdca", "62f265484aca"])
def test_every_sequence_of_prefixes(insn, length):
    """66, F2, F3 and LOCK anywhere, and REX directly before VEX or EVEX, are #UD; another REX is ignored."""
    insn = hexed(insn)
    for prefixes in itertools.product(PREFIXES, repeat=length):
        verdict, decoded = decode(bytes(prefixes) + insn)
        forbidden = set(prefixes) & set(LEGACY) or (prefixes[-1:] and prefixes[-1] in REX)
        assert verdict == (INVALID if forbidden else VALID), bytes(prefixes).hex()
        if verdict == VALID:
            segments = [prefix - 0x60 for prefix in prefixes if prefix in (0x64, 0x65)]
            assert decoded.segment == (segments or [-1])[-1]
            assert decoded.address32 == (0x67 in prefixes)
            assert decoded.length == length + len(insn)


@pytest.mark.parametrize(
    "code",
    [
        "0f0b",  # ud2
        "90",
        "c5f877",  # vzeroupper
        "c4e178494800",  # other maps
        "c4e3635eca01",
        "c4e5635eca",
        "c4e2f3f5c2",  # pdep
        "c4e2715cca",  # 66 and none of 5C: unassigned
        "c4e2705cca",
        "c4e2784b1408",  # none of 4B
        "c4e27a49c0",  # F3 of 49
        "c4e2626dca",  # 6D has no VEX encoding
        "c4e5606cca",  # 6C of map 5
        "c4e260fdca",  # FD of map 0F38
        "c4e2784a1408",  # none of 4A
        "c4e26ff5ca",
        "62f27f0849c0",  # tilezero and products have no EVEX encoding
        "62f2670848ca",
        "62f37c4877c000",  # none of EVEX 0F3A 77
        "62f17c48588000000000",  # vaddps
        "d5804900",  # REX2
        "",
    ],
)
def test_other_instructions_are_not_amx(code):
    assert decode(hexed(code))[0] == NOT_AMX


@pytest.mark.parametrize(
    "code",
    [
        "6465c4c27b4b948c12345678",
        "67c4e2784905f0ffffff",
        "c4e2635eca",
        "3ec4e27849c0",
        "62637d4807ea12",
        "62f265484aca",
    ],
)
def test_too_few_bytes_are_not_amx(code):
    code = hexed(code)
    assert decode(code)[0] == VALID
    for size in range(len(code)):
        assert decode(code[:size])[0] == NOT_AMX


def test_more_than_15_bytes_are_not_amx():
    """The CPU raises #GP for those, whatever they are."""
    insn = hexed("c4e27b4b940812345678")
    assert decode(b"\x3e" * 5 + insn)[0] == VALID
    assert decode(b"\x3e" * 6 + insn)[0] == NOT_AMX


# ---- EVEX ----


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


@pytest.mark.parametrize(
    ("code", "mnemonic"),
    [  # of assemblers' own test suites
        ("c4e26148ca", "tmmultf32ps"),
        ("c4e25848f5", "ttmmultf32ps"),
        ("c4e2606bca", "tconjtcmmimfp16ps"),
        ("c4e2796bca", "tconjtfp16"),
        ("c4e25b6bf5", "ttcmmimfp16ps"),
        ("c4e25a6bf5", "ttcmmrlfp16ps"),
        ("c4c2786e1421", "t2rpntlvwz0"),
        ("c4c2786f1421", "t2rpntlvwz0t1"),
        ("c4c2796e1421", "t2rpntlvwz1"),
        ("c4a2796fb4f500000010", "t2rpntlvwz1t1"),
        ("c4c578f81421", "t2rpntlvwz0rs"),
        ("c4c578f91421", "t2rpntlvwz0rst1"),
        ("c4c579f81421", "t2rpntlvwz1rs"),
        ("c4a579f9b4f500000010", "t2rpntlvwz1rst1"),
        ("62da7c086eb4c723010000", "t2rpntlvwz0"),
        ("62dd7d08f9b4c723010000", "t2rpntlvwz1rst1"),
    ],
)
def test_withdrawn_instructions_are_named(code, mnemonic):
    code = hexed(code)
    verdict, insn = decode(code + b"\xcc")
    assert verdict == WITHDRAWN
    assert ffi.string(lib.amxemu_mnemonic(insn.op)).decode() == mnemonic
    assert insn.length == len(code)


# ---- against the GNU assembler ----

REGISTERS64 = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 32)))
REGISTERS32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", *(f"r{n}d" for n in range(8, 32)))


def random_address(rng, rip, registers):
    """Assembler text, and (base, index, scale, displacement, segment, address32)."""
    address32 = rng.random() < 0.2
    names = REGISTERS32 if address32 else REGISTERS64
    displacement = rng.choice([0, rng.randint(-128, 127), rng.randint(-(2**31), 2**31 - 1)])
    segment = rng.choice([-1, -1, -1, 4, 5])
    prefix = {-1: "", 4: "fs:", 5: "gs:"}[segment]
    if rip and rng.random() < 0.3:
        name = "eip" if address32 else "rip"
        return f"{prefix}[{name}{displacement:+d}]", (RIP, NONE, 0, displacement, segment, int(address32))
    base = rng.choice(registers)
    index, scale = NONE, 0
    text = names[base]
    if rng.random() < 0.8:
        index, scale = rng.choice([n for n in registers if n != RSP]), rng.randrange(4)
        text += f"+{names[index]}*{1 << scale}"
    return f"{prefix}[{text}{displacement:+d}]", (base, index, scale, displacement, segment, int(address32))


def random_insn(rng, mnemonic, registers):
    """Assembler text, tiles, address, and row (register, number)."""
    nothing, no_row = (NONE, NONE, 0, 0, -1, 0), (NONE, 0)
    if mnemonic == "tilerelease":
        return mnemonic, (0, 0, 0), nothing, no_row
    if mnemonic in CONFIGURE.values():
        text, address = random_address(rng, True, registers)
        return f"{mnemonic} {text}", (0, 0, 0), address, no_row
    if mnemonic in PRODUCT.values():
        d, a, b = rng.sample(range(8), 3)
        return f"{mnemonic} tmm{d}, tmm{a}, tmm{b}", (d, a, b), nothing, no_row
    if mnemonic in ROW_MOVES:
        zmm, tile, register, number = (
            rng.randrange(32),
            rng.randrange(8),
            rng.choice(registers),
            rng.randrange(256),
        )
        text = f"{mnemonic} zmm{zmm}, tmm{tile}, "
        if rng.random() < 0.5:
            return text + str(number), (zmm, tile, 0), nothing, (NONE, number)
        return text + REGISTERS32[register], (zmm, tile, 0), nothing, (register, 0)
    tile = rng.randrange(8)
    if mnemonic == "tilezero":
        return f"{mnemonic} tmm{tile}", (tile, 0, 0), nothing, no_row
    text, address = random_address(rng, False, registers)
    operands = f"{text}, tmm{tile}" if mnemonic == "tilestored" else f"tmm{tile}, {text}"
    return f"{mnemonic} {operands}", (tile, 0, 0), address, no_row


def assembled(source, directory):
    """Machine code, or what the assembler does not know, as its message begins."""
    result = children.run(
        ["as", "--64", "-o", directory / "code.o"], input=source, text=True, capture_output=True
    )
    for complaint in ("no such instruction", "bad register name"):
        if complaint in result.stderr:
            return complaint
    assert result.returncode == 0, result.stderr
    children.run(
        ["objcopy", "-O", "binary", "-j", ".text", directory / "code.o", directory / "code"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return (directory / "code").read_bytes()


def agree_with_the_assembler(mnemonic, registers, directory):
    """200 random operands."""
    rng = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    insns = [random_insn(rng, mnemonic, registers) for _ in range(200)]
    code = assembled(".intel_syntax noprefix\n" + "".join(f"{insn[0]}\n" for insn in insns), directory)
    if isinstance(code, str):
        pytest.skip(f"this assembler does not know {mnemonic}")
    for text, tiles, address, row in insns:
        verdict, insn = decode(code)
        assert verdict == VALID, text
        assert fields(insn)[:-1] == (mnemonic, tiles, *address), text
        assert (insn.row_register, insn.row) == row, text
        assert insn.apx == any(register > 15 and register != RIP for register in (*address[:2], row[0])), text
        code = code[insn.length :]
    assert not code


@pytest.fixture
def assembler():
    """The GNU assembler, or what takes its place on PATH."""
    if not (shutil.which("as") and shutil.which("objcopy")):
        pytest.skip("no GNU binutils")


@pytest.mark.usefixtures("assembler")
@pytest.mark.parametrize("mnemonic", OPS)
def test_the_assemblers_encodings(mnemonic, tmp_path):
    """200 random operands each: what `as` encodes decodes to the same."""
    agree_with_the_assembler(mnemonic, range(16), tmp_path)


@pytest.mark.usefixtures("assembler")
@pytest.mark.parametrize("mnemonic", [*CONFIGURE.values(), *MOVE.values(), *ROW_MOVES])
def test_the_assemblers_encodings_with_apx(mnemonic, tmp_path):
    """The same with registers r16 to r31."""
    if isinstance(assembled("mov %r16, %rax\n", tmp_path), str):
        pytest.skip(f"this assembler does not know r16 to r31, so not the EVEX encoding of {mnemonic}")
    agree_with_the_assembler(mnemonic, range(32), tmp_path)
