"""amx.emulate(trace=): when the trace is there, whose it is, and what becomes of one that is lost."""

import children
import pytest
from emulating import BEGIN, child

import amx
from amx import errors
from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


def test_a_trace_is_there_when_the_block_has_ended(tmp_path):
    file = tmp_path / "trace.json"
    child(f"""
from amx.emulation import trace
with amx.emulate("gnr", trace={str(file)!r}) as emulation:
    amx.matmul(a, b)
    assert emulation.trace is None
assert emulation.trace.instructions == emulation.counts.instructions > 0
assert trace.Trace.load({str(file)!r}).instructions == emulation.counts.instructions
""")


def test_a_forked_child_that_leaves_the_block_leaves_the_trace_to_its_parent(tmp_path):
    file = tmp_path / "trace.json"
    said = child(f"""
import os
with amx.emulate(trace={str(file)!r}) as emulation:
    pid = os.fork()
    if pid == 0:
        amx.matmul(a, b)
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert not os.path.exists({str(file)!r})
    amx.matmul(a, b)
print([process.pid == os.getpid() for process in emulation.trace.processes])
""")
    assert said == "[True, False]\n"
    assert file.exists()


LOST = {"removed": "shutil.rmtree(directory)", "open to others": "os.chmod(directory, 0o755)"}


RECORDING = """
import os, shutil, tempfile, warnings
def block(file, damage, ended=None):
    with amx.emulate(trace=file):
        (name,) = os.listdir(tempfile.gettempdir())
        directory = os.path.join(tempfile.gettempdir(), name)
        exec(damage)
        if ended:
            raise ended
"""


@pytest.mark.parametrize("damage", LOST.values(), ids=LOST)
def test_the_status_of_a_program_whose_trace_is_lost_is_its_own(tmp_path, damage):
    file = tmp_path / "trace.json"
    file.write_text("old")
    code = f"block({str(file)!r}, {damage!r}, SystemExit(7))"
    done = children.run_python("-c", BEGIN + RECORDING + code, TMPDIR=own(tmp_path), AMX_BACKEND="")
    assert done.returncode == 7, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    line = (BEGIN + RECORDING).partition("    with amx")[0].count("\n") + 1
    assert said.startswith(f"<string>:{line}: ")
    assert f"amx.emulate(trace={str(file)!r}): nothing is written. There is no directory" in said
    assert file.read_text() == "old"


def test_not_even_where_warnings_are_errors(tmp_path):
    code = f"block({str(tmp_path / 'trace.json')!r}, {LOST['removed']!r}, SystemExit(7))"
    done = children.run_python(
        "-W", "error", "-c", BEGIN + RECORDING + code, TMPDIR=own(tmp_path), AMX_BACKEND=""
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_an_exception_has_a_note_of_a_trace_that_is_lost(tmp_path):
    file = tmp_path / "trace.json"
    child(
        f"""{RECORDING}
error = raised(KeyError, lambda: block({str(file)!r}, {LOST["removed"]!r}, KeyError("mine")))
assert error.args == ("mine",)
(note,) = error.__notes__
assert "nothing is written. There is no directory" in note
""",
        TMPDIR=own(tmp_path),
    )


@pytest.mark.parametrize("damage", LOST.values(), ids=LOST)
def test_a_block_that_ends_well_raises_for_a_trace_that_is_lost(tmp_path, damage):
    child(
        f"""{RECORDING}
error = raised(amx.errors.EmulationError, lambda: block({str(tmp_path / "trace.json")!r}, {damage!r}))
assert error.what.startswith("There is no directory")
assert not machine.current().emulated
""",
        TMPDIR=own(tmp_path),
    )


def test_a_block_that_cannot_be_entered_leaves_the_old_trace(tmp_path):
    file = tmp_path / "trace.json"
    file.write_text("old")
    child(f"""
amx.set_backend("emulated")
with amx.emulate():
    raised(amx.errors.EmulationError, amx.emulate(trace={str(file)!r}).__enter__)
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGILL])
raised(amx.errors.EmulationError, amx.emulate(trace={str(file)!r}).__enter__)
""")
    assert file.read_text() == "old"


def own(tmp_path):
    """A place for temporary files in which there are no others."""
    (tmp_path / "own").mkdir()
    return str(tmp_path / "own")


def test_a_trace_that_can_be_no_file_is_refused_at_once(tmp_path):
    with pytest.raises(errors.EmulationError, match="no such directory"):
        amx.emulate(trace=tmp_path / "none" / "trace.json")
    with pytest.raises(errors.EmulationError, match="is a directory"):
        amx.emulate(trace=tmp_path)
