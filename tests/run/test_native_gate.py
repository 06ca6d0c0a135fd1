"""Products on the CPU's tiles can be kept from beginning (csrc/gemm/gate.c)."""

import errno

import children
import numpy as np
import pytest

import amx
from amx import driver, gemm
from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")

CALL = """
import numpy as np
from amx._lib import ffi, lib

a, b, c = np.ones((3, 4), np.int8), np.ones((4, 5), np.int8), np.full((3, 5), 7, np.int32)

def multiply(engine):
    def at(array):
        return ffi.cast("void *", array.ctypes.data)
    return lib.amx_gemm(
        engine, 0, 1, 3, 5, 4, 0, 1, at(a), *a.strides, ffi.NULL, at(b), *b.strides, ffi.NULL,
        at(c), c.strides[0], ffi.NULL,
    )
"""


def test_what_is_forbidden_touches_nothing():
    """Neither a tile, which would be SIGILL here, nor the output; emulated products go on."""
    code = """
print(lib.amx_gemm_native(0), multiply(lib.AMX_NATIVE), (c == 7).all())
print(lib.amx_gemm_native(0), multiply(lib.AMX_EMULATED), (c == 4).all())
"""
    result = children.run_python("-c", CALL + code)
    assert result.stdout == f"0 {-errno.ECANCELED} True\n0 0 True\n", result.stderr


@pytest.mark.parametrize(
    "shapes", [((3, 20, 70), (70, 33)), ((3, 20, 70), (3, 70, 33)), ((20, 70), (70, 33))]
)
def test_a_refused_product_is_done_as_a_whole(monkeypatch, shapes):
    """Also of a batch that is one taller product: begun again, it has all its rows."""
    refusals = iter([-errno.ECANCELED])

    class Refusing:
        """The library, which refuses once."""

        def __getattr__(self, name):
            return getattr(lib, name)

        def amx_gemm(self, *arguments):
            return next(refusals, None) or lib.amx_gemm(*arguments)

    amx.set_backend("emulated")
    a, b = (np.ones(shape, np.int8) for shape in shapes)
    monkeypatch.setattr(driver, "lib", Refusing())
    out = np.full((*shapes[0][:-1], 33), 77, np.int32)
    gemm._product(a, b, out, None)
    assert next(refusals, None) is None
    assert (out == 70).all()
