"""The native lane: a session of its own, in which permission is requested and SIGILL may be taken over.

Where AMX can be used, the tests of tiles and products run on it. Elsewhere every tile instruction traps and
runs on the software tile machine: this proves the native paths (encodings, operands, configuration,
registers kept and given back), not the arithmetic of silicon; the process then believes in a constructed
machine with AMX.

It is a child of the tests, started by tests/test_native_lane.py. Ways in: `pytest -p native_lane`,
`python -m native_lane` with a script or `-c` and code, or `enter()`. AMX_TEST_LANE says which it is: native
or trapped.
"""

import contextlib
import os
import runpy
import sys
from pathlib import Path

MACHINE = Path(__file__).parent / "data/machines/granite-rapids-bare-metal.json"
LANE = "AMX_TEST_LANE"
ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 0x1023, 18
_for_good = contextlib.ExitStack()


def enter():
    """From here on tiles are native, in this process and its forked children."""
    import amx

    if is_trapped():
        _start_trap()
    amx.set_backend("native")
    assert amx.get_backend() is amx.Backend.NATIVE


def is_trapped():
    """Whether the lane's instructions are emulated."""
    return os.environ.get(LANE) == "trapped"


def emulated():
    """How many instructions were, so far."""
    from amx._lib import ffi, lib

    counts = ffi.new("struct amx_trap_counts *")
    lib.amx_trap_count(counts)
    return counts.instructions


def _start_trap():
    from amx import machine, recording
    from amx._lib import ffi, lib

    cpu = ffi.new("char[]", b"gnr")
    error = lib.amx_trap_start(ffi.new("struct amx_trap_options *", {"cpu": cpu, "patch": 1, "hybrid": -1}))
    if error != 0:
        raise OSError(-error, "the trap could not be started")
    assert lib.amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0
    _for_good.enter_context(machine.use(recording.load(MACHINE)))


def pytest_configure():
    """As a pytest plugin: the whole session is in the lane."""
    enter()


def pytest_terminal_summary(terminalreporter):
    """Say that instructions were really emulated."""
    if is_trapped():
        terminalreporter.write_line(f"{emulated()} instructions emulated")


def main():
    """`python -m native_lane -c CODE ...` or `SCRIPT ...`."""
    enter()
    if sys.argv[1] == "-c":
        code, sys.argv[:] = sys.argv[2], ["-c", *sys.argv[3:]]
        exec(compile(code, "-c", "exec"), {"__name__": "__main__"})
    else:
        del sys.argv[0]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
