"""Products whose K is long, or whose operands are converted in parts: the same bits, and little memory."""

import children
import ml_dtypes
import numpy as np
import operands
import preloading
import product_model
import pytest

import amx
from amx import parts
from amx.backend import BACKENDS
from amx.caches import Caches
from amx.lowlevel import ffi, lib

small_memory = pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer takes memory of its own")
CHUNK = product_model.CHUNK
LONGER = {
    "emulated": 4500,
    "native": 4500,
    "vector": 8300,
}  # chunks, than are packed at a time for few columns


def long_float_product(a, b, element):
    """The model's product, with the chains of all whole chunks side by side."""
    whole = a.shape[1] // CHUNK
    wide_a, wide_b = product_model._widen(a, element), product_model._widen(b, element)
    a_chunks = wide_a[:, : whole * CHUNK].reshape(len(a), whole, CHUNK)
    b_chunks = wide_b[: whole * CHUNK].reshape(whole, CHUNK, b.shape[1])
    chains = [np.zeros((whole, len(a), b.shape[1]), np.float32) for _ in range(2)]
    for i in range(CHUNK):
        first, second = a_chunks[:, :, i].T[:, :, None], b_chunks[:, i][:, None, :]
        chains[i % 2] = product_model.fma(first, second, chains[i % 2])
    total = np.zeros((len(a), b.shape[1]), np.float32)
    for chunk in product_model.add(*chains):
        total = product_model.add(total, chunk)
    return product_model.float_product(a[:, whole * CHUNK :], b[whole * CHUNK :], element, total)


def expected(a, b, element):
    if a.dtype.itemsize == 1:
        return product_model.integer_product(a, b)
    return long_float_product(a.view(np.uint16), b.view(np.uint16), element)


def test_the_model_of_long_sums_is_the_model():
    """Chunks side by side are what one after the other is."""
    rng = np.random.default_rng(70)
    for k in (5, 64, 200):
        a, b = (operands.random_array(rng, shape, "bfloat16", 0.02) for shape in ((3, k), (k, 2)))
        want = operands.expected(a, b, "bfloat16")
        np.testing.assert_array_equal(expected(a, b, "bfloat16"), want)


@pytest.mark.parametrize("pair", operands.PAIRS, ids="-".join)
def test_a_long_k_is_one_sum(backend, pair):
    """K beyond what is packed at a time, in every layout, packed or not, on any threads: the defined bits."""
    operands.need(backend, pair[0])
    rng = np.random.default_rng(71)
    per_chunk = 64 // operands.random_array(rng, (1,), pair[0]).itemsize
    k = LONGER[backend] * per_chunk + 3
    a, b = operands.random_array(rng, (3, k), pair[0]), operands.random_array(rng, (k, 2), pair[1])
    plan = amx.plan(3, 2, k, pair[0])
    assert plan.depth < plan.chunks
    want = expected(a, b, pair[0])
    spread = np.zeros((3, 2 * k), a.dtype)
    spread[:, ::2] = a
    for threads in (1, 2):
        amx.set_num_threads(threads)
        for first in (a, np.asfortranarray(a), spread[:, ::2]):
            for second in (b, np.asfortranarray(b), amx.pack(b)):
                np.testing.assert_array_equal(operands.as_bits(amx.matmul(first, second)), want)
        batch = amx.matmul(np.stack([a, a[::-1]]), b)
        np.testing.assert_array_equal(operands.as_bits(batch), np.stack([want, want[::-1]]))
        batch = amx.matmul(np.stack([a, a[::-1]]), np.stack([b, b[:, ::-1]]))
        np.testing.assert_array_equal(operands.as_bits(batch), np.stack([want, want[::-1, ::-1]]))
    amx.set_num_threads(None)


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_of_a_long_k(backend, threads):
    """Tall blocks, of which K is cut for the caches too, and a transposed A: NumPy's exact product."""
    rng = np.random.default_rng(72)
    m, n, k = 40, 33, 64 * (8300 if backend == "vector" else 2100) + 5
    a, b = (rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((m, k), (k, n)))
    want = a.astype(np.float64) @ b.astype(np.float64)  # sums stay below 2**31: exact
    amx.set_num_threads(threads)
    plan = amx.plan(m, n, k)
    assert plan.kc < plan.depth < plan.chunks
    for first in (a, np.asfortranarray(a)):
        np.testing.assert_array_equal(amx.matmul(first, b), want)
        np.testing.assert_array_equal(amx.matmul(first, amx.pack(b)), want)
    amx.set_num_threads(None)


def test_what_lies_behind_a_part_of_k_is_added(backend):
    """C continues the sums that it finds, and wants parts of whole chunks."""
    rng = np.random.default_rng(73)
    a, b = (rng.integers(-128, 128, shape, dtype=np.int8) for shape in ((5, 200), (200, 40)))
    packed, c = amx.pack(b), np.full((5, 40), 7, np.int32)
    engine = BACKENDS.index(amx.Backend(backend))

    def add(begin, end):
        part = a[:, begin:end]
        return lib.amx_gemm_packed(
            engine, 0, 1, 5, 40, end - begin, begin, 1, ffi.cast("void *", part.ctypes.data), *part.strides,
            ffi.NULL, packed._handle, ffi.NULL, ffi.from_buffer(c), c.strides[0], ffi.NULL,
        )  # fmt: skip

    for begin, end in ((0, 64), (64, 64), (64, 192), (192, 200)):
        assert add(begin, end) == 0
    np.testing.assert_array_equal(c, a.astype(int) @ b.astype(int))
    for begin, end in ((0, 63), (1, 65), (64, 100), (192, 201)):
        assert add(begin, end) < 0


CONVERTED = {
    "bfloat16": lambda array: array.astype(ml_dtypes.bfloat16),
    "float16": lambda array: array.astype(np.float16),
}


@pytest.mark.parametrize("element", CONVERTED)
@pytest.mark.parametrize(("a_shape", "b_shape"), [
    ((3, 3000), (3000, 5)),
    ((700, 30), (30, 5)),
    ((5, 30), (30, 900)),
    ((2, 3, 20, 90), (3, 90, 4)),
    ((30, 2, 90), (90, 4)),
    ((3000,), (3000,)),
])  # fmt: skip
def test_operands_converted_in_parts(backend, element, a_shape, b_shape, monkeypatch):
    """What is too large to be rounded as a whole is rounded a part at a time: the same bits."""
    operands.need(backend, element)
    rng = np.random.default_rng(74)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in (a_shape, b_shape))
    rounded_a, rounded_b = CONVERTED[element](a), CONVERTED[element](b)
    want = operands.as_bits(amx.matmul(rounded_a, rounded_b))
    monkeypatch.setattr(parts, "_MOST_BYTES", 4096)
    monkeypatch.setattr(parts, "_LEAST_K", 64)
    amx.set_num_threads(1)
    converted = []
    monkeypatch.setattr(parts.Operand, "converted", spy(parts.Operand.converted, converted))
    np.testing.assert_array_equal(operands.as_bits(amx.matmul(a, b, dtype=element)), want)
    assert len([size for size in converted if size]) > 2
    assert max(converted) <= 4096
    seconds = [b] if b.ndim == 1 else [b, np.asfortranarray(b), amx.pack(b, dtype=element)]
    for second in seconds:
        wide = np.full((*np.shape(want)[:-1], 2 * np.shape(want)[-1]) if want.ndim else (), 7, np.float32)
        out = wide[..., ::2] if want.ndim else None
        found = amx.matmul(np.asfortranarray(a), second, out, dtype=element)
        np.testing.assert_array_equal(operands.as_bits(found), want)
        assert out is None or (wide[..., 1::2] == 7).all()
    amx.set_num_threads(None)


@pytest.mark.parametrize("k", [0, 70])
def test_a_row_that_is_stored_elsewhere_first(backend, k, monkeypatch):
    """One row of columns that are apart, which no part of it is small enough for."""
    monkeypatch.setattr(parts, "_MOST_BYTES", 64)
    out = np.full((1, 200), 7, np.int32)
    for second in (np.ones((k, 100), np.int8), amx.pack(np.ones((k, 100), np.int8))):
        assert (amx.matmul(np.ones((1, k), np.int8), second, out[:, ::2]) == k).all()
        assert (out[:, 1::2] == 7).all()


def spy(converted, sizes):
    def note(operand):
        sizes.append(operand.conversion)
        return converted(operand)

    return note


@pytest.mark.parametrize("shape", [(3000, 5), (90, 700), (2, 90, 4)])
def test_packing_what_is_converted_in_parts(shape, monkeypatch):
    """The same packed bytes, whether float32 is rounded before or meanwhile."""
    from amx import packing

    amx.set_backend("emulated")
    b = np.random.default_rng(75).standard_normal(shape).astype(np.float32)
    monkeypatch.setattr(packing, "_MOST_BYTES", 4096)
    for element, convert in CONVERTED.items():
        first, second = amx.pack(b, dtype=element), amx.pack(convert(b))
        one = np.ones((1, shape[-2]), np.float32)
        np.testing.assert_array_equal(
            operands.as_bits(amx.matmul(one, first, dtype=element)),
            operands.as_bits(amx.matmul(one, second, dtype=element)),
        )


LIMITED = """
import resource, sys
import numpy as np
import ml_dtypes
import amx

MIB = 2**20
LONG = 2**22
threads = int(sys.argv[1])
amx.set_num_threads(threads)

def size():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def ones(shape, dtype=np.int8):
    return np.ones(shape, dtype)

def long_pair(dtype):
    return ones((1, LONG), dtype), ones((LONG, 1), dtype)

def swapped(array):
    return array.astype(array.dtype.newbyteorder())

def cases():
    for dtype in (np.int8, np.uint8, np.float16, ml_dtypes.bfloat16):
        yield np.dtype(dtype).name, *long_pair(dtype), {}
    yield "vectors", ones(LONG), ones(LONG), {}
    yield "transposed", ones((LONG, 3)).T, ones((3, LONG)).T, {}
    yield "A by columns", np.ones((LONG, 20), np.int8).T, ones((LONG, 1)), {}
    yield "every second", ones((3, 2 * LONG))[:, ::2], ones((2 * LONG, 1))[::2], {}
    yield "batch", ones((3, 1, LONG)), ones((3, LONG, 1)), {}
    rounded = {"dtype": "bfloat16"}
    yield "rounded", ones((1, 4 * LONG), np.float32), ones((4 * LONG, 1), np.float32), rounded
    yield "rounded batch", ones((20, 512, 2048), np.float32), ones((2048, 8), np.float32), rounded
    yield "rounded rows", ones((2**19, 64), np.float32), ones((64, 8), np.float32), rounded
    yield "swapped", swapped(ones((1, 5 * LONG), np.float16)), ones((5 * LONG, 1), np.float16), {}
    packed = amx.pack(ones((LONG, 1), np.float32), **rounded)
    yield "packed", ones((9, LONG), np.float32), packed, rounded
    yield "columns apart", ones((4096, 8)), ones((8, 4096)), {"order": "F"}
    yield "many items", ones((2**15, 3, 7, 1, 1)), ones((3, 1, 1, 2)), {}

def result_of(a, b, order="C", **options):
    if a.ndim == 1:
        return None, options
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    return np.empty(shape, np.int32 if a.dtype.itemsize == 1 else np.float32, order=order), options

for dtype in (np.int8, np.float16):  # what stays: threads, their stacks and arenas, small buffers
    amx.matmul(ones((300, 300), dtype), ones((300, 300), dtype))
amx.matmul(ones((300, 300), np.float32), ones((300, 300), np.float32), dtype="bf16")
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
for name, a, b, options in cases():
    out, options = result_of(a, b, **options)
    resource.setrlimit(resource.RLIMIT_AS, (size() + 64 * MIB * threads, hard))
    try:
        found = amx.matmul(a, b, out, **options)
    except MemoryError as error:
        print(name, "takes more:", error)
        continue
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    k = a.shape[-1]
    if not (found == k).all():
        print(name, "is wrong", found)
b = ones((4 * LONG, 3), np.float32)
resource.setrlimit(resource.RLIMIT_AS, (size() + 8 * LONG * 32 + 64 * MIB, hard))
packed = amx.pack(b, dtype="float16")
print("done", packed.nbytes == 8 * LONG * 32)
"""


@small_memory
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.matrix)])
def test_a_product_takes_64_mib_a_thread(backend, threads):
    """Beside operands and result, under a limit of the address space: all types, layouts and conversions."""
    environment = {"AMX_BACKEND": backend}
    result = children.run_python("-c", LIMITED, threads, timeout=280, **environment)
    assert (result.stdout, result.returncode) == ("done True\n", 0), result.stdout + result.stderr


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_few_rows_of_a_long_k_take_little_memory(dtype):
    """Their numbers as the kernel reads them, at most twice as large, stay in L2, whatever K."""
    caches = Caches(32 << 10, 1 << 20)
    p = amx.plan(1, 32, 1 << 30, dtype, 1, packed=True, caches=caches, backend="vector")
    if p.family is None:
        pytest.skip("this CPU has no kernels for it")
    assert caches.l2 // 8 <= p.kc * 64 <= caches.l2 * 3 // 8
    assert p.mc == p.m == 1
