"""Instruction lengths against the disassembler, and sites that are found against what an ELF object holds."""

import importlib.util
import os
import platform
import re
import shutil
import sys
from pathlib import Path

import children
import pytest
import scanning
from compiling import compiler
from emulator_encode import row_code
from scanning import CONFIG, CPUID, XGETBV, scan

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="about x86-64 code")

ENOEXEC = 8
PREFIX_ALONE = re.compile(r"(rex(\.\w+)?|\w+ rex(\.\w+)?|data16|addr32|lock|repn?z|[cdefgs]s)$")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return scanning.load(scanning.build(tmp_path_factory.mktemp("code_scan") / "code_scan.so"))


def length(library, code):
    return library.insn_length(bytes(code), len(code))


# ---- lengths


def native_objects():
    """Executable files of different origin that are here: Python, its C library, ours."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    libraries = {line.split()[-1] for line in maps if re.search(r"/lib(c|m|python3\.\d+)[.-].*so", line)}
    ours = importlib.util.find_spec("amx._native").origin
    return sorted({*libraries, ours, os.path.realpath(sys.executable)})


def disassembled(path):
    """(address, bytes, text) of each instruction that objdump knows."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    command = ["objdump", "-d", "-w", "--insn-width=16", path]
    output = children.run(command, capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        columns = line.split("\t")
        if len(columns) == 3 and "(bad)" not in line and not columns[2].startswith("."):
            yield int(columns[0].strip(" :"), 16), bytes.fromhex(columns[1]), columns[2].strip()


@pytest.mark.parametrize("path", native_objects(), ids=lambda path: Path(path).name)
def test_lengths_are_the_disassemblers(library, path):
    """But for prefixes that it prints alone, and for WAIT, which it joins with what follows."""
    instructions = [
        (code, text)
        for _, code, text in disassembled(path)
        if code[0] != 0x9B and not PREFIX_ALONE.match(text)
    ]
    lengths = bytes(len(code) for code, _ in instructions)
    at = library.first_difference(b"".join(code for code, _ in instructions), lengths, len(lengths))
    assert lengths
    assert at == -1, instructions[at]


@pytest.mark.parametrize(
    "code",
    [
        "0fa2", "0f01d0", "c3", "f30f1efa", "c9", "c8100000", "c21000", "cd80",
        "b878563412", "48b8efcdab8967452301", "66b83412", "48c7c001000000", "66c7002301", "66480500000001",
        "a1efcdab8967452301", "67a178563412", "f600ff", "f610", "f7c001000000", "66f7c00100", "f7d0",
        "488d04c500000000", "8b0425a0000000", "8b05a0000000", "8b4424a0", "8b842400010000", "8b45a0",
        "678b00", "0f05", "0f0b", "0f1f840000000000", "0f84a0000000", "ebfe", "e800000000", "67e800000000",
        "66666648e800000000", "0f20c0", "0f2000", "0f3800c0", "0f3a0fc108", "660f3a0fc108",
        "0f0f00bf", "660f78c00102", "f20f78c80102", "0f78c8", "0fb900", "0fffc0",
        "c5f877", "c5fc77", "c5f1c4c001", "c4e37d19c101", "c4e2f8f2c1", "c5fb70c001", "8fe878a2c120",
        "8fe97801c8", "8fea7810c000000001", "8fc0", "8f00",
        "62f17c4858c0", "62f17c485840ff", "62f37d482500ff", "62f54c4858c0", "62f67c484cc0",
        "c4e27849c0", "c4e2784904c8", "c4e27b4b0408", "c4e2735ec2", "c4e27b49c0",
        "c7f800000000", "c6f801",
        # APX: REX2, its JMPABS and its second map; EVEX map 4
        "d51889c0", "d54889c0", "d508b8efcdab8967452301", "d500a1efcdab8967452301", "d580afc0", "d598a2",
        "62f47c1801c0", "62f47c1881c001000000", "62f47d1881c00100", "62f4fd1881c001000000",
        "62f47c1883c001", "62f47c1824c001", "62f47c08f6c001", "62f47c08f6d0", "62f47c08f7c001000000",
    ],
)  # fmt: skip
def test_hand_assembled(library, code):
    """Each as the SDM, AMD's manual or the APX specification composes it; and none with one byte less."""
    code = bytes.fromhex(code)
    assert length(library, code + bytes([0xCC] * 8)) == len(code)
    assert length(library, code[:-1]) in range(len(code))
    assert length(library, code[:-1]) != len(code)


@pytest.mark.parametrize(
    "code", ["06", "ea", "9a", "d6", "0f04", "0f24", "0f3b", "c5", "62", "66e800000000",
             "660f8400000000", "66c5f877", "48c5f877", "f0c4e27849c0", "c4e0780000", "62f07c4858c0",
             "d58038c0"]
)  # fmt: skip
def test_what_has_no_length(library, code):
    """Not in 64-bit mode, #UD because of a prefix, undefined maps, or different on Intel and AMD."""
    assert length(library, bytes.fromhex(code)) == 0


def test_an_instruction_has_at_most_15_bytes(library):
    assert length(library, bytes([0x66] * 14 + [0x90])) == 15
    assert length(library, bytes([0x66] * 15 + [0x90])) == 0


@pytest.mark.parametrize("name", ["tilemovrow", "tcvtrowd2ps", "tcvtrowps2bf16h", "tcvtrowps2phl"])
def test_row_moves(library, name):
    assert length(library, row_code(name, 3, 1, register=2)) == 6
    assert length(library, row_code(name, 3, 1, row=2)) == 7


# ---- sites

OBJECT = """
    .text
first: .cfi_startproc
    mov $0x9090a20f, %eax       # CPUID only inside an immediate
    lea 0x00a20f00(%rax), %rdx
    xor %eax, %eax
s0: cpuid
    xor %ecx, %ecx
s1: xgetbv
    .byte 0x66
s2: cpuid
    mov $0x90d0010f, %ebx
    ret
    .cfi_endproc
    .byte 0x0f, 0xa2            # between functions: cannot be judged
    .byte 0xb9, 1, 0, 0, 0, 0x0f, 0x01, 0xd0
    mov $7, %eax
    xor %ecx, %ecx
s3: cpuid
    mov $0x80000008, %eax
s4: cpuid
    mov $1, %rax
s5: cpuid
    xor %ecx, %ecx
s6: xgetbv
    mov $0, %ecx
s7: xgetbv
    .byte 0xc4, 0xe2, 0x78, 0x49, 0xc0
s8:
    .quad 0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc  # SHA-512's numbers
    .quad 0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118
    .quad 0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2
    .byte 0x0f, 0xa2            # among data: no code leads there
broken: .cfi_startproc
    .byte 0x06                  # decoding ends here
    cpuid
    ret
    .cfi_endproc
last: .cfi_startproc
t0: .byte 0xc4, 0xe2, 0x78, 0x49, 0x04, 0x24  # ldtilecfg (%rsp)
t1: .byte 0xc4, 0xe2, 0x79, 0x49, 0x44, 0x24, 0x40  # sttilecfg 64(%rsp)
t2: .byte 0xc4, 0xe2, 0x78, 0x49, 0x80, 0xc4, 0xe2, 0x78, 0x49  # ldtilecfg 0x4978e2c4(%rax): its bytes twice
    .byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0        # tilezero
    .byte 0xb8, 0xc4, 0xe2, 0x78, 0x49, 0xc0  # tilerelease inside an immediate
    ret
    .cfi_endproc
    .byte 0x0f, 0xa2            # after all functions: data
"""


@pytest.fixture
def assembled(tmp_path):
    """The object, linked; where its labels are."""
    source, output = tmp_path / "object.s", tmp_path / "object.so"
    source.write_text(OBJECT)
    children.run(
        [*compiler(), "-shared", "-nostdlib", source, "-o", output, "-Wl,--eh-frame-hdr"], check=True
    )
    symbols = children.run(["nm", output], capture_output=True, text=True, check=True).stdout
    return output, {line.split()[2]: int(line.split()[0], 16) for line in symbols.splitlines()}


def test_sites_are_instructions_and_nothing_else(library, assembled):
    path, labels = assembled
    found, unknown = scan(library, path)
    assert found == [
        (CPUID, labels["s0"], 2), (XGETBV, labels["s1"], 3), (CPUID, labels["s2"] - 1, 3),
        (CPUID, labels["s3"], 2), (CPUID, labels["s4"], 2), (CPUID, labels["s5"], 2),
        (XGETBV, labels["s6"], 3), (XGETBV, labels["s7"], 3), (CONFIG, labels["s8"] - 5, 5),
        (CONFIG, labels["t0"], 6), (CONFIG, labels["t1"], 7), (CONFIG, labels["t2"], 9),
    ]  # fmt: skip
    assert unknown == 3  # two between functions, one behind what cannot be decoded


@pytest.mark.parametrize("kinds", [CPUID, XGETBV, CONFIG])
def test_only_the_wanted_kinds_are_found(library, assembled, kinds):
    everything, _ = scan(library, assembled[0])
    found, _ = scan(library, assembled[0], kinds)
    assert found == [site for site in everything if site[0] == kinds]


def test_code_that_already_traps_keeps_its_boundaries(library, assembled):
    """INT3 over the first byte of a site hides that one, and moves no other."""
    path, labels = assembled
    before, unknown = scan(library, path)
    content = bytearray(path.read_bytes())
    for label, code in (("s0", b"\x0f\xa2"), ("s1", b"\x0f\x01\xd0")):
        at = content.index(code, labels[label])
        assert content[at : at + len(code)] == code
        content[at] = 0xCC
    path.write_bytes(content)
    assert scan(library, path) == (before[2:], unknown)


@pytest.mark.parametrize("name", ["ld-linux-x86-64.so.2", "libgcc_s.so.1", "libstdc++.so.6"])
def test_sites_in_libraries_are_the_disassemblers(library, name):
    command = [*compiler(), f"-print-file-name={name}"]
    path = children.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(path):
        pytest.skip(f"the compiler knows no {name}")
    kinds = {"cpuid": CPUID, "xgetbv": XGETBV}
    expected = [
        (kinds[text], address, len(code)) for address, code, text in disassembled(path) if text in kinds
    ]
    assert expected
    assert scan(library, path) == (expected, 0)


def test_sites_in_a_static_program_are_the_disassemblers(library, tmp_path):
    """It has .eh_frame and no sorted table of it."""
    source, path = tmp_path / "main.c", tmp_path / "main"
    source.write_text("int main(void) { return 0; }")
    if children.run([*compiler(), "-static", source, "-o", path], capture_output=True).returncode:
        pytest.skip("no static C library")
    expected = [
        (CPUID if text == "cpuid" else XGETBV, address, len(code))
        for address, code, text in disassembled(path)
        if text in ("cpuid", "xgetbv")
    ]
    assert len(expected) > 10
    assert scan(library, path, CPUID | XGETBV) == (expected, 0)


@pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF" + bytes(60)])
def test_other_files_are_refused(library, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert scan(library, path) == -ENOEXEC
