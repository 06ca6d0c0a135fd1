"""Which bytes are AMX instructions, which of AMX's VEX encodings are #UD, and what the others say."""

import itertools

import pytest
from emulator_machine import INVALID, NOT_AMX, VALID, WITHDRAWN, decode
from emulator_opcodes import (
    CONFIGURE,
    MOVE,
    NONE,
    PRODUCT,
    R8,
    R9,
    R12,
    R13,
    RAX,
    RBP,
    RCX,
    RDI,
    RDX,
    RIP,
    RSP,
    WITHDRAWN_MOVE,
    WITHDRAWN_PRODUCT,
    WITHDRAWN_TRANSPOSE,
    fields,
    hexed,
    vex_map,
)

from amx._lib import ffi, lib


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
