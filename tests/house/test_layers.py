"""ci/layers.py: the layers that csrc/layers.txt declares hold, and what does not keep to them is found."""

import shutil
import sys

import children
import pytest

SCRIPT = children.ROOT / "ci/layers.py"


@pytest.fixture
def csrc(tmp_path):
    """A copy of csrc/, to plant something in."""
    return shutil.copytree(children.ROOT / "csrc", tmp_path / "csrc")


def said(csrc):
    """What the script says, a line each; its status is 1 where it says something."""
    done = children.run([sys.executable, SCRIPT, csrc], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (bool(done.stdout), "")
    return done.stdout.splitlines()


def append(path, text):
    path.write_text(path.read_text() + text)


def test_every_arrow_points_down_and_there_is_no_circle(csrc):
    assert said(csrc) == []


def test_an_include_from_above_is_found(csrc):
    append(csrc / "machine/cpuid.c", '#include "tile/tiles.h"\n')
    assert said(csrc) == ['machine/cpuid includes "tile/tiles.h": tile/tiles is not below it']


def test_a_use_without_any_include_is_found(csrc):
    append(
        csrc / "emulator/step.c", "int later(void);\nint later(void) {\n    return amx_gemm_threads();\n}\n"
    )
    assert said(csrc) == ["emulator/step uses amx_gemm_threads: gemm/plan is not below it"]


def test_a_use_of_a_variable_is_found(csrc):
    append(csrc / "trap/host/mm_map.c", "extern int trap_answers;\nint *later = &trap_answers;\n")
    assert said(csrc) == ["trap/host/mm_map uses trap_answers: trap/answers/answers is not below it"]


def test_rooms_of_one_layer_know_nothing_of_each_other(csrc):
    append(csrc / "machine/cpuid.c", '#include "emulator/emulator.h"\n')
    assert said(csrc) == ['machine/cpuid includes "emulator/emulator.h": emulator/emulator is not below it']


def test_a_circle_inside_a_room_is_found(csrc):
    append(csrc / "trap/host/cpu.c", '#include "trap/host/address.h"\n')
    (line,) = said(csrc)
    assert line.startswith("a circle: ")
    assert 'trap/host/cpu includes "trap/host/address.h" of trap/host/address' in line
    assert 'trap/host/address includes "trap/host/cpu.h" of trap/host/cpu' in line


def test_a_file_in_no_room_is_named(csrc):
    (csrc / "attic").mkdir()
    (csrc / "attic/old.c").write_text('#include "insn.h"\n')
    assert said(csrc) == ["csrc/layers.txt does not have attic/old"]


def test_words_in_comments_and_texts_are_no_arrows(csrc):
    append(
        csrc / "emulator/step.c", '/* amx_gemm_threads() */ static const char text[] = "amx_gemm_threads";\n'
    )
    assert said(csrc) == []
