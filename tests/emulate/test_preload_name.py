"""LD_PRELOAD can name every library: by its path, or by a link to it."""

import os
import shutil

import children
import preloading
import pytest

from amx import emulation
from amx._lib import lib
from amx.emulation import launcher, preload_name
from amx.errors import EmulationError

needs_library = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The user's runtime directory, and that for temporary files."""
    runtime, temporary = tmp_path / "run", tmp_path / "tmp"
    for place in runtime, temporary:
        place.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return runtime, temporary


@pytest.mark.parametrize("path", ["/usr/lib/x.so", '/it\'s/"x".so', "/$ORIGIN/\udcff.so"])
def test_other_paths_are_named_as_they_are(places, path):
    assert preload_name.of(path) == path
    assert [list(place.iterdir()) for place in places] == [[], []]


@pytest.mark.parametrize("path", ["/a b/x.so", "/a:b/x.so", "/a \n'\udcff/x.so"])
def test_spaces_and_colons_are_named_by_a_link(places, path):
    """Always the same one, of the same name, in a directory that others cannot write to."""
    name = preload_name.of(path)
    assert os.readlink(name) == path
    assert os.path.basename(name) == "x.so"
    assert name.startswith(f"{places[0]}/")
    assert not preload_name.SPECIAL & {*name}
    assert os.stat(os.path.dirname(name)).st_mode & 0o7777 == 0o755
    assert preload_name.of(path) == name
    assert preload_name.of(f"{path}.so") != name


def test_without_a_runtime_directory_it_is_among_temporary_files(places, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert preload_name.of("/a b/x.so").startswith(f"{places[1]}/")


def test_a_place_in_which_others_rename_is_not_taken(places):
    """The link is what a program executes. /tmp is open to all, and sticky."""
    places[0].chmod(0o777)
    assert preload_name.of("/a b/x.so").startswith(f"{places[1]}/")
    places[0].chmod(0o1777)
    assert preload_name.of("/a b/x.so").startswith(f"{places[0]}/")


@pytest.mark.parametrize("damage", ["open to others", "a link", "another target"])
def test_a_link_that_somebody_else_made_is_not_taken(places, tmp_path, damage):
    name = preload_name.of("/a b/x.so")
    directory = os.path.dirname(name)
    if damage == "open to others":
        os.chmod(directory, 0o777)
    elif damage == "a link":
        os.rename(directory, tmp_path / "theirs")
        os.symlink(tmp_path / "theirs", directory)
    else:
        os.unlink(name)
        os.symlink("/theirs.so", name)
    assert preload_name.of("/a b/x.so").startswith(f"{places[1]}/")


def test_without_a_place_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "with a space"))
    with pytest.raises(
        EmulationError, match=r"/a b/x\.so cannot .*missing: No such file.*it has such a path.*Set TMPDIR"
    ):
        preload_name.of("/a b/x.so")


@needs_library
@pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer's runtime must be the first library")
def test_programs_and_their_children_find_it(places, tmp_path, monkeypatch):
    """Also those that lose their environment."""
    directory = tmp_path / "with: a space"
    directory.mkdir()
    shutil.copy(launcher.library(), directory / launcher.LIBRARY)
    monkeypatch.setattr(emulation, "__path__", [str(directory)])
    assert os.path.realpath(launcher.library()) == str(directory / launcher.LIBRARY)
    made = preloading.environment(tmp_path)
    command = ["/bin/sh", "-c", "/bin/sh -c : && exec env -i /bin/sh -c :"]
    done = children.run(command, env=made, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = [report["pid"] for report in preloading.reports(tmp_path)]
    assert others.count(first) == 2  # env, and the shell that it becomes
    assert len(set(others)) == 2  # and the child


def test_what_else_is_preloaded_keeps_its_name():
    """Only spaces and colons separate."""
    made = launcher.environment({"LD_PRELOAD": "/a\tb.so: /c\nd.so "}, cpu="spr", patch=True, preload=False)
    assert made["LD_PRELOAD"] == "/a\tb.so:/c\nd.so"
