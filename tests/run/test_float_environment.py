"""The floating-point environment is the caller's: products do not depend on it, and leave no trace in it."""

import children

# Any bits: signalling NaN, infinities and denormals too. MXCSR is the last word of glibc's and musl's fenv_t.
PRODUCTS = """
import ctypes, sys
import ml_dtypes, numpy as np
import amx

libm, environment = ctypes.CDLL(None), (ctypes.c_uint32 * 8)()

def exchange_mxcsr(value):
    libm.fegetenv(environment)
    before, environment[7] = environment[7], value
    libm.fesetenv(environment)
    return before

MASKED, FLAGS, DAZ, FTZ, UP, TO_ZERO = 0x1F80, 0x3F, 0x40, 0x8000, 0x4000, 0x6000
amx.set_backend(sys.argv[1])
amx.set_num_threads(int(sys.argv[2]))
rng = np.random.default_rng(0)
for element in ml_dtypes.bfloat16, np.float16:
    for m, n, k in (1, 70, 300), (13, 33, 65), (96, 96, 96):
        a, b = (rng.integers(0, 1 << 16, shape, np.uint16).view(element) for shape in ((m, k), (k, n)))
        for first, second in (a, b), (np.asfortranarray(a), amx.pack(b)):
            want = amx.matmul(first, second).view(np.uint32)
            out = np.empty((m, n), np.float32)
            for mxcsr in MASKED, MASKED | FLAGS, 0, UP, TO_ZERO | MASKED, DAZ | FTZ | UP, FTZ | MASKED:
                found = exchange_mxcsr(mxcsr)
                amx.matmul(first, second, out=out)
                left = exchange_mxcsr(found)
                assert left == mxcsr, (element, m, n, k, hex(mxcsr), hex(left))
                np.testing.assert_array_equal(out.view(np.uint32), want)
print("right")
"""


def test_products_have_an_environment_of_their_own(backend):
    """Rounding, flushing, traps and flags of the caller stay as they are, and change no bit of the result."""
    for threads in (1, 2):
        result = children.run_python("-c", PRODUCTS, backend, threads)
        assert (result.stdout, result.returncode) == ("right\n", 0), (
            children.how_it_ended(result),
            result.stderr,
        )
