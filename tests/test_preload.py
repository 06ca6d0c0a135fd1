"""Unmodified programs under libamxemu.so see a CPU and a kernel with AMX."""

import os
import subprocess

import pytest
from preloading import compile_program, reports, run

from amx import machine
from amx._lib import lib
from amx.emulation import launcher

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

ANSWERS = """\
highest leaf 0x{:x}
amx 1 1 1
palette 0x4002000 0x80040 0x10 0
xcr0 0x60000 0
0x1021 0 0x60000
0x1022 0 0x20000
request 0
permission 0x60000
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """What was compiled from tests/c/preload/, by name."""
    directory = tmp_path_factory.mktemp("programs")
    for name in ("question", "loader"):
        compile_program(f"{name}.c", directory / name)
    compile_program("constructor.c", directory / "constructor.so", "-shared", "-fPIC")
    return directory


def highest_leaf():
    registers = machine.current().cpuid(0)
    return max(registers.eax, 0x1E)


def test_cpuid_xgetbv_and_arch_prctl_are_answered(programs, tmp_path):
    result = run([programs / "question"], tmp_path)
    assert result.stdout == ANSWERS.format(highest_leaf()), result.stderr
    (report,) = reports(tmp_path)
    assert report["program"] == str(programs / "question")
    assert (report["cpuid"], report["xgetbv"], report["arch_prctl"]) == (3, 1, 4)
    assert (report["unscanned"], report["instructions"]) == (0, 0)


def test_without_a_model_the_library_does_nothing(programs, tmp_path):
    environment = {**os.environ, "LD_PRELOAD": launcher.library()}
    alone, preloaded = (
        subprocess.run([programs / "question"], env=env, capture_output=True, text=True).stdout
        for env in (None, environment)
    )
    assert preloaded == alone


def test_an_unknown_model_is_no_program(programs, tmp_path):
    result = run([programs / "question"], tmp_path, cpu="skylake")
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "amx emulate: skylake: Invalid argument\n"


@pytest.mark.parametrize("times", [1, 3])
def test_constructors_of_libraries_loaded_later_see_it(programs, tmp_path, times):
    """Also when the library was unloaded and comes again."""
    result = run([programs / "loader", programs / "constructor.so", times], tmp_path)
    assert result.stdout == "1 0x60000\n" * times, result.stderr
