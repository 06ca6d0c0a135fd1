"""The initramfs for guests: what is in it, that it is always the same, and what cannot be put into it."""

import gzip
import os
import shutil
import subprocess
import sys

import children
import guest_program
import pytest

from amx.conformance.groups import checks
from amx.conformance.guest import initramfs
from amx.conformance.selection import select
from amx.errors import GuestError

PLAN = "DISC-01 10\n"


def read(archive):
    """The entries of a "newc" archive, by a reader of the kernel's text on the format: name to its fields."""
    names = "ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check"
    text, at, found = gzip.decompress(archive), 0, {}
    while True:
        assert text[at : at + 6] == b"070701"
        numbers = [int(text[at + 6 + 8 * each : at + 14 + 8 * each], 16) for each in range(13)]
        entry = dict(zip(names.split(), numbers, strict=True))
        begin = at + 110
        name = text[begin : begin + entry["namesize"] - 1].decode()
        begin = -(-(begin + entry["namesize"]) // 4) * 4
        entry["content"] = text[begin : begin + entry["filesize"]]
        at = -(-(begin + entry["filesize"]) // 4) * 4
        if name == "TRAILER!!!":
            assert not text[at:].strip(b"\0")
            return found
        found[name] = entry


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Sets the program to these bytes."""

    def place(content):
        (tmp_path / "program").write_bytes(content)
        monkeypatch.setenv(initramfs.STATIC, str(tmp_path / "program"))

    return place


def plan(*words, **options):
    return initramfs.plan(select(words, **options), checks())


def test_there_is_the_program_its_plan_and_what_it_mounts_on_and_nothing_else():
    entries = read(initramfs.archive(b"the program", PLAN))
    assert {name: oct(entry["mode"]) for name, entry in entries.items()} == {
        "dev": "0o40755",
        "dev/console": "0o20600",
        "dev/null": "0o20666",
        "init": "0o100755",
        "plan": "0o100644",
        "proc": "0o40755",
        "sys": "0o40755",
        "tmp": "0o41777",
    }
    assert (entries["init"]["content"], entries["plan"]["content"]) == (b"the program", PLAN.encode())


def test_the_nodes_are_those_of_the_kernel():
    entries = read(initramfs.archive(b"", PLAN))
    numbers = {name: (entry["rdevmajor"], entry["rdevminor"]) for name, entry in entries.items()}
    assert (numbers["dev/console"], numbers["dev/null"]) == ((5, 1), (1, 3))


def test_a_directory_comes_before_what_is_in_it():
    names = list(read(initramfs.archive(b"", PLAN)))
    assert names.index("dev") < names.index("dev/console")


def test_no_user_and_no_time_of_here_is_in_it():
    archive = initramfs.archive(b"", PLAN)
    assert {entry[field] for entry in read(archive).values() for field in ("uid", "gid", "mtime")} == {0}
    assert archive[3:8] == bytes(5)  # no name, no time (RFC 1952)


def test_the_same_gives_the_same_bytes_in_another_process():
    program = "import sys; from amx.conformance.guest import initramfs as made\n"
    program += f"sys.stdout.buffer.write(made.archive(bytes(range(256)) * 99, {PLAN!r}))"
    done = children.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == initramfs.archive(bytes(range(256)) * 99, PLAN)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="there is no cpio")
def test_cpio_reads_it(tmp_path):
    text = gzip.decompress(initramfs.archive(b"", PLAN))
    listed = subprocess.run(["cpio", "-t"], input=text, capture_output=True, check=True)
    assert listed.stdout.split() == [name.encode() for name in sorted(read(initramfs.archive(b"", PLAN)))]


def test_the_plan_has_what_a_selected_check_rests_on_in_the_order_of_the_catalogue():
    assert plan("PERM-02") == "DISC-01 40\nPERM-01 40\nPERM-02 40\n"


def test_the_plan_of_all_has_each_check_that_is_not_optional():
    optional = {check.id for check in checks()} - {line.split()[0] for line in plan().splitlines()}
    assert optional == {check.id for check in checks() if "OPT_IN" in {need.name for need in check.needs}}


@pytest.mark.parametrize(("words", "options"), [(["LIFE-03"], {}), ([], {"optional": True})])
def test_an_optional_check_is_in_the_plan_where_it_is_asked_for(words, options):
    assert "LIFE-03" in plan(*words, **options)


@pytest.mark.parametrize("kind", [2, 3])  # ET_EXEC, and ET_DYN: static-pie
def test_a_static_program_is_taken(program, kind):
    program(guest_program.elf(kind=kind))
    assert initramfs.program() == guest_program.elf(kind=kind)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (guest_program.elf(interpreter=True), "It is linked dynamically"),
        (guest_program.elf(machine=183), "It is no program for x86-64"),
        (guest_program.elf(kind=1), "It is no program for x86-64"),
        (guest_program.elf(segments=False), "Its program headers are damaged"),
        (guest_program.elf()[:100], "Its program headers are damaged"),
        (b"#!/bin/sh\n" * 10, "It is no ELF file"),
        (b"", "It is no program"),
    ],
)
def test_a_program_that_no_kernel_could_start_alone_is_refused(program, content, cause):
    program(content)
    with pytest.raises(GuestError, match=cause) as raised:
        initramfs.program()
    assert "AMX_STATIC_PROVOKE=ON" in raised.value.remedy


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(monkeypatch, tmp_path, make):
    make(tmp_path / "program")
    monkeypatch.setenv(initramfs.STATIC, str(tmp_path / "program"))
    with pytest.raises(GuestError, match="no regular file"):
        initramfs.program()


def check(*words, **environment):
    return children.run(
        [sys.executable, "-m", "amx", "check", *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_command_writes_it(program, tmp_path):
    program(guest_program.elf())
    done = check("--initramfs", tmp_path / "file", "PERM-02")
    text = (tmp_path / "file").read_bytes()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'file'}: {len(text):,} bytes, 3 checks\n"
    assert text == initramfs.archive(guest_program.elf(), plan("PERM-02"))


def test_without_a_program_nothing_is_written_and_the_remedy_is_said(tmp_path):
    done = check("--initramfs", tmp_path / "file", AMX_PROVOKE_STATIC=str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Set AMX_PROVOKE_STATIC" in done.stderr
    assert not (tmp_path / "file").exists()
