"""Programs under amx_ptrace_run, which a Python child calls: it changes signal dispositions and reaps."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import children
from denying import DENY

SUPPORT = Path(__file__).parent

# The last line of standard error is what the call gave.
SCRIPT = (
    DENY
    + """
import json, os, sys
from amx._lib import ffi, lib

SYS_process_vm_readv, SYS_process_vm_writev = 310, 311

def kill_for(number):
    deny(number, action=0x80000000)

def hide_proc():
    import ctypes
    libc = ctypes.CDLL(None)
    CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
    assert libc.unshare(CLONE_NEWNS) == 0
    assert libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) == 0
    assert libc.mount(b"none", b"/proc", b"tmpfs", ctypes.c_ulong(0), None) == 0

def become_nobody():
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)

exec(os.environ.pop("BEFORE"))
cpu, *words = sys.argv[1:]
strings = [ffi.new("char[]", os.fsencode(word)) for word in words]
if words[0] != sys.executable:
    os.environ.pop("LD_PRELOAD", None)  # a sanitizer's runtime, which is for this package's module alone
variables = [ffi.new("char[]", f"{name}={value}".encode()) for name, value in os.environ.items()]
model = ffi.new("char[]", cpu.encode())
options = ffi.new("struct amx_trap_options *", {"cpu": model, "hybrid": -1})
counts, status = ffi.new("struct amx_trap_counts *"), ffi.new("int *")
result = lib.amx_ptrace_run(
    strings[0], ffi.new("char *[]", [*strings, ffi.NULL]), ffi.new("char *[]", [*variables, ffi.NULL]),
    options, counts, status,
)
numbers = {name: getattr(counts, name) for name, _ in ffi.typeof(counts[0]).fields}
print(json.dumps({"result": result, "status": status[0], "counts": numbers}), file=sys.stderr)
"""
)


@dataclasses.dataclass(frozen=True)
class Traced:
    """A run that has ended."""

    stdout: str
    result: int
    status: int | None
    """The exit status, or -signal; None where nothing ran."""
    instructions: int
    counts: dict[str, int]


def start(*words, cpu="spr", before="", **environment):
    """The launcher, running; `before` is Python code that it executes first."""
    return children.start(
        [sys.executable, "-c", SCRIPT, cpu, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "BEFORE": before, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(launcher, timeout=60):
    try:
        stdout, stderr = launcher.communicate(timeout=timeout)
    finally:
        launcher.kill()
    assert launcher.returncode == 0, stderr
    said = json.loads(stderr.splitlines()[-1])
    status = None if said["status"] == -1 else os.waitstatus_to_exitcode(said["status"])
    return Traced(stdout, said["result"], status, said["counts"]["instructions"], said["counts"])


def run(*words, **options):
    return finish(start(*words, **options))
