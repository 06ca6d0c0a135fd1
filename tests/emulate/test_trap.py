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


def test_a_segfault_under_faulthandler_prints_the_traceback_and_kills():
    """Whether the handler was there before the emulation or came later."""
    crash = "ctypes.string_at(16)"
    for script, options in ((crash, "1"), (f"import faulthandler; faulthandler.enable(); {crash}", "")):
        result = run(script, PYTHONFAULTHANDLER=options)
        assert children.how_it_ended(result) == "SIGSEGV"
        assert "Fatal Python error: Segmentation fault" in result.stderr
        assert "string_at" in result.stderr


def test_matrix_products_amid_signals():
    """Native products of several threads, emulated, with a timer every 200 us: right, and they end."""
    result = run(
        """
        import signal
        import numpy as np
        import amx
        import native_lane

        lib.amx_trap_stop()
        os.environ["AMX_TEST_LANE"] = "trapped"
        native_lane.enter()
        rng = np.random.default_rng(5)
        a = rng.integers(-128, 128, (50, 200), dtype=np.int8)
        b = rng.integers(-128, 128, (200, 70), dtype=np.int8)
        expected = a.astype(np.int32) @ b.astype(np.int32)
        ticks = 0

        def tick(*_):
            global ticks
            ticks += 1

        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 200e-6, 200e-6)
        right = True
        while ticks < 100:
            right = right and bool((amx.matmul(a, b) == expected).all())
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(right, native_lane.emulated() > 100)
        """
    )
    assert result.stdout == "True True\n", result.stderr


@pytest.mark.parametrize("permitted", [False, True])
def test_the_fault_guard_sees_the_emulated_cpu(permitted):
    """amx.prefault() and amx.explain(probe=True) run tiles under handlers of their own."""
    result = run(
        f"""
        assert start() == 0
        permitted = {permitted}
        assert not permitted or request() == 0
        for _ in range(3):
            probe = ffi.new("struct amx_probe *")
            assert lib.amx_probe_tilezero(probe) == 0
            print(probe.step, probe.signal, probe.code)
        """,
        started=False,
    )
    expected = (lib.AMX_STEP_DONE, 0, 0) if permitted else (lib.AMX_STEP_TILEZERO, 4, 1)
    assert result.stdout == "{} {} {}\n".format(*expected) * 3, result.stderr
