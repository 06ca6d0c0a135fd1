"""The instructions of csrc/insn.h: their bytes, and the operands the compiler sees."""

import re
import shutil
import subprocess

import children
import compiling
import pytest

import amx


def run(program):
    return children.run([program], timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def build(tmp_path, *flags):
    program, sources = tmp_path / "insn_operands", [compiling.ROOT / "tests/c/insn_operands.c"]
    if not amx.available():
        sources += compiling.objects(compiling.TRAP)
        flags += ("-DWITH_TRAP",)
    return compiling.compile_c(program, sources, *flags)


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
def test_the_compiler_keeps_what_the_instructions_depend_on(tmp_path, level):
    """Plain stores before a load of tiles, and loads after a store of them, survive optimisation."""
    result = run(build(tmp_path, level))
    assert (result.returncode, result.stdout) == (0, "")


def test_the_defect_of_old_compilers_would_be_noticed(tmp_path):
    """The same program over gcc's own <immintrin.h> fails up to gcc 12: so the test above can."""
    version = children.run([*compiling.compiler(), "-v"], capture_output=True, text=True).stderr
    gcc = re.search(r"gcc version (\d+)", version)
    if gcc is None or not 11 <= int(gcc[1]) <= 12:
        pytest.skip("only gcc 11 and 12 have the defect")
    result = run(build(tmp_path, "-O2", "-DWITH_IMMINTRIN", "-mamx-tile", "-mamx-int8"))
    assert result.returncode != 0


def test_bytes_are_what_the_disassembler_calls_them(tmp_path):
    """Binutils reads every macro's bytes as the instruction and the tiles it is named for."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    source = tmp_path / "all.c"
    lines, want = [], []
    for t in range(8):
        lines += [f"AMX_TILEZERO({t});", f"AMX_TILELOADD({t}, p, s);"]
        lines += [f"AMX_TILELOADDT1({t}, p, s);", f"AMX_TILESTORED({t}, p, s);"]
        want += [f"tilezero %tmm{t}", f"tileloadd (%rax,%rcx,1),%tmm{t}"]
        want += [f"tileloaddt1 (%rax,%rcx,1),%tmm{t}", f"tilestored %tmm{t},(%rax,%rcx,1)"]
    for insn in ("tdpbssd", "tdpbsud", "tdpbusd", "tdpbuud", "tdpbf16ps", "tdpfp16ps"):
        for d, a, b in [(0, 1, 2), (7, 0, 3), (2, 6, 7), (5, 4, 0)]:
            lines.append(f"AMX_{insn.upper()}({d}, {a}, {b});")
            want.append(f"{insn} %tmm{b},%tmm{a},%tmm{d}")
    lines += ["AMX_LDTILECFG(p);", "AMX_STTILECFG(p);", "AMX_TILERELEASE();"]
    want += ["ldtilecfg (%rax)", "sttilecfg (%rax)", "tilerelease"]
    source.write_text(
        '#include "insn.h"\nvoid all(void *p, long s);\nvoid all(void *p, long s) {' + "\n".join(lines) + "}"
    )
    binary = compiling.compile_c(tmp_path / "all.so", [source], "-shared", "-fPIC")
    listing = children.run(
        ["objdump", "-d", "--no-show-raw-insn", binary], capture_output=True, text=True
    ).stdout
    found = [
        " ".join(words) for words in re.findall(r"\t((?:tile|tdp|ldtile|sttile)\S*)(?: +(\S+))?", listing)
    ]
    found = [text.strip() for text in found]
    if "tdpfp16ps" not in listing:
        pytest.skip("this objdump does not know AMX-FP16")
    assert found == want
