"""The native lane: a session of its own, in which permission is requested and SIGILL may be taken over.

Where AMX can be used, the tests of tiles and products run on it. Elsewhere every tile instruction traps and
runs on the software tile machine: this proves the native paths (encodings, operands, configuration,
registers kept and given back), not the arithmetic of silicon; the process then believes in a constructed
machine with AMX.

It is a child of the tests, started by tests/test_native_lane.py. Ways in: `pytest -p native_lane`,
`python -m native_lane` with a script or `-c` and code, or `enter()`. AMX_TEST_LANE is set in the lane; where
instructions are to trap, AMX_TEST_TRAP names the compiled trap.
"""

import contextlib
import ctypes
import os
import runpy
import sys
from pathlib import Path

MACHINE = Path(__file__).parent / "data/machines/granite-rapids-bare-metal.json"
LANE = "AMX_TEST_LANE"
TRAP = "AMX_TEST_TRAP"
_trap = None
_for_good = contextlib.ExitStack()


def build_trap(directory):
    """Compile the trap into a directory."""
    import compiling

    return compiling.compile_c(
        Path(directory) / "libtrap.so", compiling.TRAP, "-shared", "-fPIC", "-fvisibility=hidden"
    )


def enter():
    """From here on tiles are native, in this process and its forked children."""
    import amx

    if os.environ.get(TRAP):
        _install_trap(os.environ[TRAP])
    amx.set_backend("native")
    assert amx.get_backend() is amx.Backend.NATIVE


def _install_trap(library):
    from amx import machine, recording

    global _trap
    _trap = ctypes.CDLL(library)
    _trap.trap_count.restype = ctypes.c_ulong
    error = _trap.trap_install()
    if error != 0:
        raise OSError(-error, "the trap could not be installed")
    _for_good.enter_context(machine.use(recording.load(MACHINE)))


def pytest_configure():
    """As a pytest plugin: the whole session is in the lane."""
    enter()


def pytest_terminal_summary(terminalreporter):
    """Say that instructions really trapped."""
    if _trap is not None:
        terminalreporter.write_line(f"{_trap.trap_count()} instructions trapped")


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
