"""Programs as tracees: what AMX instructions, permission, CPUID and signals are to them."""

import ctypes
import errno
import json
import os
import platform
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import children
import compiling
import pytest
import tracing

from amx import machine, xstate
from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)

SOURCE = compiling.ROOT / "tests/c/tracee.c"
SYS_PTRACE, SYS_SECCOMP = 101, 317
PRODUCT = 7
"""AMX instructions of one."""
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

PAGE_FAULTS = """\
load: code 2, address 4096
rows 1 1 2 2
store: code 1, address 8192, bytes before it 2
read-only: code 2, address 4064, bytes after it 2
"""
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


SANDBOX = """
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    struct sock_filter kill_for_prctl[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, kill_for_prctl};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 2;
    execl("/bin/true", "true", (char *)0);
    return 3;
}
"""


@pytest.fixture(scope="module", autouse=True)
def ptrace():
    """Skips where no child may ask to be traced: sandboxes, Yama."""
    traceme = "import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)"
    if children.run([sys.executable, "-c", traceme]).returncode:
        pytest.skip("ptrace is forbidden here")


@pytest.fixture(scope="module")
def directory():
    """Where another user may execute what is in it."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def tracee(directory):
    try:
        return compiling.compile_c(directory / "tracee", [SOURCE], "-static", "-no-pie")
    except subprocess.CalledProcessError:
        pytest.skip("no static C library")


@pytest.fixture(scope="module")
def dynamic_tracee(directory):
    return compiling.compile_c(directory / "dynamic-tracee", [SOURCE])


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def child_named(pid, name):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(
        (int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == f"{name}\n"), 0
    )


# ---- programs


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


def test_without_seccomp_every_system_call_is_looked_at(tracee):
    before = f"deny({SYS_SECCOMP}, {errno.EPERM})"
    for case, stdout, status in (
        ("product", "right\n", 7),
        ("forks", "0 failed\n", 0),
        ("threads", "right\n", 0),
    ):
        traced = tracing.run(tracee, case, before=before)
        assert (case, traced.stdout, traced.status) == (case, stdout, status)


def test_a_sandbox_is_asked_for_no_more_than_its_program_asks(directory):
    """Its filter kills for prctl(2), which /bin/true does not call."""
    (directory / "sandbox.c").write_text(SANDBOX)
    traced = tracing.run(compiling.compile_c(directory / "sandbox", [directory / "sandbox.c"]))
    assert (traced.result, traced.status) == (0, 0)


NO_VM_CALLS = {
    "refused": f"deny(SYS_process_vm_readv, {errno.EPERM}), deny(SYS_process_vm_writev, {errno.EPERM})",
    "missing": f"deny(SYS_process_vm_readv, {errno.ENOSYS}), deny(SYS_process_vm_writev, {errno.ENOSYS})",
    "read only": f"deny(SYS_process_vm_writev, {errno.EPERM})",
    "killed for": "kill_for(SYS_process_vm_readv)",
}


@pytest.mark.parametrize("before", NO_VM_CALLS.values(), ids=NO_VM_CALLS)
def test_memory_is_reached_where_process_vm_readv_is_forbidden(tracee, before):
    """By /proc/PID/mem, which would write to read-only pages, too."""
    for case in ("product", "cpu", "blocked", "stack", "page-fault"):
        expected = tracing.run(tracee, case)
        traced = tracing.run(tracee, case, before=before)
        assert (traced.stdout, traced.status, traced.counts) == (
            expected.stdout, expected.status, expected.counts,
        ), case  # fmt: skip


def test_where_memory_cannot_be_reached_at_all_nothing_runs(tracee):
    """Rather than a program of which nothing can be read: without process_vm_readv and without /proc."""
    namespace = """
import ctypes, sys
libc = ctypes.CDLL(None)
private = ctypes.c_ulong(0x44000)  # MS_REC | MS_PRIVATE: refused where / is no mount, as in a chroot
sys.exit(libc.unshare(0x20000) != 0 or libc.mount(None, b"/", None, private, None) != 0)
"""
    if children.run([sys.executable, "-c", namespace]).returncode:
        pytest.skip("there can be no mount namespace of our own, in which /proc is hidden")
    traced = tracing.run(tracee, "product", before=f"hide_proc(), {NO_VM_CALLS['missing']}")
    assert (traced.result, traced.status, traced.stdout) == (-errno.EIO, None, "")


@pytest.mark.parametrize("kind", ["none", "of another PID namespace"])
def test_without_its_own_proc_nothing_runs(kind, tracee):
    """Rather than a program whose CPUID instructions are not found, and which sees no AMX."""
    prefix = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if kind != "none":
        prefix = ["unshare", "--pid", "--fork"]
    if os.geteuid():
        prefix.insert(1, "--map-root-user")
    if not shutil.which("unshare") or children.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("there can be no namespaces of our own here (unshare)")
    amx = [sys.executable, "-m", "amx", "emulate"]
    done = children.run([*prefix, *amx, "--ptrace", "--", tracee, "product"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.count("\n") == 1
    assert "/proc is not mounted" in done.stderr
    told = children.run([*prefix, *amx, "--probe", "--json"], capture_output=True, text=True)
    ways = {way["name"]: way for way in json.loads(told.stdout)["ways"]}
    assert not ways["amx emulate --ptrace"]["works"]
    assert "/proc is not mounted" in ways["amx emulate --ptrace"]["reason"]


@pytest.mark.parametrize("case", ["exec", "exec-by-thread"])
@pytest.mark.parametrize("before", ["", f"deny({SYS_SECCOMP}, {errno.EPERM})"], ids=["filter", "no filter"])
def test_execve_drops_the_permission(tracee, case, before):
    traced = tracing.run(tracee, case, before=before)
    assert traced.stdout.splitlines() == [
        f"before {PERMITTED:x}",
        ANNOUNCED,
        PERMISSION,
    ]


def test_signals_are_neither_blocked_nor_ignored_for_the_interpreters_sake(tracee):
    """Python ignores SIGPIPE and SIGXFSZ, and the tracer blocks all."""
    status = tracing.run("/bin/grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status").stdout.split()
    masks = dict(zip(status[::2], (int(mask, 16) for mask in status[1::2]), strict=True))
    pythons = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert (masks["SigBlk:"], masks["SigIgn:"] & pythons) == (0, 0)


IN_PROCESS = """
from amx._lib import ffi, lib
name = ffi.new("char[]", b"spr")
print(lib.amx_trap_start(ffi.new("struct amx_trap_options *", {"cpu": name, "hybrid": -1})))
"""


def test_a_program_that_has_amx_is_not_given_it_again():
    assert tracing.run(sys.executable, "-c", IN_PROCESS).stdout == f"{-errno.EALREADY}\n"


def test_a_launcher_that_ignores_its_children_hears_of_this_one(tracee):
    ignore = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    assert tracing.run(tracee, "product", before=ignore).status == 7
    mask = tracing.run("/bin/grep", "^SigIgn:", "/proc/self/status", before=ignore).stdout.split()[1]
    assert int(mask, 16) & 1 << (signal.SIGCHLD - 1), "and so does the program"


# ---- threads and processes


def test_threads_have_tiles_of_their_own(tracee):
    traced = tracing.run(tracee, "threads")
    assert (traced.stdout, traced.instructions) == ("right\n", 8 * 20 * PRODUCT)


def test_a_thread_that_outlives_the_first_one(tracee):
    """What /proc says of the process is the first thread's, which has no memory then."""
    traced = tracing.run(tracee, "leader-ends")
    assert (traced.stdout, traced.status, traced.instructions) == ("right\n", 7, PRODUCT)


def test_forked_children(tracee):
    traced = tracing.run(tracee, "forks")
    assert (traced.stdout, traced.instructions) == ("0 failed\n", 50 * PRODUCT)


def test_children_have_the_configuration_and_not_the_data(tracee):
    assert tracing.run(tracee, "inherit").stdout.splitlines() == [
        "fork: configuration same, data zero",
        "vfork: configuration same, data zero",
        "thread: configuration same, data zero",
        "itself: configuration same, data live",
    ]


def test_what_the_program_leaves_behind_still_has_amx(tracee):
    """The status is the program's, and the run ends with the last of its descendants."""
    traced = tracing.run(tracee, "orphan")
    assert (traced.status, traced.stdout, traced.instructions) == (5, "right\n", PRODUCT)


def test_children_of_a_killed_creator_live_on(tracee):
    """Also those that the creator was killed too early to report."""
    traced = tracing.run(tracee, "killed-creators")
    assert (traced.result, traced.stdout, traced.status) == (0, "all killed\n", 0)
    assert traced.instructions > 0


def test_nothing_outlives_a_killed_tracer():
    launcher = tracing.start("/bin/sh", "-c", "echo $$; sleep 300; echo")
    with launcher:
        pid = int(launcher.stdout.readline())
        wait_until(lambda: child_named(pid, "sleep"))
        child = child_named(pid, "sleep")
        time.sleep(0.2)  # until it sleeps, and would go on doing so by itself
        launcher.kill()
    wait_until(lambda: {alive(pid), alive(child)} <= {None, "Z"}, seconds=10)


# ---- signals


def test_instructions_without_permission(tracee):
    """ILL_ILLOPN is 2 and ILL_ILLOPC 1; the CPU's own checks come first."""
    assert tracing.run(tracee, "without-permission").stdout.splitlines() == [
        "unconfigured: code 2, at it 1",
        "unpermitted: code 1, at it 1",
        "code 1, and permitted by the handler",
    ]


@pytest.mark.parametrize(
    ("case", "number"),
    [
        ("ud2", signal.SIGILL),
        ("null", signal.SIGSEGV),
        ("unpermitted", signal.SIGILL),
        ("bad-config", signal.SIGSEGV),
        ("fault-blocked", signal.SIGSEGV),
        ("fault-ignored", signal.SIGSEGV),
    ],
)
def test_faults_end_the_program_as_on_hardware(tracee, case, number):
    traced = tracing.run(tracee, case)
    assert (traced.result, traced.status) == (0, -number)


def test_a_handler_gets_what_is_not_amx(tracee):
    traced = tracing.run(tracee, "ud2-handled")
    assert (traced.stdout, traced.status) == ("code 2\n", 0)


def test_page_faults_are_the_programs_and_restart(tracee):
    """SEGV_ACCERR is 2 and SEGV_MAPERR 1. A row in two pages is stored whole or not at all."""
    assert tracing.run(tracee, "page-fault").stdout == PAGE_FAULTS


def test_the_stack_grows_down_to_a_stored_tile(tracee):
    assert tracing.run(tracee, "stack").stdout == "stored 0\n"


def test_sigill_may_be_blocked(tracee):
    """And its handler is still there afterwards, though the kernel resets that of a blocked SIGILL."""
    traced = tracing.run(tracee, "blocked")
    assert (traced.stdout, traced.status, traced.instructions) == ("right, then code 2\n", 0, 2 * PRODUCT)


@pytest.mark.parametrize("before", ["", f"deny({SYS_SECCOMP}, {errno.EPERM})"], ids=["filter", "no filter"])
def test_tiles_in_signal_handlers(tracee, before):
    """A handler starts without a configuration; what it interrupted comes back, in a forked child too."""
    handler = "handler 0, nested 0, handler again 0, "
    same = "configuration same, data live"
    assert tracing.run(tracee, "handlers", before=before).stdout.splitlines() == [
        f"{handler}INIT again 0",
        f"{handler}child: {same}",
        f"itself: {same}",
        "after a jump 0",
    ]


def test_other_signals_arrive_meanwhile(tracee):
    traced = tracing.run(tracee, "alarms")
    products = int(re.fullmatch(r"100 alarms amid (\d+) products\n", traced.stdout)[1])
    assert (traced.status, traced.instructions) == (0, (1 + products) * PRODUCT)


def test_small_alternate_stacks_refuse_the_request_and_are_refused_afterwards(tracee):
    expected = [0, -errno.ENOSPC, 0, -errno.EINVAL, 0, -errno.ENOMEM]
    assert [int(word) for word in tracing.run(tracee, "altstack").stdout.split()] == expected


def test_rows_in_vector_registers(tracee):
    """Without ZMM registers a row has nowhere to go: the instruction is undefined."""
    traced = tracing.run(tracee, "zmm", cpu="dmr")
    zmm = (machine.Real().xgetbv(0) or 0) & XCR0_ZMM == XCR0_ZMM
    expected = ("0, 0 0 0\n", 0) if zmm else ("no AVX-512\n", -signal.SIGILL)
    assert (traced.stdout, traced.status) == expected


def test_a_stopped_program_goes_on(tracee):
    launcher = tracing.start(tracee, "term")
    pid = int(launcher.stdout.readline())
    for _ in range(3):
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: alive(pid) in ("t", "T"))
        time.sleep(0.1)
        assert alive(pid) in ("t", "T"), "it stays stopped"
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: alive(pid) in ("R", "S"))
    os.kill(pid, signal.SIGTERM)
    traced = tracing.finish(launcher)
    assert (traced.stdout, traced.status) == ("terminated\n", 3)


def test_signals_to_the_launcher_are_for_the_program(tracee):
    launcher = tracing.start(tracee, "term")
    launcher.stdout.readline()
    launcher.terminate()
    traced = tracing.finish(launcher)
    assert (traced.stdout, traced.status) == ("terminated\n", 3)


ON_A_TERMINAL = """
import children, contextlib, os, sys, tracing
pid, terminal = children.fork_on_terminal()
if pid == 0:
    os.environ["BEFORE"] = ""
    os.execv(sys.executable, [sys.executable, "-c", tracing.SCRIPT, "spr", sys.argv[1], "term"])
said = b""
while b"\\n" not in said:  # the program's process id
    said += os.read(terminal, 100)
os.write(terminal, b"\\x03")
with contextlib.suppress(OSError):  # there is no other end any more
    while True:
        said += os.read(terminal, 1000)
print(os.waitpid(pid, 0)[1], said.split(b"\\r\\n")[-2].decode())
"""


def test_the_terminals_interrupt_ends_the_program_and_not_the_launcher(tracee):
    """Both are in the foreground; the launcher lives to tell."""
    run = children.run_python("-c", ON_A_TERMINAL, tracee)
    launcher, echo, report = run.stdout.partition(" ^C")
    assert (launcher, echo) == ("0", " ^C"), run
    assert json.loads(report)["status"] == signal.SIGINT


# ---- what cannot be run


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


def test_a_sandbox_that_forbids_ptrace(tracee):
    traced = tracing.run(tracee, "product", before=f"deny({SYS_PTRACE}, {errno.EPERM})")
    assert (traced.result, traced.stdout) == (-errno.EPERM, "")
