"""AMX instructions of a process itself, trapped and executed by the software tile machine (csrc/trap/)."""

import children
import pytest
from trapping import run

import amx
from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


def test_a_load_and_a_store():
    result = run(
        """
        ldtilecfg(config, 0)
        tileloadd(data, 64)
        out = ctypes.create_string_buffer(1024)
        tilestored(out, 64)
        print(out.raw == data.raw, counts().instructions >= 2, counts().faults)
        """,
    )
    assert result.stdout == "True True 0\n", result.stderr


def test_fork_keeps_the_configuration_and_loses_the_data():
    """As the kernel does; the parent keeps both."""
    result = run(
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
        ('ldtilecfg(config, 0); function("c4e27b5cc0")(0, 0)', "SIGILL"),  # TDPFP16PS, one tile only
        ("ldtilecfg(config, 0); tileloadd(16, 0)", "SIGSEGV"),
        ("ldtilecfg(data, 0)", "SIGSEGV"),  # palette 1, and nothing else right
        ("ldtilecfg(1 << 62, 0)", "SIGSEGV"),
    ],
)
def test_faults_end_the_process_as_on_hardware(instruction, signal):
    assert children.how_it_ended(run(instruction)) == signal


def test_tile_data_needs_the_modelled_permission():
    """Without it SIGILL, as on hardware; the kernel's own permission is not asked for."""
    refused = run("assert start() == 0; ldtilecfg(config, 0); tileloadd(data, 64)", started=False)
    assert children.how_it_ended(refused) == "SIGILL"
    granted = run("ldtilecfg(config, 0); tileloadd(data, 64)")
    assert children.how_it_ended(granted) == 0, granted.stderr


def test_starting_twice_is_refused():
    result = run(
        """
        import errno
        print(start() == -errno.EALREADY, lib.amx_trap_stop(), lib.amx_trap_stop() == -errno.ESRCH, start())
        """
    )
    assert result.stdout == "True 0 True 0\n", result.stderr


def test_an_unknown_cpu_is_refused():
    result = run("import errno; print(start('skx') == -errno.EINVAL)", started=False)
    assert result.stdout == "True\n", result.stderr


def test_real_permission_leaves_nothing_to_trap():
    """-EPERM where the kernel has granted tile data to this process."""
    if not amx.available():
        pytest.skip("AMX may not be used here")
    result = run("import amx, errno; amx.request(); print(start() == -errno.EPERM)", started=False)
    assert result.stdout == "True\n", result.stderr


HANDLERS = """
import re
status = open("/proc/self/status").read()
caught = int(re.search(r"SigCgt:\\s*(\\w+)", status)[1], 16)
numbers = {"ILL": 4, "TRAP": 5, "BUS": 7, "SEGV": 11}
print([name for name, number in numbers.items() if caught >> (number - 1) & 1])
"""


def test_importing_installs_no_handler():
    plain = children.run_python("-c", HANDLERS, AMX_TEST_LANE="")
    imported = children.run_python("-c", "import amx, amx._lib\n" + HANDLERS, AMX_TEST_LANE="")
    assert (plain.stdout, imported.stdout) == ("[]\n", "[]\n"), imported.stderr


def test_handlers_are_there_from_start_to_stop():
    result = run(HANDLERS + "lib.amx_trap_stop()\n" + HANDLERS)
    assert result.stdout == "['ILL', 'TRAP', 'BUS', 'SEGV']\n[]\n", result.stderr
