"""How the tests of csrc/trap/ run things in children: Python code, and the scenarios of tests/c/trapped/.

`run` puts PRELUDE before the code. There `start()` has begun the emulation, `request()` asks the modelled
kernel for permission, and `function(code)` makes machine code callable with two arguments.
"""

import atexit
import functools
import shutil
import subprocess
import tempfile
import textwrap
from pathlib import Path

import children
import compiling
from preloading import FOREIGN

PRELUDE = """
import ctypes, mmap, os, sys
from amx._lib import ffi, lib

ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 0x1022, 0x1023, 18

def start(cpu="spr", patch=0, hybrid=-1):
    name = ffi.new("char[]", cpu.encode())
    return lib.amx_trap_start(
        ffi.new("struct amx_trap_options *", {"cpu": name, "patch": patch, "hybrid": hybrid})
    )

def request():
    return lib.amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)

def counts():
    found = ffi.new("struct amx_trap_counts *")
    lib.amx_trap_count(found)
    return found

def function(code):  # in code that cannot be written any more
    page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page.write(bytes.fromhex(code) + b"\\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    protection = mmap.PROT_READ | mmap.PROT_EXEC
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), protection) == 0
    pages.append(page)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_long)(address)

pages = []
ldtilecfg, sttilecfg = function("c4e2784907"), function("c4e2794907")  # [rdi]
tilerelease = function("c4e27849c0")
tileloadd, tilestored = function("c4e27b4b0437"), function("c4e27a4b0437")  # tmm0, [rdi + rsi]
config = ctypes.create_string_buffer(bytes([1, *[0] * 15, 64, *[0] * 31, 16, *[0] * 15]), 64)
data = ctypes.create_string_buffer(bytes(i % 251 + 1 for i in range(1024)), 1024)
"""


def run(script, *arguments, started=True, **environment):
    """Run Python code after the prelude; `started`: with the emulation on and permission granted."""
    begin = "assert start() == 0 and request() == 0\n" if started else ""
    code = PRELUDE + begin + textwrap.dedent(script)
    return children.run_python("-c", code, *arguments, AMX_TEST_LANE="", **environment)


@functools.cache
def program():
    """The compiled program of tests/c/trapped/; skips the test where there is no compiler."""
    compiling.compiler()
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    sources = sorted(compiling.ROOT.glob("tests/c/trapped/*.c"))
    return compiling.compile_c(Path(directory) / "trapped", [*sources, *compiling.objects(compiling.TRAP)])


def scenario(name, patched=False, ends=0):
    """Run a scenario; what it saw as a list of (name, value)."""
    result = children.run(
        [program(), *(["--patch"] if patched else []), name],
        env=FOREIGN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert children.how_it_ended(result) == ends, result.stdout + result.stderr
    return [tuple(line.partition(" ")[::2]) for line in result.stdout.splitlines()]
