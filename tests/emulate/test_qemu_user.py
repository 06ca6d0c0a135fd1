"""The emulation on CPUs without AMX, AVX-512 or even AVX: programs of ours under qemu's user mode."""

import json
import platform
import shutil

import children
import compiling
import differential
import pytest
from preloading import FOREIGN

from amx.conformance import provoke

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only")

CPUS = ["Nehalem", "SandyBridge", "EPYC", "max"]  # SSE4.2; AVX; AVX2 and no AVX-512; all that qemu knows
PRODUCTS = 5  # of the first process
ROUNDS, INSTRUCTIONS = 20, 7


@pytest.fixture(scope="module")
def qemu():
    found = shutil.which("qemu-x86_64")
    if found is None:
        pytest.skip("no qemu-x86_64 (Debian, Ubuntu: apt install qemu-user)")
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    sources = [compiling.ROOT / "tests/c/in_process.c", *compiling.objects(compiling.TRAP)]
    return compiling.compile_c(tmp_path_factory.mktemp("qemu") / "in_process", sources)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return differential.build(tmp_path_factory.mktemp("differential"))


def run_under(qemu, cpu, *command):
    return children.run([qemu, "-cpu", cpu, *command], env=FOREIGN, capture_output=True, text=True)


@pytest.mark.parametrize("patch", ["0", "1"])
@pytest.mark.parametrize("cpu", CPUS)
def test_products_of_threads_and_of_a_child(qemu, program, cpu, patch):
    run = run_under(qemu, cpu, program, "products", patch)
    count = PRODUCTS * ROUNDS * INSTRUCTIONS
    assert run.stdout == f"wrong 0, child 0, instructions {count}\n", run.stderr


@pytest.mark.parametrize("cpu", CPUS)
def test_a_page_fault_is_the_programs_and_the_load_restarts(qemu, program, cpu):
    """SEGV_ACCERR is 2; the sixth row ends in the page that the handler opens and fills with 2."""
    run = run_under(qemu, cpu, program, "page-fault", "0")
    assert run.stdout == "code 2, address 4096, rows 1 1 2 2\n", run.stderr


@pytest.mark.parametrize("cpu", CPUS)
def test_the_model_of_the_kernel_has_the_vector_registers_of_the_cpu(qemu, cpu):
    """AMX beside AVX alone, or beside neither: provocations load what there is, and no more."""
    run = run_under(qemu, cpu, provoke.program(), "run", "CTX-03", "--model")
    seen = [json.loads(line) for line in run.stdout.splitlines()]
    assert (run.returncode, seen[-1]) == (0, {"end": True}), run.stderr
    has_avx = int(cpu != "Nehalem")
    assert {"avx": has_avx} in seen
    assert ({"happened": "AVX and VZEROUPPER"} in seen) == has_avx


@pytest.mark.parametrize(("family", "seed"), [("fp16", "1"), ("bf16", "3")])
@pytest.mark.parametrize("cpu", CPUS)
def test_both_arithmetic_paths_are_equal(qemu, comparison, cpu, family, seed):
    """Also of what qemu 7.2 takes for zero, and these seeds have.

    Denormal halves by VCVTPH2PS, which obeys MXCSR.DAZ; by VFMADD with FTZ what rounds to a normal number.
    """
    options = ["--lane", "emulated", "--family", family, "--count", "1000", "--seed", seed]
    run = run_under(qemu, cpu, comparison, *options)
    assert run.returncode == 0, run.stdout + run.stderr


def test_what_is_not_amx_is_undefined_still(qemu, program):
    run = run_under(qemu, "max", program, "ud2", "0")
    assert "signal 4" in run.stderr or run.returncode in (-4, 128 + 4)
