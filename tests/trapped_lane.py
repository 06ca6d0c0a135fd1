"""The native code without AMX: every tile instruction traps and runs on the software tile machine.

On a CPU without AMX this proves the native paths (encodings, operands, configuration, registers kept and
given back), not the arithmetic of silicon. A process that entered the lane believes in a constructed
machine with AMX. It has to be a child of the tests, since it takes over SIGILL. Three ways in: `python -m
trapped_lane` and a script, `pytest -p trapped_lane`, or `enter()`. The environment variable AMX_TEST_TRAP
names the compiled trap.
"""

import contextlib
import ctypes
import os
import runpy
import sys
from pathlib import Path

MACHINE = Path(__file__).parent / "data/machines/granite-rapids-bare-metal.json"
VARIABLE = "AMX_TEST_TRAP"
_trap = None
_for_good = contextlib.ExitStack()


def build(directory):
    """Compile the trap into a directory; its path goes into AMX_TEST_TRAP of the children."""
    import compiling

    return compiling.compile_c(
        Path(directory) / "libtrap.so", compiling.TRAP, "-shared", "-fPIC", "-fvisibility=hidden"
    )


def enter():
    """Trap from here on, in this process and its forked children."""
    import amx
    from amx import machine, recording

    trap = ctypes.CDLL(os.environ[VARIABLE])
    trap.trap_count.restype = ctypes.c_ulong
    error = trap.trap_install()
    if error != 0:
        raise OSError(-error, "the trap could not be installed")
    _for_good.enter_context(machine.use(recording.load(MACHINE)))
    amx.set_backend("native")
    assert amx.get_backend() is amx.Backend.NATIVE
    return trap


def pytest_configure():
    """As a pytest plugin: the whole run is in the lane."""
    global _trap
    _trap = enter()


def pytest_terminal_summary(terminalreporter):
    """Say that instructions really trapped."""
    terminalreporter.write_line(f"{_trap.trap_count()} instructions trapped")


def main():
    """`python -m trapped_lane -c CODE ...` or `SCRIPT ...`."""
    enter()
    if sys.argv[1] == "-c":
        code, sys.argv[:] = sys.argv[2], ["-c", *sys.argv[3:]]
        exec(compile(code, "-c", "exec"), {"__name__": "__main__"})
    else:
        del sys.argv[0]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
