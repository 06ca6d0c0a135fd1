"""Which bytes are AMX instructions, which of AMX's encodings are #UD, and what the others say."""

import itertools
import random
import shutil
import subprocess

import pytest
from emulator_machine import INVALID, NOT_AMX, OPS, VALID, decode

from amx._lib import ffi, lib

RAX, RCX, RSP, RBP, R8, R12, R13 = 0, 1, 4, 5, 8, 12, 13
RIP = 16
NONE = -1

# VEX.128.<pp>.0F38.W0 <opcode>: the whole set (SDM vol. 2, opcode tables of the instruction pages).
CONFIGURE = {(0x49, 0): "ldtilecfg", (0x49, 1): "sttilecfg"}
MOVE = {(0x4B, 3): "tileloadd", (0x4B, 1): "tileloaddt1", (0x4B, 2): "tilestored"}
PRODUCT = {
    (0x5E, 3): "tdpbssd",
    (0x5E, 2): "tdpbsud",
    (0x5E, 1): "tdpbusd",
    (0x5E, 0): "tdpbuud",
    (0x5C, 2): "tdpbf16ps",
    (0x5C, 3): "tdpfp16ps",
}


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
    if key in MOVE:
        legal = memory and rm == 4 and r == 0 and vvvv == 0
    elif key in PRODUCT:
        legal = not memory and r == b == 0 and vvvv < 8 and len({reg, rm, vvvv}) == 3
    elif key == (0x49, 3):
        legal = not memory and rm == 0 and r == 0 and vvvv == 0
    elif key == (0x49, 1):
        legal = memory and reg == 0 and vvvv == 0
    elif key == (0x49, 0):
        legal = ((memory and reg == 0) or modrm == 0xC0) and vvvv == 0
    else:
        return NOT_AMX
    return VALID if legal and w == l_bit == 0 else INVALID


@pytest.mark.parametrize("opcode", [0x49, 0x4B, 0x5C, 0x5E])
def test_every_vex_payload_and_modrm(opcode):
    """All R, X, B, W, vvvv, L, pp and ModRM of the four opcodes: 524,288 encodings each."""
    insn = ffi.new("struct amxemu_insn *")
    code = bytearray([0xC4, 0, 0, opcode, 0, 0x24, 1, 2, 3, 4])
    buffer = ffi.from_buffer("uint8_t[]", code)
    wrong = []
    for p0, p1 in itertools.product(range(0x02, 0x100, 0x20), range(256)):
        r, b, vvvv = ~p0 >> 7 & 1, ~p0 >> 5 & 1, ~p1 >> 3 & 15
        code[1], code[2] = p0, p1
        for modrm in range(256):
            code[4] = modrm
            found = lib.amxemu_decode(buffer, len(code), insn)
            if found != expected_verdict(opcode, p1 & 3, p1 >> 7, p1 >> 2 & 1, r, b, vvvv, modrm):
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
@pytest.mark.parametrize("insn", ["c4e27b4b1408", "c4e2635eca", "c4e2784900"])
def test_every_sequence_of_prefixes(insn, length):
    """66, F2, F3 and LOCK anywhere, and REX directly before VEX, are #UD; any other REX has no effect."""
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
        "c4e2606cca",  # tcmmrlfp16ps
        "c4e27b4a1408",  # tileloaddrs
        "c4e26148ca",  # tmmultf32ps
        "c4e26ff5ca",
        "62f27d084900",  # EVEX
        "d5804900",  # REX2
        "",
    ],
)
def test_other_instructions_are_not_amx(code):
    assert decode(hexed(code))[0] == NOT_AMX


@pytest.mark.parametrize(
    "code", ["6465c4c27b4b948c12345678", "67c4e2784905f0ffffff", "c4e2635eca", "3ec4e27849c0"]
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


# ---- against the GNU assembler ----

REGISTERS64 = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
REGISTERS32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", *(f"r{n}d" for n in range(8, 16)))


def random_address(rng, rip):
    """Assembler text, and (base, index, scale, displacement, segment, address32)."""
    address32 = rng.random() < 0.2
    names = REGISTERS32 if address32 else REGISTERS64
    displacement = rng.choice([0, rng.randint(-128, 127), rng.randint(-(2**31), 2**31 - 1)])
    segment = rng.choice([-1, -1, -1, 4, 5])
    prefix = {-1: "", 4: "fs:", 5: "gs:"}[segment]
    if rip and rng.random() < 0.3:
        name = "eip" if address32 else "rip"
        return f"{prefix}[{name}{displacement:+d}]", (RIP, NONE, 0, displacement, segment, int(address32))
    base = rng.randrange(16)
    index, scale = NONE, 0
    text = names[base]
    if rng.random() < 0.8:
        index, scale = rng.choice([n for n in range(16) if n != RSP]), rng.randrange(4)
        text += f"+{names[index]}*{1 << scale}"
    return f"{prefix}[{text}{displacement:+d}]", (base, index, scale, displacement, segment, int(address32))


def random_insn(rng, mnemonic):
    """Assembler text, tiles and address."""
    nothing = (NONE, NONE, 0, 0, -1, 0)
    if mnemonic == "tilerelease":
        return mnemonic, (0, 0, 0), nothing
    if mnemonic in CONFIGURE.values():
        text, address = random_address(rng, rip=True)
        return f"{mnemonic} {text}", (0, 0, 0), address
    if mnemonic in PRODUCT.values():
        d, a, b = rng.sample(range(8), 3)
        return f"{mnemonic} tmm{d}, tmm{a}, tmm{b}", (d, a, b), nothing
    tile = rng.randrange(8)
    if mnemonic == "tilezero":
        return f"{mnemonic} tmm{tile}", (tile, 0, 0), nothing
    text, address = random_address(rng, rip=False)
    operands = f"{text}, tmm{tile}" if mnemonic == "tilestored" else f"tmm{tile}, {text}"
    return f"{mnemonic} {operands}", (tile, 0, 0), address


@pytest.mark.parametrize("mnemonic", OPS)
def test_the_gnu_assemblers_encodings(mnemonic, tmp_path):
    """200 random operands each: what `as` encodes decodes to the same."""
    if not (shutil.which("as") and shutil.which("objcopy")):
        pytest.skip("no GNU binutils")
    rng = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    insns = [random_insn(rng, mnemonic) for _ in range(200)]
    source = ".intel_syntax noprefix\n" + "".join(f"{text}\n" for text, _, _ in insns)
    assembled = subprocess.run(
        ["as", "--64", "-o", tmp_path / "code.o"], input=source, text=True, capture_output=True
    )
    if "no such instruction" in assembled.stderr:
        pytest.skip(f"this assembler does not know {mnemonic}")
    assert assembled.returncode == 0, assembled.stderr
    subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".text", tmp_path / "code.o", tmp_path / "code"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    code = (tmp_path / "code").read_bytes()
    for text, tiles, (base, index, scale, displacement, segment, address32) in insns:
        verdict, insn = decode(code)
        assert verdict == VALID, text
        expected = (mnemonic, tiles, base, index, scale, displacement, segment, address32)
        assert fields(insn)[:-1] == expected, text
        code = code[insn.length :]
    assert not code
