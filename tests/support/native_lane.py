"""The native lane: a session of its own, in which permission is requested and SIGILL may be taken over.

Where AMX can be used, the tests of tiles and products run on it. Elsewhere every tile instruction traps and
runs on the software tile machine: this proves the native paths (encodings, operands, configuration,
registers kept and given back), not the arithmetic of silicon: the process is in `amx.emulate()`.

It is a child of the tests, started by tests/run/test_native_lane.py. Ways in: `pytest -p native_lane`,
`python -m native_lane` with a script or `-c` and code, or `enter()`. AMX_TEST_LANE says which it is: native
or trapped.
"""

import contextlib
import os

import as_python

LANE = "AMX_TEST_LANE"
_for_good = contextlib.ExitStack()
_emulation = None


def enter():
    """From here on tiles are native, in this process and its forked children."""
    import amx

    global _emulation
    if is_trapped():
        _emulation = _for_good.enter_context(amx.emulate("gnr"))
    amx.set_backend("native")
    assert amx.get_backend() is amx.Backend.NATIVE


def is_trapped():
    """Whether the lane's instructions are emulated."""
    return os.environ.get(LANE) == "trapped"


def emulated():
    """How many instructions were, so far."""
    return _emulation.counts.instructions


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
    as_python.run()


if __name__ == "__main__":
    main()
