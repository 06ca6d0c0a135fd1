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


# Denormal numbers, and others whose quotients are rounded. What another library sets in a thread stays there.
QUANTISED = (
    PRODUCTS[: PRODUCTS.index("amx.set_backend")]
    + """
rng = np.random.default_rng(0)

def made(x):
    layers = [amx.Linear(x, np.full(6, 1e-40), dtype=name) for name in ("int8", "bfloat16", "float16")]
    small = [
        amx.quantize(x, name, axis, group, symmetric=way)
        for name, axis, group in (("int8", 0, None), ("uint8", 0, None), ("uint4", None, 32))
        for way in (True, False)
    ]
    small += [amx.Quantized(np.ones((6, 64), np.int8), np.full(6, 1e-41), 0, axis=0), layers[0].weight]
    arrays = [part for q in small for part in (q.values, q.scale, q.zero_point, q.dequantize())]
    return [*arrays, *(layer.bias for layer in layers), *(layer.weight for layer in layers[1:])]

for size in 1, 1e-38, 1e-40, 7e37:
    x = rng.standard_normal((6, 64)) * size
    for array in x, x.astype(np.float32):
        wanted = [part.tobytes() for part in made(array)]
        for mxcsr in MASKED | FLAGS, 0, UP | MASKED, TO_ZERO | MASKED, DAZ | FTZ | MASKED, FTZ | MASKED:
            before = exchange_mxcsr(mxcsr)
            found = made(array)
            left = exchange_mxcsr(before)
            assert left == mxcsr, (size, hex(mxcsr), hex(left))
            differ = [i for i, part in enumerate(found) if part.tobytes() != wanted[i]]
            assert not differ, (size, hex(mxcsr), differ)
print("right")
"""
)


def test_what_is_quantised_has_an_environment_of_its_own():
    """torch.set_flush_denormal(True), for one, changes neither scales nor values."""
    result = children.run_python("-c", QUANTISED)
    assert (result.stdout, result.returncode) == ("right\n", 0), (
        children.how_it_ended(result),
        result.stderr,
    )
