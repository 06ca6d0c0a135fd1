"""Traced programs that mean harm: the launcher works for them within bounds, and tells how they ended."""

import errno
import platform
import signal
import sys

import children
import compiling
import elf_writing
import pytest
import tracing
from elf_writing import PAGE

from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)

DONE, IMPOSSIBLE = 7, 77
"""Exit statuses of the program: it came to its end; the kernel forbids what it wanted to try."""
ATTEMPTS = 20
"""Of the program."""
SITE = b"\xb8\x07\0\0\0\x0f\xa2"  # mov $7, %eax; cpuid
SITES_OF_FILE, SITES_OF_PROCESS = 1 << 14, 1 << 16


@pytest.fixture(scope="module", autouse=True)
def ptrace():
    """Skips where no child may ask to be traced: sandboxes, Yama."""
    traceme = "import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"
    if children.run([sys.executable, "-c", traceme]).returncode:
        pytest.skip("ptrace is forbidden here")


@pytest.fixture
def tracee(tmp_path):
    return compiling.compile_c(tmp_path / "tracee", [compiling.ROOT / "tests/c/hostile_tracee.c"])


def code(path, content, *, size=None, segments=None):
    """A file with code from its second page on."""
    size = size or PAGE + len(content)
    segments = segments or [elf_writing.segment(size=size)]
    with path.open("wb") as file:
        file.write((elf_writing.header(len(segments)) + b"".join(segments)).ljust(PAGE, b"\0") + content)
        file.truncate(size)
    return path


def test_a_program_that_maps_code(tracee, tmp_path):
    """What the hostile ones below differ from."""
    path = code(tmp_path / "file", SITE.ljust(PAGE, b"\x90"))
    none, one = tracing.run(tracee, "map"), tracing.run(tracee, "map", path)
    assert (none.result, none.status, one.result, one.status) == (0, DONE, 0, DONE)
    assert one.counts["unpatchable"] == none.counts["unpatchable"] == 0


def test_no_file_is_written_to_by_a_shared_mapping(tracee, tmp_path):
    """Another thread makes the code writable while the tracer is still looking for CPUID in it."""
    path = code(tmp_path / "file", (SITE * 9).ljust(8 << 20, b"\x90"))
    before = path.read_bytes()
    traced = tracing.run(tracee, "map shared", path)
    assert (traced.result, traced.status) == (0, DONE)
    assert path.read_bytes() == before
    assert traced.counts["unpatchable"] == 9 * ATTEMPTS


OVER = "mmap", "mremap", "shmat", "int 0x80", "process", "untraced", "listener"
"""Ways in which something else is laid over code: system calls of another thread; of a process in the same
memory, traced or not; of a thread under a filter that hides them from the tracer's."""


@pytest.mark.parametrize("way", OVER)
def test_no_shared_memory_is_written_to_that_is_laid_over_code_meanwhile(tracee, tmp_path, way):
    """A file or memory of System V, while the tracer writes breakpoints there."""
    path = code(tmp_path / "file", SITE * SITES_OF_FILE)
    data = tmp_path / "data"
    data.write_bytes(bytes(path.stat().st_size + PAGE - 1 & -PAGE))
    traced = tracing.run(tracee, "map over", way, path, data)
    if traced.status == IMPOSSIBLE:
        pytest.skip("there are no listeners of filters here")
    assert (traced.result, traced.status) == (0, DONE)


def test_a_file_of_65535_segments_is_not_looked_at(tracee, tmp_path):
    """Of a sparse one, each of them a gigabyte of code."""
    size = 1 << 30
    path = code(tmp_path / "file", b"", segments=[elf_writing.segment(size=size)] * 65535, size=size + PAGE)
    traced = tracing.run(tracee, "map", path)
    assert (traced.result, traced.status) == (0, DONE)


def test_a_file_full_of_sites(tracee, tmp_path):
    """More than are followed: the others are counted, also those of a process that maps it many times."""
    more = 100
    path = code(tmp_path / "file", SITE * (SITES_OF_FILE + more))
    traced = tracing.run(tracee, "map", path)
    assert (traced.result, traced.status, traced.counts["unpatchable"]) == (0, DONE, more)
    traced = tracing.run(tracee, "map often", path)
    assert (traced.result, traced.status) == (0, DONE)
    assert 60 * SITES_OF_FILE <= traced.counts["unpatchable"] <= 64 * SITES_OF_FILE - SITES_OF_PROCESS + 1000


def test_more_files_than_are_remembered(tracee, tmp_path):
    paths = [code(tmp_path / str(number), SITE.ljust(PAGE, b"\x90")) for number in range(1100)]
    traced = tracing.run(tracee, "map", *paths, paths[0])
    assert (traced.result, traced.status, traced.counts["unpatchable"]) == (0, DONE, 0)


def test_a_program_whose_file_becomes_a_fifo(tracee):
    """It runs itself again, by /proc."""
    traced = tracing.run(tracee, "become a FIFO")
    assert (traced.result, traced.status) == (0, DONE)


def test_a_vdso_that_is_none_holds_nobody_up(tracee):
    """The tracer has its own calls made by what stands there, which here faults again and again.

    So it cannot give the program back its handler of SIGILL, and ends it rather than let it go on without.
    """
    traced = tracing.run(tracee, "false vDSO")
    if traced.status == IMPOSSIBLE:
        pytest.skip("PR_SET_MM_MAP is forbidden here")
    assert (traced.result, traced.status) == (-errno.ENOSYS, -signal.SIGKILL)
