"""What another user of the machine can do to a program that is emulated, and to who started it: nothing."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import children
import preloading
import pytest

from amx._lib import lib
from amx.emulation import launcher, perf_map, trace, unrecorded
from amx.emulation.room import Room

pytestmark = [
    pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer"),
    pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer's runtime must be the first library"),
]
as_two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

AMX = [sys.executable, "-c", "import sys; from amx import cli; sys.exit(cli.main())", "emulate"]
NOBODY = 65534
RECORDED = ("report", "unrecorded")


@pytest.fixture
def open_place():
    """A directory as /tmp is: all may write, nobody may remove what is another's."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o1777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def victim(tmp_path):
    """A file that only this user can write; long enough for anything that would map it."""
    path = tmp_path / "victim"
    path.write_bytes(b"precious" * 1024)
    path.chmod(0o600)
    return path


def by_another(script, *arguments):
    """Run Python code as another user."""
    become = (
        f"import os, sys; os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); os.setresuid(*[{NOBODY}] * 3)\n"
    )
    done = children.run(
        [sys.executable, "-Ic", become + script, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def run_in(directory):
    """A program that reports and traces there, as if it had been told so; it runs as ever."""
    done = preloading.run(["/bin/true"], directory, trace=True)
    assert done.returncode == 0
    return done.stderr


def content(directory):
    return {
        each.name: each.read_bytes() if each.is_file() else each.lstat().st_mode
        for each in directory.iterdir()
    }


@as_two_users
def test_a_directory_that_another_user_made_again_is_not_written_to(open_place, victim):
    """With links to what only root may write, in the place of what the launcher has removed."""
    again = open_place / "amx-emulate-again"
    by_another(
        """
os.mkdir(sys.argv[1])
for name in ("report", "unrecorded"):
    os.symlink(sys.argv[2], f"{sys.argv[1]}/{name}")
""",
        again,
        victim,
    )
    before = victim.read_bytes()
    said = run_in(again)
    assert victim.read_bytes() == before
    assert {each.name for each in again.iterdir()} == set(RECORDED)
    assert f"amx emulate: {again}: Permission denied. This process is not recorded." in said


@as_two_users
def test_files_of_another_user_are_not_written_to_where_only_they_can_be_read(open_place):
    again = open_place / "amx-emulate-again"
    by_another(
        """
os.mkdir(sys.argv[1], 0o700)
for name in ("report", "unrecorded"):
    with open(f"{sys.argv[1]}/{name}", "wb") as file:
        file.write(bytes(8192))
""",
        again,
    )
    before = content(again)
    run_in(again)
    assert content(again) == before


def test_a_directory_that_others_may_search_is_not_written_to(tmp_path):
    """Whoever made it did not mean it for this."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o711)
    assert "Permission denied" in run_in(directory)
    assert list(directory.iterdir()) == []


def test_a_link_to_a_directory_is_not_written_to(tmp_path):
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("own")
    assert "This process is not recorded" in run_in(tmp_path / "link")
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.parametrize("how", ["symbolic link", "second name", "FIFO"])
@pytest.mark.parametrize("name", RECORDED)
def test_a_file_that_is_a_link_or_no_file_is_not_written_to(tmp_path, victim, name, how):
    """Not in an own directory either."""
    directory = tmp_path / "own"
    directory.mkdir(mode=0o700)
    if name == "unrecorded":
        (directory / "report").mkdir()  # so that there is something to count
    if how == "symbolic link":
        (directory / name).symlink_to(victim)
    elif how == "second name":
        os.link(victim, directory / name)
    else:
        os.mkfifo(directory / name)
    before = victim.read_bytes()
    run_in(directory)
    assert victim.read_bytes() == before
    assert stat.S_ISREG((directory / name).lstat().st_mode) == (how == "second name")


OUTLIVES = r"""
import os, sys
reader, writer = sys.argv[1:]
if os.fork() == 0:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    open(reader).read()  # until the other user is ready
    os.execl("/bin/sh", "sh", "-c", "true; : done > $0", writer)
os._exit(7)
"""


@as_two_users
def test_a_child_that_outlives_the_launcher_writes_to_nowhere(open_place, victim, tmp_path):
    """Though another user made the launcher's directory again meanwhile."""
    reader, writer = tmp_path / "reader", tmp_path / "writer"
    os.mkfifo(reader)
    os.mkfifo(writer)
    script = f"import os; print(os.environ['{launcher.REPORT}'], flush=True)\n{OUTLIVES}"
    stats = tmp_path / "stats.json"
    with children.start(
        [*AMX, "--stats-file", stats, "--trace", tmp_path / "trace.json", "--",
         sys.executable, "-c", script, reader, writer],
        env={**os.environ, "TMPDIR": str(open_place), "AMX_BACKEND": ""}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as started:  # fmt: skip
        report = Path(started.stdout.readline().strip())
        assert started.wait() == 7
    before = victim.read_bytes()
    assert report.parent.parent == open_place
    assert not report.parent.exists()
    by_another(
        "os.mkdir(sys.argv[1]); [os.symlink(sys.argv[2], f'{sys.argv[1]}/{name}') for name in sys.argv[3:]]",
        report.parent, victim, *RECORDED,
    )  # fmt: skip
    reader.write_text("go on")
    assert writer.read_text() == ""  # it has executed programs meanwhile, and ended
    assert victim.read_bytes() == before
    assert {each.name for each in report.parent.iterdir()} == set(RECORDED)


@as_two_users
def test_names_of_generated_code_are_not_taken_from_another_user():
    pid = os.getpid()
    path = Path(f"/tmp/perf-{pid}.map")
    path.unlink(missing_ok=True)
    path.write_text("1000 10 f\n")
    try:
        assert perf_map.names(pid, 0, [0x1000], Room(2**30)) == {0x1000: (0x1000, "f")}
        os.chown(path, NOBODY, NOBODY)
        assert perf_map.names(pid, 0, [0x1000], Room(2**30)) == {}
    finally:
        path.unlink()


@pytest.mark.parametrize("what", ["FIFO", "link"])
def test_names_of_generated_code_come_from_a_file_only(what, tmp_path):
    """What lies in its place is not waited for."""
    pid = os.getpid()
    path = Path(f"/tmp/perf-{pid}.map")
    path.unlink(missing_ok=True)
    (tmp_path / "map").write_text("1000 10 f\n")
    try:
        os.mkfifo(path) if what == "FIFO" else path.symlink_to(tmp_path / "map")
        assert perf_map.names(pid, 0, [0x1000], Room(2**30)) == {}
    finally:
        path.unlink()


@as_two_users
def test_a_trace_of_another_user_is_not_believed(tmp_path):
    """Nor is a file looked into that it names."""
    tmp_path.chmod(0o700)
    assert preloading.run(["/bin/true"], tmp_path, trace=True).returncode == 0
    (recorded,) = tmp_path.glob("*.trace")
    assert len(trace.read(tmp_path).processes) == 1
    os.chown(recorded, NOBODY, NOBODY)
    found = trace.read(tmp_path)
    assert found.processes == ()
    assert found.unreadable == (f"[Errno 1] it is another user's: {str(recorded)!r}",)


@as_two_users
def test_a_count_of_another_user_is_not_believed(tmp_path):
    unrecorded.prepare(str(tmp_path))
    os.chown(tmp_path / "unrecorded", NOBODY, NOBODY)
    traces, reports = unrecorded.read(tmp_path)
    assert traces.processes is None
    assert str(reports) == (
        "an unknown number of processes: the file that counts them cannot be read: it is another user's"
    )
    assert not trace.read(tmp_path).complete
