"""Files of others: opened without waiting, regular, bounded, of the right owner; names printed as text."""

import contextlib
import errno
import io
import os
import re
import tempfile
from pathlib import Path

import children
import numpy as np
import pytest
from rich.table import Table
from rich.text import Text

from amx import cli, foreign_file
from amx._console import open_console
from amx.printable import printable, printable_lines

NOBODY = 65534


def refusal(*arguments, **options):
    with pytest.raises(OSError, match=r"it |there ") as raised:
        foreign_file.opened(*arguments, **options)
    return raised.value.strerror


def test_a_file_is_read_where_it_is_asked(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with foreign_file.opened(path) as file:
        parts = (
            file.read(2, 3),
            file.read(8, 100),
            file.read(10, 1),
            file.read(-1, 1),
            file.read(2**64 - 1, 1),
        )
    assert parts == (b"234", b"89", b"", b"", b"")
    assert foreign_file.read(path, 10) == b"0123456789"


def test_one_that_is_cut_short_meanwhile_ends_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(2**20))
    with foreign_file.opened(path) as file:
        os.truncate(path, 3)
        assert file.read(0, 2**20) == bytes(3)


def test_one_that_grows_meanwhile_is_too_large(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    pread = os.pread

    def grow(*arguments):
        with path.open("ab") as file:
            file.write(b"5")
        return pread(*arguments)

    monkeypatch.setattr(os, "pread", grow)
    with pytest.raises(OSError, match="more than 4 bytes") as raised:
        foreign_file.read(path, 4)
    assert raised.value.errno == errno.EFBIG


def test_what_is_no_regular_file_is_not_opened(tmp_path, monkeypatch):
    """A FIFO would be waited for, and opening some devices does something."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("it was opened"))
    for path in (tmp_path / "fifo", tmp_path / "link", tmp_path, "/dev/zero"):
        assert refusal(path) == "it is no regular file"


def test_one_that_becomes_a_fifo_at_that_moment_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.touch()
    before = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda *_, **__: before)
    assert refusal(path) == "it is no regular file"


def test_a_sparse_file_of_any_length_is_refused_by_its_size(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(2**33)
    assert refusal(path, most=2**32) == "it has more than 4,294,967,296 bytes"


def test_links_are_followed_only_where_they_may_be(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    assert foreign_file.read(tmp_path / "link", 1) == b"1"
    assert refusal(tmp_path / "link", links=False) == "it is no regular file"


def test_a_name_with_nul_is_an_error_as_any_other():
    assert refusal("a\0b") == "there is a NUL in its name"


OWNED = """
import os, sys
from amx import cli, foreign_file
os.setgroups([]), os.setresgid({0}, {0}, {0}), os.setresuid({0}, {0}, {0})
for path in sys.argv[1:]:
    try:
        print(foreign_file.read(path, 10, owned=True))
    except PermissionError as error:
        print(error.strerror)
"""


def test_where_the_owner_matters_it_is_this_user_or_root():
    if os.geteuid() != 0:
        pytest.skip("only root can make a file that is another user's")
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are closed to others
        os.chmod(directory, 0o755)
        paths = [Path(directory, name) for name in ("own", "root's", "another's")]
        for path, owner in zip(paths, (NOBODY, 0, NOBODY - 1), strict=True):
            path.write_bytes(b"1")
            path.chmod(0o644)
            os.chown(path, owner, owner)
        done = children.run_python("-c", OWNED.format(NOBODY), *paths)
        assert done.stdout.splitlines() == ["b'1'", "b'1'", "it is another user's"], done.stderr
        assert refusal(paths[0], owned=True) == "it is another user's"  # to root, too


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain", "plain"),
        ("Grün 量子", "Grün 量子"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eabc", r"\u202eabc"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_names_are_printed_without_what_acts_on_a_terminal(name, text):
    assert printable(name) == text


def test_a_text_keeps_its_lines():
    assert printable_lines("a\n\tb\x1b[2J\r\n") == "a\n\tb\\x1b[2J\\r\n"


@pytest.mark.parametrize(
    "words",
    [
        ("emulate", "--", "/no/\x1b[2J\x9b"),
        ("emulate", "--trace", "/no/\x1b[2J\x9b", "--", "/bin/true"),
        ("matmul", "/no/\x1b[2J\x9b", "/no/\x1b[2J\x9b", "-o", "/no"),
        ("matmul", "a\x1b[2J\x9b.npy", "a\x1b[2J\x9b.npy", "-o", "/dev/null"),
        ("matmul", "a.npy", "a.npy", "-o", "/no/\x1b[2J\x9b"),
        ("bench", "\x1b[2J\x9b", "--peers", "none"),
        ("bench", "--peers", "\x1b[2J\x9b"),
        ("bench", "--dtype", "\x1b[2J\x9b"),
        ("emulate", "--stats-file", "/no/\x1b[2J\x9b", "--", "/bin/true"),
        ("check", "\x1b[2J\x9b"),
        ("info", "--record", "/no/\x1b[2J\x9b"),
        ("check", "--html", "/no/\x1b[2J\x9b"),
        ("\x1b[2J",),
    ],
    ids=lambda words: words[0].strip("\x1b"),
)
def test_no_command_prints_a_name_that_acts_on_the_terminal(words, capfd, tmp_path, monkeypatch):
    """Names come from globs, and from files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a\x1b[2J\x9b.npy").write_text("no .npy file")
    with contextlib.suppress(SystemExit):
        assert cli.main(list(words)) != 0
    said = capfd.readouterr()
    assert r"\x1b[2J" in said.err
    assert not {"\x1b", "\x9b"} & {*said.out, *said.err}


def test_the_report_of_a_product_names_its_file_as_text(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.ones((2, 2), np.int8))
    assert cli.main(["matmul", "a.npy", "a.npy", "-o", "c\x1b[2J\x9b.npy"]) == 0
    assert capfd.readouterr().out.startswith(r"c\x1b[2J\x9b.npy: (2, 2) int32")


def test_commands_say_their_errors_at_one_place():
    """Which is where names become text."""
    modules = Path(cli.__file__).parent.glob("*.py")
    assert [each.name for each in modules if "file=sys.stderr)" in each.read_text()] == ["_streams.py"]


@pytest.mark.parametrize("kind", [str, Text, lambda text: Table(text), lambda text: Text(text, "red")])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_that_a_console_prints_acts_on_the_terminal(kind, is_terminal):
    console = open_console(io.StringIO())
    console._force_terminal = is_terminal
    console.print(kind("a\x1b[2Jb\x9b[31m\u202ec"))
    said = re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue())  # the console's own colours
    assert r"a\x1b[2Jb\x9b[31m\u202ec" in said
    assert not {"\x1b", "\x9b", "\u202e"} & {*said}
