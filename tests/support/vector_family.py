"""Which kernels multiply in vector registers, where tests look at them: the best ones, or those of a family.

AMX_TEST_FAMILY names the family ("sse2"), for a run of the tests (`AMX_TEST_FAMILY=sse2 ci/test`) or, where
the fixture `backend` sets it, for a test, and for the children of both: `python -m vector_family` with a
script or `-c` and code. Groups that the family does not multiply (SSE2 has no floats) keep their best.
"""

import contextlib
import os

import as_python

FAMILY = "AMX_TEST_FAMILY"


def _of_each_group():
    from amx.backend import Group, vector_families

    return [vector_families(group) for group in Group if group is not Group.TILE]


def others():
    """The families of this CPU that no product uses by itself, since there are better ones."""
    best = {name for names in _of_each_group() for name in names[:1]}
    return sorted({name for names in _of_each_group() for name in names} - best)


def of_nibbles():
    """Those of this CPU that multiply by weights of 4 bits, best first."""
    from amx.lowlevel import ffi, lib

    found = []
    while name := lib.amx_nibbles_family(len(found)):
        found.append(ffi.string(name).decode())
    return found


def select(name):
    """Multiply by the kernels of that family, in all groups that it has; None: by the best."""
    from amx.lowlevel import ffi, lib

    if name is not None and not any(name in names for names in _of_each_group()):
        raise ValueError(f"{FAMILY}={name}: this CPU has {_of_each_group()}")
    for op in range(lib.AMX_TDPFP16PS + 1):
        lib.amx_vector_select(op, ffi.NULL)
        if name is not None:
            lib.amx_vector_select(op, name.encode())
    lib.amx_nibbles_select(ffi.NULL)
    if name is not None:
        lib.amx_nibbles_select(name.encode())


@contextlib.contextmanager
def selected(name):
    """The same for a while, in children too; "": as it is."""
    before = os.environ.get(FAMILY)
    if not name:
        yield
        return
    os.environ[FAMILY] = name
    select(name)
    try:
        yield
    finally:
        os.environ.pop(FAMILY)
        if before is not None:
            os.environ[FAMILY] = before
        select(before)


if __name__ == "__main__":
    select(os.environ[FAMILY])
    as_python.run()
