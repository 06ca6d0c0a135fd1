"""Checks take turns among the runs of one user, and nobody else makes them wait."""

import contextlib
import fcntl
import itertools
import os
import stat
import sys
import tempfile

import children
import pytest

from amx.conformance import locking

TURNS = """
import sys, time
from amx.conformance import locking
log = open(sys.argv[1], "a", buffering=1)
for _ in range(3):
    with locking.turn(alone=sys.argv[2] == "alone"):
        log.write(f"{sys.argv[2]} begins\\n")
        time.sleep(0.05)
        log.write(f"{sys.argv[2]} ends\\n")
"""
ONE = """
import sys
from amx.conformance import locking
locking.SILENT = float(sys.argv[1])
with locking.turn(alone=True):
    print("had its turn")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The only directory for temporary files, as /tmp is: all may make files in it."""
    tmp_path.chmod(0o1777)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    locking._warn.cache_clear()
    return tmp_path


def ours(place):
    return place / f"amx-conformance-{os.geteuid()}"


@contextlib.contextmanager
def locked(path, kind=fcntl.LOCK_EX):
    """By others, who may read it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def test_one_who_wants_to_be_alone_is_alone_among_processes(place):
    """Two shared and one lonely process: between "alone begins" and "alone ends" nobody else is there."""
    command = [sys.executable, "-c", TURNS, place / "log"]
    running = [children.start([*command, kind]) for kind in ("shared", "alone", "shared")]
    assert [child.wait(60) for child in running] == [0, 0, 0]
    lines = (place / "log").read_text().splitlines()
    assert len(lines) == 18
    present = 0
    for line, following in itertools.pairwise(lines):
        if line == "alone begins":
            assert (present, following) == (0, "alone ends")
        present += {"shared begins": 1, "shared ends": -1}.get(line, 0)


def test_others_may_be_there_at_the_same_time(place):
    with (
        locking.turn(alone=False),
        locking.turn(alone=False),
        pytest.raises(BlockingIOError),
        locked(ours(place) / "lock"),
    ):
        pass
    with locked(ours(place) / "lock"):
        pass


def test_the_lock_is_in_a_directory_of_this_user_alone(place):
    umask = os.umask(0)
    try:
        with locking.turn(alone=True):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE(ours(place).stat().st_mode) == 0o700
    assert os.listdir(place) == [ours(place).name]
    assert os.listdir(ours(place)) == ["lock"]


def test_the_directory_is_in_the_runtime_directory_where_there_is_one(place, monkeypatch):
    runtime = place / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with locking.turn(alone=True), pytest.raises(BlockingIOError), locked(ours(runtime) / "lock"):
        pass


def open_to_all(path):
    path.mkdir()
    path.chmod(0o755)


def linked(path):
    path.with_name("elsewhere").mkdir(mode=0o700)
    path.symlink_to("elsewhere")


def given_away(path):
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
TAKEN = {
    "a pipe": os.mkfifo,
    "a file": lambda path: path.touch(),
    "a link": linked,
    "a directory for all": open_to_all,
    "another user's": given_away,
}


@pytest.mark.parametrize("what", [pytest.param(each, marks=[ROOT] * ("user" in each)) for each in TAKEN])
def test_a_name_that_others_have_taken_makes_nobody_wait(place, what):
    """Also where they hold its lock; it is said once, with what to do."""
    TAKEN[what](ours(place))
    with locked(ours(place)):
        twice = f"{ONE}\nwith locking.turn(alone=True): pass"
        done = children.run([sys.executable, "-c", twice, "0"], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "had its turn\n"), done.stderr
    assert done.stderr.count("\n") == 1
    assert f"{ours(place)} is not a directory of this user alone" in done.stderr
    assert "Set TMPDIR" in done.stderr


def test_a_place_is_named_as_text(place):
    odd = place / "\x1b[2J"
    odd.mkdir()
    ours(odd).touch()
    done = children.run_python("-c", ONE, "0", TMPDIR=str(odd))
    assert f"{place}/\\x1b[2J/amx-conformance-{os.geteuid()} is not a directory" in done.stderr


def test_who_waits_says_what_for(place):
    """At once here; when the lock is given back, it goes on."""
    with locking.turn(alone=True):
        waiting = children.start([sys.executable, "-c", ONE, "0"], stdout=-1, stderr=-1, text=True)
        said = waiting.stderr.readline()
        assert waiting.poll() is None
    assert waiting.communicate(timeout=60) == ("had its turn\n", "")
    assert (
        said
        == f"amx check: waiting for another run, which has locked {ours(place)} (lslocks names the process)\n"
    )


def test_who_need_not_wait_says_nothing(place):
    done = children.run_python("-c", ONE, "0")
    assert (done.stdout, done.stderr) == ("had its turn\n", "")


def test_where_no_temporary_file_can_be_made_runs_lock_the_package(place, monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with locking.turn(alone=True), pytest.raises(BlockingIOError), locked(locking.__file__):
        pass
    with locking.turn(alone=False), locked(locking.__file__, fcntl.LOCK_SH):
        pass


FOR_A_MOMENT = """
import sys, tempfile
from amx.conformance import locking
def none():
    raise FileNotFoundError("No usable temporary directory")
tempfile.gettempdir = none
locking.PATIENCE = 0.1
for _ in range(2):
    with locking.turn(alone=True):
        print("had its turn")
"""


def test_others_who_keep_the_package_locked_are_not_waited_for_for_ever(place):
    """All users can open its files. It is said once, and later turns do not wait at all."""
    with locked(locking.__file__):
        done = children.run([sys.executable, "-c", FOR_A_MOMENT], timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "had its turn\n" * 2), done.stderr
    assert done.stderr.count("\n") == 1
    assert "the lock has not been given back in 0 s" in done.stderr
