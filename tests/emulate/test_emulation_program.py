"""Whether a program can be preloaded: found out from its file, before anything runs."""

import errno
import os
import stat
import struct
import sys

import children
import elf_writing
import pytest
from elf_writing import X86_64

from amx import errors, foreign_file
from amx.emulation import program

AARCH64, I386 = 183, 3


def script(path, first):
    path.write_text(f"{first}\n")
    path.chmod(0o755)
    return path


def own_loader():
    return program._inspect("/proc/self/exe", "/proc/self/exe").loader


def refusal(path):
    with pytest.raises(errors.EmulationError) as raised:
        program.require_preloadable(program.find(str(path)))
    return raised.value


def test_this_interpreter_can_be_preloaded():
    found = program.find(sys.executable)
    assert (found.path, found.bits, found.machine) == (sys.executable, 64, X86_64)
    program.require_preloadable(found)


def test_a_program_without_a_loader_is_static(tmp_path):
    error = refusal(elf_writing.program(tmp_path / "static"))
    assert "static" in error.what
    assert "--ptrace" in error.remedy


@pytest.mark.parametrize(
    ("bits", "machine", "words"),
    [(32, I386, "32-bit"), (32, X86_64, "32-bit"), (64, AARCH64, "another processor")],
)
def test_other_processors_are_refused(tmp_path, bits, machine, words):
    assert (
        words
        in refusal(elf_writing.program(tmp_path / "other", bits=bits, machine=machine, loader="/lib/x")).what
    )


def test_another_c_library_is_refused_with_ptrace_as_the_remedy(tmp_path):
    error = refusal(elf_writing.program(tmp_path / "other", loader="/lib/ld-other-x86_64.so.1"))
    assert "/lib/ld-other-x86_64.so.1" in error.what
    assert "--ptrace" in error.remedy


def test_the_same_c_library_elsewhere_is_not(tmp_path):
    loader = f"/elsewhere/{os.path.basename(own_loader())}"
    program.require_preloadable(program.find(str(elf_writing.program(tmp_path / "mine", loader=loader))))


def test_a_script_is_what_its_interpreter_is(tmp_path):
    static = elf_writing.program(tmp_path / "static")
    inner = script(tmp_path / "inner", f"#! {static} -x")
    outer = script(tmp_path / "outer", f"#!{inner}")
    found = program.find(str(outer))
    assert (found.path, found.binary, found.loader) == (str(outer), str(static), "")
    assert str(static) in refusal(outer).what
    program.require_preloadable(program.find(str(script(tmp_path / "fine", f"#!{sys.executable}"))))


def test_scripts_that_name_each_other_are_refused_as_by_the_kernel(tmp_path):
    path = tmp_path / "loop"
    script(path, f"#!{path}")
    with pytest.raises(errors.ProgramError) as raised:
        program.find(str(path))
    assert raised.value.errno == errno.ELOOP


def test_a_program_is_found_in_path_behind_what_cannot_be_executed(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
    elf_writing.program(tmp_path / "a" / "tool").chmod(0o644)
    tool = elf_writing.program(tmp_path / "b" / "tool")
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b")
    assert program.find("tool").path == str(tool)


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (lambda path: None, errno.ENOENT),
        (lambda path: path.mkdir(), errno.EISDIR),
        (lambda path: elf_writing.program(path).chmod(0o644), errno.EACCES),
        (lambda path: script(path, "no program"), errno.ENOEXEC),
        (lambda path: script(path, "#!"), errno.ENOEXEC),
        (lambda path: script(path, "#!/no/such/interpreter"), errno.ENOENT),
        (lambda path: script(path, ""), errno.ENOEXEC),
    ],
    ids=["missing", "directory", "no-x", "text", "no-interpreter", "missing-interpreter", "empty"],
)
def test_what_exec_refuses_is_refused_with_its_error(tmp_path, make, number):
    make(tmp_path / "program")
    with pytest.raises(errors.ProgramError) as raised:
        program.find(str(tmp_path / "program"))
    assert raised.value.errno == number
    assert raised.value.remedy


def test_a_program_that_gains_privileges_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make a file that is another user's")
    if os.statvfs(tmp_path).f_flag & os.ST_NOSUID:
        pytest.skip("set-user-ID means nothing on this file system")
    path = elf_writing.program(tmp_path / "su", loader=own_loader())
    os.chown(path, 65534, 65534)
    for bit, words in ((stat.S_ISUID, "set-user-ID"), (stat.S_ISGID, "set-group-ID")):
        path.chmod(0o755 | bit)
        error = refusal(path)
        assert words in error.what
        assert "LD_PRELOAD" in error.cause
    path.chmod(0o755)
    program.require_preloadable(program.find(str(path)))


def refused(path):
    """The error with which exec refuses a file: of the kernel, and of ours."""
    with pytest.raises(errors.ProgramError) as raised:
        program.find(str(path))
    done = children.run([sys.executable, "-c", EXECUTE, path], capture_output=True, text=True)
    return int(done.stdout), raised.value.errno


EXECUTE = """
import os, sys
try:
    os.execv(sys.argv[1], [sys.argv[1]])
except OSError as error:
    print(error.errno)
"""
FAR = 2**64 - 1


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (32, "<Q", FAR),  # e_phoff
        (32, "<Q", 2**63),
        (32, "<Q", 2**20),
        (54, "<H", 0xFFFF),  # e_phentsize
        (54, "<H", 55),
        (56, "<H", 0xFFFF),  # e_phnum
        (56, "<H", 0),
        (64 + 56 + 8, "<Q", FAR),  # p_offset of PT_INTERP
        (64 + 56 + 8, "<Q", 2**20),
        (64 + 56 + 32, "<Q", FAR),  # p_filesz
        (64 + 56 + 32, "<Q", 1),
        (64 + 56 + 32, "<Q", 5),  # its end is no NUL
    ],
)
def test_headers_that_cannot_be_are_refused_as_by_the_kernel(tmp_path, at, form, value):
    path = elf_writing.program(tmp_path / "program", loader="/lib/x")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(form, value))
    kernels, ours = refused(path)
    assert ours == errno.ENOEXEC
    assert kernels in (errno.ENOEXEC, errno.EIO, errno.EINVAL)  # what is beyond the file is EIO to some


def test_headers_of_gigabytes_are_not_read(tmp_path, monkeypatch):
    path = elf_writing.program(tmp_path / "program", loader="/lib/x")
    with path.open("r+b") as file:
        file.seek(54)
        file.write(struct.pack("<2H", 0xFFFF, 0xFFFF))
        file.truncate(2**33)
    read = foreign_file.ForeignFile.read
    sizes = []
    monkeypatch.setattr(
        foreign_file.ForeignFile, "read", lambda *given: (sizes.append(given[2]), read(*given))[1]
    )
    with pytest.raises(errors.ProgramError):
        program.find(str(path))
    assert sum(sizes) < 2**17


@pytest.mark.parametrize("first", [b"#!/bin/sh\0 -x\n", b"#!/bin/sh\0", b"#! \t/bin/sh\t-x\n", b"#!/bin/sh"])
def test_an_interpreter_ends_at_a_nul_as_to_the_kernel(tmp_path, first):
    path = tmp_path / "script"
    path.write_bytes(first)
    path.chmod(0o755)
    found = program.find(str(path))
    assert os.path.realpath(found.binary) == os.path.realpath("/bin/sh")
    assert children.run([path], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "first",
    [
        b"#!\0/bin/sh\n",
        b"#! \t\n",
        b"#!/bin/sh\r\n",
        b"#!/bin/sh\v\n",
        b"#!/" + b"x" * 300,
        b"#!" + b" " * 300,
    ],
)
def test_what_the_kernel_takes_for_no_interpreter_is_none(tmp_path, first):
    path = tmp_path / "script"
    path.write_bytes(first)
    path.chmod(0o755)
    kernels, ours = refused(path)
    assert ours in (errno.ENOEXEC, errno.ENOENT)
    assert kernels in (errno.ENOEXEC, errno.ENOENT, errno.EACCES)  # an empty name is the working directory


def test_what_a_file_names_is_printed_as_text(tmp_path):
    path = script(tmp_path / "script", "#!/no/\x1b[2J\x9b")
    with pytest.raises(errors.ProgramError) as raised:
        program.find(str(path))
    assert r"/no/\x1b[2J\x9b cannot be run" in str(raised.value)
