"""The kernels in vector registers against plain loops, family by family (tests/c/vector_families.c)."""

import os
import platform
import re
import subprocess
import time

import children
import compiling
import pytest
from compiling import EMULATOR, ROOT

from amx._lib import lib
from amx.backend import vector_families

VECTOR = [source for source in sorted(ROOT.glob("csrc/vector/*.c")) if not source.name.startswith("nibble")]
SOURCES = [ROOT / "tests/c/vector_families.c", *VECTOR, *EMULATOR]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    output = tmp_path_factory.mktemp("vector") / "vector_families"
    return compiling.compile_c(output, compiling.objects(SOURCES, *compiling.newest_instructions()))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The same with all families: their instructions are AVX2's and C."""
    if lib.amxemu_best_path() < lib.AMXEMU_AVX2:
        pytest.skip("this CPU has no AVX2, FMA and F16C")
    output = tmp_path_factory.mktemp("vector") / "vector_families_by_model"
    modelled = [source for source in SOURCES if "avx512" in source.name or "vnni" in source.name]
    others = [source for source in SOURCES[1:] if source not in modelled]
    objects = compiling.objects([SOURCES[0], *modelled], *compiling.AVX512_MODEL)
    return compiling.compile_c(output, [*objects, *compiling.objects(others)])


def run(program, blocks):
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    result = children.run(
        [program, str(seed), str(blocks)],
        timeout=300,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, ""), f"seed {seed}\n{result.stdout}"
    return result.stdout.splitlines()


INT8 = ("sse2", "avx2", "avx512bw", "avx-vnni", "avx-vnni-int8", "avx512-vnni")
FLOATS = ("avx2", "avx512")


def equal(int8, floats):
    """What is printed of these families, in this order."""
    return [
        *(f"{family} {kind}: equal" for family in int8 for kind in ("ss", "su", "us", "uu")),
        *(f"{family} {kind}: equal" for family in floats for kind in ("bf16", "fp16")),
    ]


FAMILIES = equal(INT8, FLOATS)
HERE = equal(
    [family for family in INT8 if family in vector_families("int8")],
    [family for family in FLOATS if family in vector_families("bf16")],
)


def of_families(lines):
    return [line for line in lines if not line.endswith(": not here")]


@pytest.mark.skipif(not HERE, reason="x86-64 only")
def test_blocks_are_what_plain_loops_make_of_them(request):
    """Every family: on a CPU that has all, else by the model of their instructions, where there is AVX2.

    What the CPU has is then held against plain loops by test_many_blocks, and meanwhile by other engines.
    """
    if HERE == FAMILIES or lib.amxemu_best_path() < lib.AMXEMU_AVX2:
        assert of_families(run(request.getfixturevalue("program"), 200)) == HERE
    else:
        assert run(request.getfixturevalue("model"), 100) == FAMILIES


@pytest.mark.matrix
def test_many_blocks_by_a_model_of_the_instructions(model):
    assert run(model, 3000) == FAMILIES


@pytest.mark.matrix
@pytest.mark.skipif(not HERE, reason="x86-64 only")
def test_many_blocks(program):
    assert of_families(run(program, 5000)) == HERE


@pytest.mark.matrix
@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only")
def test_what_older_assemblers_lack_is_used_only_where_it_is_said_to_be_known(tmp_path):
    """By name: AVX-VNNI (RHEL 9's assembler has none, and its gcc 11 has) and AVX-VNNI-INT8."""
    for source in [*ROOT.glob("csrc/vector/*.c"), *ROOT.glob("csrc/bench/*.c"), *EMULATOR]:
        compiling.run([*compiling.FLAGS, "-O0", "-S", "-o", tmp_path / "text", source])
        found = re.findall(r"\{vex3?\}.*|vpdpb(?:ss|su|uu)d.*", (tmp_path / "text").read_text())
        assert (source.name, found) == (source.name, [])
