"""Every arithmetic path of the tile machine has the scalar one's bits: tests/c/tile_paths.c.

AVX-512's run on the CPU where it has them, and everywhere else with a model in C of their instructions.
"""

import random
import re
import subprocess

import children
import compiling
import pytest

from amx._lib import lib

INSTRUCTIONS = (
    "TDPBSSD", "TDPBSUD", "TDPBUSD", "TDPBUUD", "TDPBF16PS", "TDPFP16PS", "TCMMRLFP16PS", "TCMMIMFP16PS"
)  # fmt: skip
ROOT = compiling.ROOT
AVX512 = ROOT / "csrc/emulator/tdp_avx512.c"
PROGRAM = [ROOT / "tests/c/tile_paths.c", ROOT / "tests/c/differential/data.c"]
OTHERS = [source for source in compiling.EMULATOR if source != AVX512]

# One wrong line each of tdp_avx512.c, and the instructions that are wrong by it.
DEFECTS = {
    "no sums of signed columns": (
        "_mm512_sub_epi32(nothing, column_sums_times_128(p, 1))",
        "nothing",
        {"TDPBSSD"},
    ),
    "no sums of unsigned columns": ("column_sums_times_128(p, 0))", "nothing)", {"TDPBUUD"}),
    "factors change places": (
        "b_signed ? _mm512_dpbusd_epi32(d[m], repeat",
        "!b_signed ? _mm512_dpbusd_epi32(d[m], repeat",
        set(INSTRUCTIONS[:4]),
    ),
    "no NaN row is redone": (
        "_CMP_UNORD_Q) & columns)",
        "_CMP_UNORD_Q) & columns & 0)",
        set(INSTRUCTIONS[4:]),
    ),
    "tiny numbers stay": (
        "amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR)",
        "amxemu_exchange_mxcsr(0x1F80)",
        {"TDPBF16PS"},  # products of two float16 are never tiny
    ),
    "MXCSR is not given back": ("amxemu_exchange_mxcsr(mxcsr);", "(void)mxcsr;", set(INSTRUCTIONS[4:])),
    "the even chain twice": ("a.odd, is_bf16, 1, rows)", "a.even, is_bf16, 0, rows)", set(INSTRUCTIONS[4:])),
    "nothing negated": ("_mm512_xor_si512(odd, sign)", "odd", {"TCMMRLFP16PS"}),
    "not crosswise": ("type == AMXEMU_FLOAT_COMPLEX_IMAGINARY;", "0;", {"TCMMIMFP16PS"}),
    "too few rows": (
        "return p->m > FEW_ROWS ? multiply_halves(p, AMXEMU_FLOAT_BF16",
        "return p->m > FEW_ROWS + 1 ? multiply_halves(p, AMXEMU_FLOAT_BF16",
        {"TDPBF16PS"},
    ),
}  # fmt: skip


def build(output, avx512=AVX512, flags=()):
    program = compiling.objects([*PROGRAM, avx512], *flags)
    return compiling.link(output, *program, *compiling.objects(OTHERS))


def run(program, count, seed=None):
    """By instruction and path how many of its products were wrong; and the exit status."""
    seed = random.getrandbits(32) if seed is None else seed
    print(f"seed {seed}")
    words = [program, str(seed), str(count)]
    result = children.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    lines = re.findall(r"^(\w+) (\w+): (\d+) products, (\d+) differences$", result.stdout, re.M)
    assert {int(products) for _, _, products, _ in lines} <= {count}
    return {(name, path): int(wrong) for name, path, _, wrong in lines}, result.returncode


@pytest.fixture
def has_avx2():
    if lib.amxemu_best_path() < lib.AMXEMU_AVX2:
        pytest.skip("this CPU has no AVX2, FMA and F16C")


@pytest.mark.usefixtures("has_avx2")
@pytest.mark.parametrize("count", [1_000, pytest.param(30_000, marks=pytest.mark.matrix)])
def test_avx512_by_a_model_equals_scalar(tmp_path, count):
    program = build(tmp_path / "paths", flags=compiling.AVX512_MODEL)
    equal = {(name, path): 0 for name in INSTRUCTIONS for path in ("avx2", "avx512")}
    assert run(program, count) == (equal, 0)


@pytest.mark.usefixtures("has_avx2")
@pytest.mark.parametrize("count", [1_000, pytest.param(30_000, marks=pytest.mark.matrix)])
def test_every_path_of_this_cpu_equals_scalar(tmp_path, count):
    wrong, status = run(build(tmp_path / "paths"), count)
    assert ("TDPBSSD", "avx512") in wrong or lib.amxemu_best_path() < lib.AMXEMU_AVX512_VNNI
    assert ("TDPBF16PS", "avx512") in wrong or lib.amxemu_best_path() < lib.AMXEMU_AVX512
    assert (set(wrong.values()), status) == ({0}, 0)


@pytest.mark.usefixtures("has_avx2")
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_of_avx512_is_noticed(tmp_path, defect):
    """A path with one wrong line differs, in the instructions that the line is for."""
    right, wrong, instructions = DEFECTS[defect]
    text = AVX512.read_text()
    assert text.count(right) == 1
    changed = tmp_path / AVX512.name
    changed.write_text(text.replace(right, wrong))
    program = build(tmp_path / "paths", changed, (*compiling.AVX512_MODEL, "-w", "-iquote", AVX512.parent))
    differences, status = run(program, 400, seed=1)
    assert {name for (name, _), count in differences.items() if count} == instructions
    assert {path for (_, path), count in differences.items() if count} == {"avx512"}
    assert status == 1
