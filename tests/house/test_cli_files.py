"""Files that commands write: whole or not at all, and what a name stands for stays what it is."""

import contextlib
import os
import shutil
import stat
import struct
import sys
import tempfile
from pathlib import Path

import children
import pytest

from amx.cli import _files
from amx.cli._files import FileError, reading, refusal, write_text, writing

as_two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = 65534
OLD, NEW = "what was there", "what comes in its place"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "report"
    path.write_text(OLD)
    return path


@pytest.fixture
def reachable():
    """A file that other users can get to."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = Path(directory, "report")
        path.write_text(OLD)
        yield path


def test_a_new_file_has_the_permissions_that_any_has(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    write_text(tmp_path / "new", NEW)
    assert (tmp_path / "new").read_text() == NEW
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_an_old_file_is_replaced_by_one_with_its_permissions(file):
    file.chmod(0o640)
    before = file.stat().st_ino
    write_text(file, NEW)
    assert file.read_text() == NEW
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.stat().st_ino != before
    assert os.listdir(file.parent) == [file.name]


def access_list(*entries):
    """The attribute with which the kernel keeps one (acl(5)): tag, permissions, who."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY, ALL = 65534, 2**32 - 1
OWNER, USER, GROUP, MASK, OTHERS = 1, 2, 4, 16, 32
ONE_MORE_READER = access_list(
    (OWNER, 6, ALL), (USER, 4, NOBODY), (GROUP, 0, ALL), (MASK, 4, ALL), (OTHERS, 0, ALL)
)


def give(path, attribute, value):
    try:
        os.setxattr(path, attribute, value)
    except OSError as error:
        pytest.skip(f"this file system keeps no such list: {error}")


def test_the_new_file_is_at_no_time_open_to_others_than_the_old_one(file, monkeypatch):
    """Who has opened it before its permissions change goes on reading."""
    file.chmod(0o600)
    created = []
    fchmod = os.fchmod

    def change(descriptor, mode):
        created.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", change)
    umask = os.umask(0)
    try:
        write_text(file, NEW)
    finally:
        os.umask(umask)
    assert created == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to a foreign group")
def test_the_new_file_has_the_group_of_the_old_one_whatever_the_directory_gives(file):
    file.chmod(0o640)
    os.chown(file.parent, -1, NOBODY)
    file.parent.chmod(0o2770)
    write_text(file, NEW)
    assert (file.read_text(), file.stat().st_gid) == (NEW, os.getegid())
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_new_file_has_no_readers_that_the_directory_gives(file):
    file.chmod(0o640)
    give(file.parent, "system.posix_acl_default", ONE_MORE_READER)
    write_text(file, NEW)
    assert file.read_text() == NEW
    assert "system.posix_acl_access" not in os.listxattr(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_file_with_an_access_control_list_keeps_it(file):
    """Its mode says that the group may read it, which is the most that the list allows to anybody."""
    give(file, "system.posix_acl_access", ONE_MORE_READER)
    before = file.stat()
    write_text(file, NEW)
    assert file.read_text() == NEW
    assert os.getxattr(file, "system.posix_acl_access") == ONE_MORE_READER
    assert file.stat().st_ino == before.st_ino


def test_an_old_file_stays_where_the_new_one_does_not_become_whole(file):
    with pytest.raises(TypeError), writing(file) as opened:
        opened.write(NEW)  # no bytes
    assert file.read_text() == OLD
    assert os.listdir(file.parent) == [file.name]


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(file, monkeypatch):
    seen = []

    def fsync(descriptor):
        seen.append(os.fstat(descriptor))
        assert (seen[-1].st_size, file.read_text()) == (len(NEW), OLD)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(file, NEW)
    assert file.read_text() == NEW
    assert [each.st_ino for each in seen] == [file.stat().st_ino]


@pytest.mark.parametrize("names", [1, 2])
def test_a_limit_on_the_size_of_files_leaves_the_old_one(file, names):
    """In a child: the limit stays. Also where the file has to stay the same, since it has another name."""
    if names == 2:
        os.link(file, file.with_name("other"))
    code = (
        "import resource, sys\n"
        "from amx.cli._files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: write_text(sys.argv[1], 'x' * 1000)\n"
        "except OSError as error: print(error)\n"
    )
    done = children.run_python("-c", code, file)
    assert done.stdout == f"cannot write {file}: File too large\n", done.stderr
    assert file.read_text() == OLD
    assert sorted(os.listdir(file.parent)) == ["other", "report"][2 - names :]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file system that is full")
@pytest.mark.skipif(not shutil.which("unshare"), reason="there is no unshare (util-linux)")
@pytest.mark.parametrize("names", [1, 2])
def test_a_full_disk_leaves_the_old_file(tmp_path, names):
    """In a child with mounts of its own: 64 KiB, of which a report of 48 KiB leaves no room for a second."""
    code = (
        "import os, subprocess, sys\n"
        "from amx.cli._files import write_text\n"
        "place, names = sys.argv[1], int(sys.argv[2])\n"
        "mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', place]\n"
        "done = subprocess.run(mount, capture_output=True, text=True)\n"
        "if done.returncode: sys.exit('no mounts: ' + done.stderr)\n"
        "os.chdir(place)\n"
        "write_text('report', 'x' * 48 * 1024)\n"
        "for other in range(1, names): os.link('report', 'other')\n"
        "try: write_text('report', 'y' * (49 + 32 * (names - 1)) * 1024)\n"
        "except OSError as error: print(error)\n"
        "print(open('report').read() == 'x' * 48 * 1024, sorted(os.listdir()))\n"
    )
    done = children.run(
        ["unshare", "-m", sys.executable, "-c", code, tmp_path, str(names)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "no mounts" in done.stderr or done.stderr.startswith("unshare:"):
        pytest.skip(done.stderr.strip())
    left = ["other", "report"][2 - names :]
    assert done.stdout == f"cannot write report: No space left on device\nTrue {left}\n", done.stderr


def test_a_longer_file_with_a_second_name_ends_where_the_new_text_does(file):
    os.link(file, file.with_name("other"))
    write_text(file, "new")
    assert file.with_name("other").read_text() == "new"
    write_text(file, "")
    assert file.with_name("other").read_text() == ""


def test_an_error_without_a_number_says_why(file):
    with pytest.raises(FileError, match=f"cannot write {file}: 3 requested and 1 written"), writing(file):
        raise OSError("3 requested and 1 written")


def test_a_link_still_points_to_the_file_that_is_written(file):
    link = file.with_name("link")
    link.symlink_to(file.name)
    write_text(link, NEW)
    assert link.is_symlink()
    assert file.read_text() == NEW
    nowhere = file.with_name("nowhere")
    nowhere.symlink_to("later")
    write_text(nowhere, NEW)
    assert nowhere.is_symlink()
    assert file.with_name("later").read_text() == NEW


def test_a_second_name_stays_one_of_the_same_file(file):
    os.link(file, file.with_name("other"))
    write_text(file, NEW)
    assert file.with_name("other").read_text() == NEW


@as_two_users
def test_a_file_of_another_user_is_replaced_by_one_of_theirs(file):
    file.chmod(0o640)
    os.chown(file, NOBODY, NOBODY)
    before = file.stat()
    write_text(file, NEW)
    after = file.stat()
    assert file.read_text() == NEW
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (NOBODY, NOBODY, 0o640)
    assert after.st_ino != before.st_ino
    assert os.listdir(file.parent) == [file.name]


@as_two_users
def test_a_file_in_a_directory_of_a_group_is_replaced_by_one_of_the_group(reachable):
    """Whoever is in the group, and may not have given the reachable away."""
    os.chown(reachable.parent, 0, NOBODY)
    reachable.parent.chmod(0o2775)
    os.chown(reachable, 1, NOBODY)
    before = reachable.stat().st_ino
    code = (
        "import os, sys\n"
        "from amx.cli._files import write_text\n"
        f"os.setgroups([{NOBODY}]), os.setresgid(1, 1, 1), os.setresuid(1, 1, 1)\n"
        "write_text(sys.argv[1], sys.argv[2])\n"
    )
    done = children.run_python("-c", code, reachable, NEW)
    assert done.returncode == 0, done.stderr
    assert reachable.read_text() == NEW
    assert (reachable.stat().st_uid, reachable.stat().st_gid) == (1, NOBODY)
    assert reachable.stat().st_ino != before


@as_two_users
def test_a_file_that_can_be_given_to_nobody_else_is_written_itself(reachable):
    reachable.chmod(0o666)
    os.chown(reachable.parent, NOBODY, NOBODY)
    before = reachable.stat()
    code = (
        "import os, sys\n"
        "from amx.cli._files import write_text\n"
        f"os.setgroups([]), os.setresgid(*[{NOBODY}] * 3), os.setresuid(*[{NOBODY}] * 3)\n"
        "write_text(sys.argv[1], sys.argv[2])\n"
    )
    done = children.run_python("-c", code, reachable, NEW)
    assert done.returncode == 0, done.stderr
    assert reachable.read_text() == NEW
    assert (reachable.stat().st_uid, reachable.stat().st_ino) == (0, before.st_ino)
    assert os.listdir(reachable.parent) == [reachable.name]


@as_two_users
def test_a_file_that_another_user_has_laid_into_tmp_is_not_replaced(file):
    """The kernel refuses to write into it (fs.protected_regular), and that is not gone round."""
    file.parent.chmod(0o1777)
    os.chown(file, NOBODY, NOBODY)
    before = file.stat().st_ino
    with contextlib.suppress(FileError):
        write_text(file, NEW)
    assert file.stat().st_ino == before
    assert os.listdir(file.parent) == [file.name]


def test_a_pipe_stays_a_pipe_and_gets_all_of_it(tmp_path):
    """Also more than it holds at once."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = "import sys; from amx.cli._files import write_text; write_text(sys.argv[1], 'x' * 300_000)"
    with (tmp_path / "seen").open("wb") as seen, children.start(["cat", fifo], stdout=seen) as reader:
        assert children.run_python("-c", code, fifo).returncode == 0
        assert reader.wait(timeout=60) == 0
    assert (tmp_path / "seen").read_bytes() == b"x" * 300_000
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_stays_a_device():
    write_text("/dev/null", NEW)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(FileError, match="cannot write /dev/full: No space left on device"):
        write_text("/dev/full", NEW)


def test_a_log_that_a_standard_stream_goes_to_is_not_replaced(file):
    before = file.stat().st_ino
    code = "import sys; from amx.cli._files import write_text; write_text('/dev/stdout', 'new')"
    done = children.run_python("-c", f"import os; os.dup2(os.open({str(file)!r}, os.O_RDWR), 1); {code}")
    assert done.returncode == 0, done.stderr
    assert file.stat().st_ino == before
    assert file.read_text() == "new"


@pytest.mark.parametrize("name", ["-", None, "there", "new", "/dev/null"])
def test_nothing_stands_against_what_can_be_written(tmp_path, name):
    (tmp_path / "there").touch()
    file = name if name in ("-", None, "/dev/null") else tmp_path / name
    assert refusal(file) == ""
    assert sorted(os.listdir(tmp_path)) == ["there"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "that is a directory"),
        ("no/x", "there is no such directory"),
        ("there/x", "there is no such directory"),
    ],
)
def test_what_cannot_be_written_is_refused_beforehand_and_then_too(tmp_path, name, words):
    (tmp_path / "there").touch()
    assert refusal(tmp_path / name) == words
    with pytest.raises(FileError, match="cannot write"):
        write_text(tmp_path / name, NEW)
    assert os.listdir(tmp_path) == ["there"]


def test_what_is_forbidden_is_refused_beforehand():
    """In a child, which is not root."""
    code = (
        "import os, tempfile\n"
        "from pathlib import Path\n"
        "from amx.cli._files import refusal, write_text\n"
        "if os.geteuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "with tempfile.TemporaryDirectory() as place:\n"
        "    old = Path(place) / 'old'\n"
        "    old.touch(0o400)\n"
        "    for name in ('old', 'new'):\n"
        "        print(name, refusal(Path(place) / name))\n"
        "    os.chmod(place, 0o500)\n"
        "    print('new', refusal(Path(place) / 'new'))\n"
        "    os.chmod(old, 0o600)\n"
        "    write_text(old, 'in place')\n"
        "    print(old.read_text())\n"
        "    os.chmod(place, 0o700)\n"
    )
    done = children.run_python("-c", code)
    forbidden = "it may not be written"
    assert done.stdout == f"old {forbidden}\nnew \nnew {forbidden}\nin place\n", done.stderr


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with (
        pytest.raises(FileError, match=r"cannot read .*/no: No such file or directory"),
        reading(tmp_path / "no"),
    ):
        pass


def test_the_standard_output_gets_bytes_as_they_are(capfdbinary):
    with writing(_files.STANDARD) as opened:
        opened.write(b"\x93NUMPY")
    assert capfdbinary.readouterr().out == b"\x93NUMPY"
