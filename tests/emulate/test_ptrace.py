"""Programs as tracees: the CPU and the kernel that they see, however they are linked; and what cannot run."""

import ctypes
import errno
import os
import platform
import signal
import stat
import struct
import sys

import children
import compiling
import pytest
import traced_program
import tracing
from traced_program import PRODUCT, SYS_SECCOMP

from amx import machine, xstate
from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)
ptrace, directory = traced_program.ptrace, traced_program.directory  # fixtures
tracee, dynamic_tracee = traced_program.tracee, traced_program.dynamic_tracee
XCR0_ZMM = 0xE6
PERMITTED = (0 if lib.amx_is_stub() else machine.Real().xgetbv(0) or 0) | 3 | xstate.XFEATURE_MASK_XTILE
"""All components of the model: this machine's, x87 and SSE, the tiles."""
AT_MINSIGSTKSZ = 51
MINSIGSTKSZ = max(11952, own) if (own := ctypes.CDLL(None).getauxval(AT_MINSIGSTKSZ)) else 0
"""At least that of a CPU with AMX, where there is one to enlarge: kernels before 5.14 lack the entry."""
ANNOUNCED = f"features d, tiles in XCR0 3, AT_MINSIGSTKSZ {MINSIGSTKSZ}"
PERMISSION = (
    f"permission {PERMITTED & ~xstate.XFEATURE_MASK_XTILEDATA:x}, request 0, permission {PERMITTED:x}"
)
INTRINSICS = """
#include <immintrin.h>
#include <stdint.h>
#include <unistd.h>
int main(void) {
    static const uint8_t config[64] = {1, [16] = 64, [18] = 64, [20] = 64, [48] = 16, [49] = 16, [50] = 16};
    static int8_t a[16][64], b[16][64];
    static int32_t c[16][16];
    for (int i = 0; i < 1024; i++)
        (&a[0][0])[i] = (int8_t)i, (&b[0][0])[i] = (int8_t)(3 * i);
    if (syscall(158, 0x1023, 18) != 0)
        return 2;
    _tile_loadconfig(config);
    _tile_zero(0);
    _tile_loadd(1, a, 64);
    _tile_loadd(2, b, 64);
    __asm__ volatile("" ::: "memory");
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, c, 64);
    _tile_release();
    __asm__ volatile("" ::: "memory");
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            int32_t sum = 0;
            for (int k = 0; k < 64; k++)
                sum += a[i][k] * b[k / 4][4 * j + k % 4];
            if (sum != c[i][j])
                return 1;
        }
    return 0;
}
"""


def test_a_static_program(tracee):
    traced = tracing.run(tracee, "product")
    assert (traced.result, traced.stdout, traced.status) == (0, "right\n", 7)
    assert traced.instructions == PRODUCT


def test_a_dynamic_program(dynamic_tracee):
    traced = tracing.run(dynamic_tracee, "product")
    assert (traced.stdout, traced.status, traced.instructions) == ("right\n", 7, PRODUCT)


def test_a_static_program_of_the_compilers_intrinsics(directory):
    source = directory / "intrinsics.c"
    source.write_text(INTRINSICS)
    flags = ["-static", "-no-pie", "-mamx-tile", "-mamx-int8"]
    if children.run(
        [*compiling.compiler(), "-O1", *flags, source, "-o", directory / "intrinsics"], capture_output=True
    ).returncode:
        pytest.skip("the compiler has no AMX intrinsics, or there is no static C library")
    traced = tracing.run(directory / "intrinsics")
    assert (traced.status, traced.instructions) == (0, PRODUCT)


@pytest.mark.parametrize("linked", ["tracee", "dynamic_tracee"])
def test_the_cpu_and_the_kernel_are_those_of_the_model(request, linked):
    traced = tracing.run(request.getfixturevalue(linked), "cpu")
    assert traced.stdout.splitlines() == [
        ANNOUNCED,
        PERMISSION,
    ]
    assert traced.counts["arch_prctl"] == 3
    assert traced.counts["cpuid"] > 0 < traced.counts["xgetbv"]


def test_a_program_that_the_kernel_kills_while_it_loads_it(tmp_path):
    """Its second segment is larger in the file than in memory, which shows when the old image is gone."""
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header = struct.pack("<16s2HI3QI6H", ident, 2, 62, 1, 0x400000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    code = struct.pack("<2I6Q", 1, 5, 0, 0x400000, 0, 4096, 4096, 4096)
    data = struct.pack("<2I6Q", 1, 6, 4096, 0x401000, 0, 8, 0, 4096)
    program = tmp_path / "program"
    program.write_bytes((header + code + data).ljust(8192, b"\0"))
    program.chmod(0o755)
    untraced = children.run([program], cwd=tmp_path).returncode
    traced = tracing.run(program)
    assert (traced.result, traced.status) == (0, untraced)
    assert untraced < 0


def test_as_any_user(tracee):
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    traced = tracing.run(tracee, "product", before="become_nobody()")
    assert (traced.result, traced.stdout, traced.instructions) == (0, "right\n", PRODUCT)


@pytest.mark.parametrize("case", ["exec", "exec-by-thread"])
@pytest.mark.parametrize("before", ["", f"deny({SYS_SECCOMP}, {errno.EPERM})"], ids=["filter", "no filter"])
def test_execve_drops_the_permission(tracee, case, before):
    traced = tracing.run(tracee, case, before=before)
    assert traced.stdout.splitlines() == [
        f"before {PERMITTED:x}",
        ANNOUNCED,
        PERMISSION,
    ]


IN_PROCESS = """
from amx._lib import ffi, lib
name = ffi.new("char[]", b"spr")
print(lib.amx_trap_start(ffi.new("struct amx_trap_options *", {"cpu": name, "hybrid": -1})))
"""


def test_a_program_that_has_amx_is_not_given_it_again():
    assert tracing.run(sys.executable, "-c", IN_PROCESS).stdout == f"{-errno.EALREADY}\n"


def test_rows_in_vector_registers(tracee):
    """Without ZMM registers a row has nowhere to go: the instruction is undefined."""
    traced = tracing.run(tracee, "zmm", cpu="dmr")
    zmm = (machine.Real().xgetbv(0) or 0) & XCR0_ZMM == XCR0_ZMM
    expected = ("0, 0 0 0\n", 0) if zmm else ("no AVX-512\n", -signal.SIGILL)
    assert (traced.stdout, traced.status) == expected


def test_a_program_that_is_not_there():
    assert tracing.run("/nonexistent/program").result == -errno.ENOENT


def test_a_file_that_is_no_program(directory):
    plain = directory / "plain"
    plain.write_text("text\n")
    assert tracing.run(plain).result == -errno.EACCES
    plain.chmod(stat.S_IRWXU)
    assert tracing.run(plain).result == -errno.ENOEXEC


def test_an_unknown_cpu(tracee):
    assert tracing.run(tracee, "product", cpu="i386").result == -errno.EINVAL
