"""Tracees where something is forbidden: seccomp, process_vm_readv, /proc, ptrace, or what a filter says."""

import errno
import json
import os
import platform
import shutil
import sys

import children
import compiling
import pytest
import traced_program
import tracing
from traced_program import SYS_PTRACE, SYS_SECCOMP

from amx._lib import lib

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or lib.amx_is_stub(), reason="x86-64 Linux only"
)
ptrace, directory = traced_program.ptrace, traced_program.directory  # fixtures
tracee = traced_program.tracee

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


def test_a_sandbox_that_forbids_ptrace(tracee):
    traced = tracing.run(tracee, "product", before=f"deny({SYS_PTRACE}, {errno.EPERM})")
    assert (traced.result, traced.stdout) == (-errno.EPERM, "")
