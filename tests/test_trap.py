"""The test-only SIGILL handler behind which AMX instructions run on machines without AMX."""

import ctypes
import textwrap

import children
import compiling
import pytest

PRELUDE = """
import ctypes, mmap, os, sys

trap = ctypes.CDLL(sys.argv[1])
assert trap.trap_install() == 0

def function(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(code) + b"\\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    pages.append(page)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_long)(address)

pages = []
ldtilecfg, sttilecfg = function("c4e2784907"), function("c4e2794907")  # [rdi]
tileloadd, tilestored = function("c4e27b4b0437"), function("c4e27a4b0437")  # tmm0, [rdi + rsi]
config = ctypes.create_string_buffer(bytes([1, *[0] * 15, 64, *[0] * 31, 16, *[0] * 15]), 64)
data = ctypes.create_string_buffer(bytes(i % 251 + 1 for i in range(1024)), 1024)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    flags = ("-shared", "-fPIC", "-fvisibility=hidden")
    built = compiling.compile_c(tmp_path_factory.mktemp("trap") / "libtrap.so", compiling.TRAP, *flags)
    if ctypes.CDLL(str(built)).trap_os_has_tiles():
        pytest.skip("AMX instructions do not trap here")
    return built


def run(library, script):
    return children.run_python("-c", PRELUDE + textwrap.dedent(script), library, AMX_TEST_TRAP="")


def test_a_load_and_a_store(library):
    result = run(
        library,
        """
        ldtilecfg(config, 0)
        tileloadd(data, 64)
        out = ctypes.create_string_buffer(1024)
        tilestored(out, 64)
        print(out.raw == data.raw, trap.trap_count())
        """,
    )
    assert result.stdout == "True 3\n", result.stderr


def test_fork_keeps_the_configuration_and_loses_the_data(library):
    """As the kernel does; the parent keeps both."""
    result = run(
        library,
        """
        ldtilecfg(config, 0)
        tileloadd(data, 64)
        for who in ("child", "parent"):
            if who == "child" and os.fork():
                os.wait()
                continue
            stored, out = ctypes.create_string_buffer(64), ctypes.create_string_buffer(1024)
            sttilecfg(stored, 0)
            tilestored(out, 64)
            print(who, stored.raw == config.raw, out.raw == data.raw, any(out.raw), flush=True)
            if who == "child":
                os._exit(0)
        """,
    )
    assert result.stdout == "child True False False\nparent True True True\n", result.stderr


@pytest.mark.parametrize(
    ("instruction", "signal"),
    [
        ('function("0f0b")(0, 0)', "SIGILL"),  # not AMX
        ('function("c4e27b49c0")(0, 0)', "SIGILL"),  # TILEZERO without configuration
        ("ldtilecfg(config, 0); tileloadd(16, 0)", "SIGSEGV"),
        ("ldtilecfg(data, 0)", "SIGSEGV"),  # palette 1, and nothing else right
        ("ldtilecfg(1 << 62, 0)", "SIGSEGV"),
    ],
)
def test_faults_end_the_process_as_on_hardware(library, instruction, signal):
    assert children.how_it_ended(run(library, instruction)) == signal
