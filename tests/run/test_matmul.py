"""Matrix products: exact numbers for every size and type, and neither tiles nor memory left behind."""

import ctypes

import ml_dtypes
import numpy as np
import operands
import product_model
import pytest
from operands import ones

import amx

pytestmark = pytest.mark.every_family
SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97]


@pytest.mark.parametrize("pair", operands.PAIRS, ids="-".join)
def test_every_remainder_of_every_dimension(backend, pair):
    """All tails of M, N and K against the tile sizes give the exact result, K = 0 included."""
    operands.need(backend, pair[0])
    rng = np.random.default_rng(11)
    for m, n in [(1, 1), (16, 16), (17, 33), (33, 15), (64, 31)]:
        for k in SIZES:
            a = operands.random_array(rng, (m, k), pair[0], special=0.05)
            b = operands.random_array(rng, (k, n), pair[1], special=0.05)
            result = operands.as_bits(amx.matmul(a, b))
            np.testing.assert_array_equal(result, operands.expected(a, b, pair[0]), err_msg=f"{m} {n} {k}")


@pytest.mark.parametrize("pair", operands.PAIRS, ids="-".join)
def test_extreme_values(backend, pair):
    """The largest magnitudes, where saturating arithmetic or a lost sign would show."""
    operands.need(backend, pair[0])
    if pair[0] in ("int8", "uint8"):
        values_a = np.array([np.iinfo(pair[0]).min, np.iinfo(pair[0]).max, 1], pair[0])
        values_b = np.array(
            [np.iinfo(pair[1]).max, np.iinfo(pair[1]).min, 255 if pair[1] == "uint8" else -1], pair[1]
        )
    else:
        dtype = ml_dtypes.bfloat16 if pair[0] == "bfloat16" else np.float16
        values_a = values_b = np.array([np.inf, -np.inf, np.nan, 3e4, -3e4, 1e-7, 0.0, -0.0]).astype(dtype)
    rng = np.random.default_rng(12)
    a, b = rng.choice(values_a, (40, 200)), rng.choice(values_b, (200, 40))
    np.testing.assert_array_equal(operands.as_bits(amx.matmul(a, b)), operands.expected(a, b, pair[0]))


def test_integer_sums_wrap_modulo_2_to_32(backend):
    """A sum beyond int32 wraps, as the hardware's does: 255 * 255 * 40,000 is 2**31 and more."""
    a = np.full((1, 40_000), 255, np.uint8)
    assert amx.matmul(a, a.T)[0, 0] == (255 * 255 * 40_000) - 2**32


@pytest.mark.parametrize(("rest", "want"), [(1, 0), (2, 0x80000000), (3, 0), (31, 0)])
def test_padding_of_k_leaves_zeros_as_they_are(backend, rest, want):
    """Pairs that do not exist beyond K change no -0; the +0 that an odd last element meets does.

    The first two chunks leave -0 in the accumulator: two products whose difference is flushed. Then the sign
    of the last chunk's chains shows in the result: -0 in both only where every pair exists.
    """
    k = 64 + rest
    a, b = np.zeros((1, k), np.float32), np.zeros((k, 1), np.float32)
    a[0, 0], b[0, 0] = 2.0**-63, 1.5 * 2.0**-63
    a[0, 32], b[32, 0] = -(2.0**-63), 1.5078125 * 2.0**-63
    a[0, 64:], b[64:, 0] = -(2.0**-100), 2.0**-100
    result = operands.as_bits(amx.matmul(a, b, dtype="bfloat16"))[0, 0]
    pattern = [x.astype(ml_dtypes.bfloat16) for x in (a, b)]
    assert result == operands.expected(*pattern, "bfloat16")[0, 0]
    assert result == want


@pytest.mark.parametrize("element", ["bfloat16", "float16"])
def test_floats_are_close_to_float64(backend, element):
    """Against float64 the error stays below the bound for K float32 roundings (Higham, gamma_K)."""
    operands.need(backend, element)
    rng = np.random.default_rng(13)
    a, b = (operands.random_array(rng, shape, element) for shape in [(50, 300), (300, 70)])
    exact = a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    unit = 300 * 2.0**-24
    assert (np.abs(amx.matmul(a, b) - exact) <= unit / (1 - unit) * magnitude).all()


@pytest.mark.parametrize(
    ("m", "n"), [(70, 60), pytest.param(130, 150, marks=pytest.mark.matrix)], ids=["small", "large"]
)
@pytest.mark.parametrize("pair", operands.PAIRS, ids="-".join)
def test_bits_do_not_depend_on_packing_threads_or_layout(backend, pair, m, n):
    """Packed or not, on one thread or two, in any memory layout, in a batch or alone: the same bits."""
    operands.need(backend, pair[0])
    rng = np.random.default_rng(14)
    a = operands.random_array(rng, (m, 1100), pair[0], special=0.01)
    b = operands.random_array(rng, (1100, n), pair[1], special=0.01)
    reference = operands.as_bits(amx.matmul(a, b))
    packed = amx.pack(b)
    others = []
    for threads in (1, 2):
        amx.set_num_threads(threads)
        others += [
            amx.matmul(a, b),
            amx.matmul(a, packed),
            amx.matmul(np.asfortranarray(a), np.asfortranarray(b)),
        ]
        others += [amx.matmul(np.stack([a, a]), np.stack([b, b]))[1], amx.matmul(a[None], b[None])[0]]
        others += [np.vstack([amx.matmul(a[:40], packed), amx.matmul(a[40:], b)])]
    amx.set_num_threads(None)
    for other in others:
        np.testing.assert_array_equal(operands.as_bits(other), reference)


def test_uint16_is_bfloat16_where_the_caller_says_so(backend):
    """uint16 with dtype="bfloat16" gives the bits of ml_dtypes' bfloat16."""
    rng = np.random.default_rng(18)
    a, b = (operands.random_array(rng, (30, 30), "bfloat16") for _ in range(2))
    by_bits = amx.matmul(a.view(np.uint16), b.view(np.uint16), dtype="bfloat16")
    np.testing.assert_array_equal(by_bits, amx.matmul(a, b))
    np.testing.assert_array_equal(
        amx.matmul(a.view(np.uint16), amx.pack(b), dtype="bfloat16"), amx.matmul(a, b)
    )


@pytest.mark.parametrize(("name", "carrier"), [("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)])
def test_float32_is_rounded_to_nearest_even(backend, name, carrier):
    """float32 operands with dtype= give what rounding them first gives, by ml_dtypes and NumPy."""
    operands.need(backend, name)
    rng = np.random.default_rng(19)
    word = rng.integers(0, 2**32, (64, 64), dtype=np.uint32)
    word[::3] &= 0xFFFF8000  # ties
    word[1::3] = word[1::3] & 0x807FFFFF | 0x3F800000
    a = word.view(np.float32)
    a[np.isnan(a)] = 1.5  # a NaN's payload is a convention of its own, tested below
    with np.errstate(over="ignore"):
        rounded = a.astype(carrier)
    np.testing.assert_array_equal(
        operands.as_bits(amx.matmul(a, a, dtype=name)), operands.as_bits(amx.matmul(rounded, rounded))
    )


def test_float32_nan_stays_nan_with_its_sign_and_payload(backend):
    """Rounding a NaN to bfloat16 keeps the upper payload, so the product keeps it too."""
    a = np.array([[0xFFA51234]], np.uint32).view(np.float32)
    b = np.ones((1, 1), np.float32)
    assert amx.matmul(a, b, dtype="bfloat16").view(np.uint32)[0, 0] == 0xFFE50000


def test_other_byte_orders_are_read(backend):
    """A big-endian float16 array multiplies by its values."""
    operands.need(backend, "float16")
    a = np.arange(12, dtype=np.float16).reshape(3, 4)
    np.testing.assert_array_equal(amx.matmul(a.astype(">f2"), a.T), amx.matmul(a, a.T))


def test_lists_of_numbers_need_a_type(backend):
    """A list becomes int64, which AMX does not multiply: the error says what it does."""
    with pytest.raises(amx.errors.DtypeError, match=r"int64.*AMX multiplies int8"):
        amx.matmul([[1]], [[2]])


def test_oracle_of_floats_by_hand():
    """The model itself on cases done by hand: 1*2 + 3*4 in two chains, and an invalid product's NaN."""
    one, inf, zero = 0x3F80, 0x7F80, 0x0000
    a = np.array([[one, 0x4040], [inf, one]], np.uint16)
    b = np.array([[0x4000], [0x4080]], np.uint16)
    assert product_model.float_product(a, b, "bfloat16").view(np.float32).ravel().tolist() == [14.0, np.inf]
    nan = product_model.float_product(np.array([[inf]], np.uint16), np.array([[zero]], np.uint16), "bfloat16")
    assert nan[0, 0] == 0xFFC00000


def test_the_steady_state_allocates_nothing_in_c(backend):
    """After the first call the C heap neither grows nor shrinks over 200 products, on one thread and two."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("mallinfo2 needs glibc 2.33")

    class Mallinfo2(ctypes.Structure):
        names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

    libc.mallinfo2.restype = Mallinfo2
    a, out = ones((70, 200)), np.empty((70, 90), np.int32)
    b, packed = ones((200, 90)), amx.pack(ones((200, 90)))

    def in_use():
        info = libc.mallinfo2()
        return info.uordblks + info.hblkhd

    for threads in (1, 2):
        amx.set_num_threads(threads)
        for second in (b, packed):
            amx.matmul(a, second, out=out)
            before = in_use()
            for _ in range(200):
                amx.matmul(a, second, out=out)
            assert abs(in_use() - before) < 1000  # bytes; Python's own objects come and go
    amx.set_num_threads(None)


def test_products_larger_than_one_block(backend):
    """Every loop over blocks turns twice: rows, columns, K, and the stripe that is packed at a time."""
    rng = np.random.default_rng(33)

    def check(m, n, k):
        a, b = (rng.integers(-128, 128, shape, dtype=np.int8) for shape in [(m, k), (k, n)])
        want = a.astype(np.float64) @ b.astype(np.float64)  # sums stay below 2**53: exact
        np.testing.assert_array_equal(amx.matmul(a, b), want)
        np.testing.assert_array_equal(amx.matmul(a, amx.pack(b)), want)
        np.testing.assert_array_equal(amx.matmul(np.asfortranarray(a), b), want)

    amx.set_num_threads(1)  # else each thread's part may fit one block
    try:
        for k in (500, 3000):
            check(amx.plan(10**6, 10**6, k).mc + 5, 70, k)
        plan = amx.plan(10**6, 10**6, 3000)
        assert plan.kc < plan.chunks
        check(5, plan.nc + 5, 3000)
        check(5, plan.stripe + 5, 3000)
    finally:
        amx.set_num_threads(None)


def test_subclasses_are_read_as_plain_arrays(backend):
    """What a subclass makes of indexing or shapes does not reach the C code."""

    class Odd(np.ndarray):
        def __getitem__(self, index):
            return np.zeros((1, 1), self.dtype)

    odd = ones((70, 70)).view(Odd)
    assert (amx.matmul(odd, odd) == 70).all()
    assert (amx.matmul(ones((2, 70)), amx.pack(odd)) == 70).all()
    assert type(amx.matmul(ones((2, 2)).view(Odd), ones((2, 2)))) is np.ndarray


def test_a_foreign_configuration_survives_a_product(backend):
    """A product gives back the configuration that it found, and releases the tiles where it found none."""
    one = ones((1, 1))
    amx.matmul(one, one)
    lib, ffi = amx.lowlevel.lib, amx.lowlevel.ffi
    engine = lib.AMX_NATIVE if backend == "native" else lib.AMX_EMULATED
    now = ffi.new("uint8_t[64]")
    lib.amx_sttilecfg(engine, now)
    assert bytes(now) == bytes(64)
    image = amx.TileConfig([(3, 12), None, (1, 4)]).to_bytes()
    lib.amx_ldtilecfg(engine, ffi.from_buffer("uint8_t[]", image))
    try:
        amx.matmul(ones((70, 70)), ones((70, 70)))
        lib.amx_sttilecfg(engine, now)
        assert bytes(now) == image
    finally:
        lib.amx_tilerelease(engine)
