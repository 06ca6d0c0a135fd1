"""Code that uses `amx.emulate()`, in children: blocks take over signals."""

import children

from amx import machine

BEGIN = """
import sys
import numpy as np
import amx
from amx import cpu, machine, permission, xstate
from amx.causes import Cause

def operands():
    rng = np.random.default_rng(5)
    return [rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((70, 130), (130, 40))]

a, b = operands()
expected = a.astype(np.int64) @ b.astype(np.int64)

def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("nothing was raised")

def signals_taken():
    with open("/proc/self/status") as lines:
        return next(line for line in lines if line.startswith("SigCgt"))
"""


def child(code, **environment):
    """Run the code after BEGIN, in a process without AMX_BACKEND; it must end well. What it wrote."""
    warnings = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]  # where it forks with threads
    result = children.run_python(*warnings, "-c", BEGIN + code, **{"AMX_BACKEND": "", **environment})
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def has_tiles():
    """Whether this CPU executes tile configuration itself."""
    xcr0 = machine.Real().xgetbv(0)
    return xcr0 is not None and xcr0 >> 17 & 3 == 3
