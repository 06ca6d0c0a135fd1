"""The kernels of 4-bit weights against plain loops, family by family (tests/c/nibble_families.c)."""

import os
import subprocess
import time

import children
import compiling
import pytest
import vector_family
from compiling import EMULATOR, ROOT

from amx._lib import lib

SOURCES = [ROOT / "tests/c/nibble_families.c", *sorted(ROOT.glob("csrc/vector/nibble*.c")), *EMULATOR]
FAMILIES = ["avx512-vnni: equal", "avx-vnni: equal", "avx2: equal", "plain: equal"]
HERE = [f"{family}: equal" for family in vector_family.of_nibbles()]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    output = tmp_path_factory.mktemp("nibbles") / "nibble_families"
    objects = compiling.objects(SOURCES, *compiling.newest_instructions())
    return compiling.link(output, *objects, "-lm")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The same with all families: their instructions are AVX2's and C."""
    if lib.amxemu_best_path() < lib.AMXEMU_AVX2:
        pytest.skip("this CPU has no AVX2, FMA and F16C")
    output = tmp_path_factory.mktemp("nibbles") / "nibble_families_by_model"
    modelled = [source for source in SOURCES if "avx512" in source.name or "vnni" in source.name]
    others = [source for source in SOURCES[1:] if source not in modelled]
    objects = compiling.objects([SOURCES[0], *modelled], *compiling.AVX512_MODEL)
    return compiling.link(output, *objects, *compiling.objects(others), "-lm")


def run(program, *words):
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    return children.run(
        [program, str(seed), *map(str, words)],
        timeout=300,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def lines_of(program, blocks):
    result = run(program, blocks)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    return result.stdout.splitlines()


def of_families(lines):
    return [line for line in lines if not line.endswith(": not here")]


def test_blocks_are_what_plain_loops_make_of_them(request):
    """Every family, and no byte beside what it is given: the CPU's, else by a model, where there is AVX2."""
    if HERE == FAMILIES or lib.amxemu_best_path() < lib.AMXEMU_AVX2:
        assert of_families(lines_of(request.getfixturevalue("program"), 300)) == HERE
    else:
        assert lines_of(request.getfixturevalue("model"), 200) == FAMILIES


@pytest.mark.matrix
def test_many_blocks(program):
    assert of_families(lines_of(program, 20000)) == HERE


def test_the_guard_would_notice(program):
    """One byte of the weights beyond their end ends the program with SIGSEGV: the tests above can fail."""
    assert children.how_it_ended(run(program, 0, "too-far")) == "SIGSEGV"
