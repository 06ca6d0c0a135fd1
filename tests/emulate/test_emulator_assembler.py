"""What the GNU assembler encodes decodes to the same."""

import random
import shutil
import subprocess

import children
import pytest
from emulator_machine import OPS, ROW_MOVES, VALID, decode
from emulator_opcodes import CONFIGURE, MOVE, NONE, PRODUCT, RIP, RSP, fields

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
