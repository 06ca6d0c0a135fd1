"""The kernels in vector registers against plain loops, family by family (tests/c/vector_families.c)."""

import os
import subprocess
import time

import children
import compiling
import pytest
from compiling import EMULATOR, ROOT

SOURCES = [ROOT / "tests/c/vector_families.c", *sorted(ROOT.glob("csrc/vector/*.c")), *EMULATOR]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    output = tmp_path_factory.mktemp("vector") / "vector_families"
    return compiling.compile_c(output, compiling.objects(SOURCES))


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


def test_blocks_are_what_plain_loops_make_of_them(program):
    assert "sse2 uu: equal" in run(program, 200)


@pytest.mark.matrix
def test_many_blocks(program):
    assert "sse2 uu: equal" in run(program, 5000)
