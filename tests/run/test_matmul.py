"""Matrix products: shapes, types, layouts, batches, out=, and what is refused."""

import copy
import ctypes
import pickle

import ml_dtypes
import numpy as np
import operands
import product_model
import pytest

import amx

SIZES = [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97]


def ones(shape, dtype=np.int8):
    return np.ones(shape, dtype)


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


SHAPES = [
    ((5,), (5,)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((0, 5), (5, 3)),
    ((4, 0), (0, 3)),
    ((4, 5), (5, 0)),
    ((2, 4, 5), (5, 3)),
    ((4, 5), (2, 5, 3)),
    ((2, 4, 5), (2, 5, 3)),
    ((2, 1, 4, 5), (3, 5, 3)),
    ((2, 3, 4, 5), (5,)),
    ((5,), (2, 3, 5, 4)),
    ((1, 1, 1), (7, 1, 1)),
    ((0, 4, 5), (5, 3)),
    ((0, 4, 5), (1, 5, 3)),
    ((3, 4, 0), (0, 2)),
]


@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_shapes_follow_numpy(backend, a_shape, b_shape):
    """Vectors, batches, broadcasting and empty dimensions give the shape and values of numpy.matmul."""
    rng = np.random.default_rng(15)
    a, b = operands.random_array(rng, a_shape, "int8"), operands.random_array(rng, b_shape, "uint8")
    want = np.matmul(a.astype(np.int64), b.astype(np.int64))
    result = amx.matmul(a, b)
    assert np.shape(result) == np.shape(want)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, want)
    if b.ndim >= 2:
        np.testing.assert_array_equal(amx.matmul(a, amx.pack(b)), want)


def test_results_larger_than_any_memory(backend):
    """Operands may be small all the same, where they are broadcast."""
    a = np.broadcast_to(np.int8(1), (2**33, 1))
    for first, second in ((a, a.T), (a[:0], np.broadcast_to(np.int8(1), (1, 2**62)))):
        with pytest.raises(MemoryError, match="larger than any memory"):
            amx.matmul(first, second)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("a_shape", "b_shape"), SHAPES)
def test_shapes_of_what_is_rounded_follow_numpy(backend, a_shape, b_shape, dtype):
    """float32 of either byte order, which is rounded; whole numbers stay what they are."""
    operands.need(backend, dtype)
    rng = np.random.default_rng(16)
    a, b = (rng.integers(-8, 8, shape).astype(np.float32) for shape in (a_shape, b_shape))
    want = np.matmul(a, b)
    seconds = [b, b.astype(">f4")] + ([amx.pack(b, dtype=dtype)] if b.ndim >= 2 else [])
    for first in (a, a.astype(">f4")):
        for second in seconds:
            result = amx.matmul(first, second, dtype=dtype)
            assert np.shape(result) == np.shape(want)
            assert result.dtype == np.float32
            np.testing.assert_array_equal(result, want)


def test_broadcast_views_without_memory_of_their_own(backend):
    """Operands with zero strides, in rows, columns and batches."""
    rng = np.random.default_rng(16)
    a = np.broadcast_to(operands.random_array(rng, (1, 70), "int8"), (3, 20, 70))
    b = np.broadcast_to(operands.random_array(rng, (70, 1), "int8"), (70, 40))
    np.testing.assert_array_equal(amx.matmul(a, b), a.astype(np.int64) @ b.astype(np.int64))


OUTS = {
    "plain": lambda: np.empty((40, 50), np.int32),
    "rows apart": lambda: np.empty((40, 90), np.int32)[:, 20:70],
    "rows reversed": lambda: np.empty((40, 50), np.int32)[::-1],
    "Fortran": lambda: np.empty((40, 50), np.int32, order="F"),
    "columns apart": lambda: np.empty((40, 100), np.int32)[:, ::2],
    "unaligned": lambda: np.empty(40 * 50 * 4 + 1, np.uint8)[1:].view(np.int32).reshape(40, 50),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", OUTS)
def test_out_of_any_layout_is_filled_and_returned(backend, layout, packed):
    """out= takes any strides and comes back as the same object."""
    rng = np.random.default_rng(17)
    a, b = operands.random_array(rng, (40, 33), "int8"), operands.random_array(rng, (33, 50), "int8")
    out = OUTS[layout]()
    assert amx.matmul(a, amx.pack(b) if packed else b, out=out) is out
    np.testing.assert_array_equal(out, a.astype(np.int64) @ b.astype(np.int64))


def test_out_leaves_its_surroundings_alone(backend):
    """Nothing beside the output's own elements is written, at every tail."""
    for m, n in [(1, 1), (17, 5), (33, 47)]:
        frame = np.full((m + 2, n + 2), -7, np.int32)
        amx.matmul(ones((m, 9)), ones((9, n)), out=frame[1:-1, 1:-1])
        assert (frame[1:-1, 1:-1] == 9).all()
        frame[1:-1, 1:-1] = -7
        assert (frame == -7).all()


@pytest.mark.parametrize("packed", [False, True])
def test_out_may_overlap_an_operand(backend, packed):
    """An output in the operand's own memory is the product of the operand as it was."""
    memory = np.arange(64 * 64 * 4, dtype=np.uint8)
    a = memory.view(np.int8)[: 64 * 64].reshape(64, 64)
    want = a.astype(np.int64) @ a.astype(np.int64)
    out = memory.view(np.int32).reshape(64, 64)
    amx.matmul(a, amx.pack(a) if packed else a, out=out)
    np.testing.assert_array_equal(out, want)


def test_batched_out_with_vectors(backend):
    """out= of a product with a vector has the vector's dimension left out."""
    a, b = ones((3, 4, 5)), ones(5)
    out = np.empty((4, 6), np.int32)[:3, 1:5]
    assert amx.matmul(a, b, out=out) is out
    assert (out == 5).all()


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


REFUSED = [
    (ones((2, 3)), ones((4, 2)), {}, amx.errors.ShapeError, "K is 3, the columns of a, and 4, the rows of b"),
    (ones((2, 3)), np.int8(1), {}, amx.errors.ShapeError, "scalar"),
    (ones((2, 2, 3)), ones((3, 3, 2)), {}, amx.errors.ShapeError, "do not broadcast"),
    (ones((2, 3), np.float32), ones((3, 2), np.float32), {}, amx.errors.DtypeError, "float32.*to round it"),
    (ones((2, 3), np.float64), ones((3, 2), np.float64), {}, amx.errors.DtypeError, "float64"),
    (ones((2, 3), np.uint16), ones((3, 2), np.uint16), {}, amx.errors.DtypeError, "bits of bfloat16"),
    (ones((2, 3)), ones((3, 2), np.float16), {}, amx.errors.DtypeError, "int8 times float16"),
    (ones((2, 3)), ones((3, 2)), {"dtype": "float16"}, amx.errors.DtypeError, "int8 and dtype='float16'"),
    (ones((2, 3)), ones((3, 2)), {"dtype": "float32"}, amx.errors.DtypeError, "dtype='float32'"),
    (
        ones((2, 3)),
        ones((3, 2)),
        {"out": np.empty((3, 2), np.int32)},
        amx.errors.ShapeError,
        r"shape \(3, 2\)",
    ),
    (ones((2, 3)), ones((3, 2)), {"out": np.empty((2, 2), np.int64)}, amx.errors.DtypeError, "out is int64"),
    (ones((2, 3)), ones((3, 2)), {"out": [[0, 0], [0, 0]]}, amx.errors.DtypeError, "out is a list"),
]


@pytest.mark.parametrize(("a", "b", "options", "error", "message"), REFUSED)
def test_bad_input_gets_its_named_error(a, b, options, error, message):
    """Each refusal names the value and is also a ValueError or TypeError; nothing has been written."""
    amx.set_backend("emulated")
    with pytest.raises(error, match=message) as caught:
        amx.matmul(a, b, **options)
    assert isinstance(caught.value, ValueError | TypeError)
    assert caught.value.remedy


@pytest.mark.parametrize("out", [np.zeros((2, 2), np.int32), [[0, 0], [0, 0]]], ids=["int32", "list"])
@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}], ids=["as they are", "rounded"])
def test_no_way_takes_another_out(out, options):
    """After a product of the same kind too, when C is called at once: plain and packed."""
    amx.set_backend("emulated")
    a, b = (ones(shape, np.float32 if options else np.float16) for shape in ((2, 3), (3, 2)))
    for second in (b, amx.pack(b, **options)):
        amx.matmul(a, second, **options)
        with pytest.raises(amx.errors.DtypeError, match="out is"):
            amx.matmul(a, second, out=out, **options)
        assert np.all(np.array(out) == 0)


def test_read_only_out_is_refused():
    """An output that may not be written is named before anything is computed."""
    out = np.zeros((2, 2), np.int32)
    out.flags.writeable = False
    for b in (ones((3, 2)), amx.pack(ones((3, 2)))):
        with pytest.raises(amx.errors.BufferReadOnlyError):
            amx.matmul(ones((2, 3)), b, out=out)


def test_packed_operands_are_checked_too():
    """K and types of a packed operand are refused as those of an array, on the short way and the long one."""
    packed = amx.pack(ones((4, 2)))
    with pytest.raises(amx.errors.ShapeError, match="K is 3"):
        amx.matmul(ones((2, 3)), packed)
    with pytest.raises(amx.errors.DtypeError, match="float16 times int8"):
        amx.matmul(ones((2, 4), np.float16), packed)
    with pytest.raises(amx.errors.ShapeError, match="out has shape"):
        amx.matmul(ones((2, 4)), packed, out=np.empty((2, 3), np.int32))


def test_pack_refuses_vectors_and_other_types():
    """pack() wants at least a matrix, of a type that AMX multiplies."""
    with pytest.raises(amx.errors.ShapeError, match=r"\(5,\)"):
        amx.pack(ones(5))
    with pytest.raises(amx.errors.DtypeError, match="complex128"):
        amx.pack(ones((2, 2), np.complex128))


VAST = [
    ((2**50, 4), (4, 0)),
    ((0, 4), (4, 2**50)),
    ((2**50, 2, 4), (4, 0)),
    ((2**50, 2, 4), (2**50, 4, 0)),
    ((2**30, 2**20, 0, 4), (2**30, 1, 4, 5)),
]


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize(("a_shape", "b_shape"), VAST)
def test_vast_products_without_elements(backend, a_shape, b_shape, dtype):
    """Results without elements, however large their dimensions are, in place and converted."""
    one = np.int8(1) if dtype is None else np.uint16(0x3F80)
    a, b = np.broadcast_to(one, a_shape), np.broadcast_to(one, b_shape)
    assert amx.matmul(a, b, dtype=dtype).shape == (*a_shape[:-1], b_shape[-1])


@pytest.mark.parametrize("shape", [((1, 2**50), (2**50, 1)), ((2**50,), (2**50,))])
def test_a_k_beyond_all_memory(backend, shape):
    """It has no work space: an error of the kind that one that does not fit this machine's has."""
    a, b = (np.broadcast_to(np.int8(1), each) for each in shape)
    with pytest.raises(amx.errors.AllocationError, match="no memory"):
        amx.matmul(a, b)


@pytest.mark.parametrize("shape", [(0, 2**50), (2**50, 0), (2**40, 0, 7)])
def test_nothing_is_packed_at_once(shape):
    """However large the dimensions of an array without elements are."""
    packed = amx.pack(np.empty(shape, np.int8))
    assert (packed.shape, packed.nbytes) == (shape, 0)


def test_packed_matrix_describes_itself():
    """Shape, type and size are there to see; the padded size is at least the data's."""
    packed = amx.pack(ones((2, 100, 33), np.uint8))
    assert packed.shape == (2, 100, 33)
    assert packed.ndim == 3
    assert (
        packed.nbytes == 2 * 2 * 2 * 2048
    )  # 2 items, 2 panels of 32 columns, 2 chunks of 64, two tiles each
    assert "uint8" in repr(packed)


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


def test_out_whose_elements_overlap(backend):
    """An output that holds an element in two places gets the product all the same, if the places agree."""
    memory = np.zeros(200, np.int32)
    out = np.lib.stride_tricks.as_strided(memory, (40, 40), (4, 4))
    amx.matmul(ones((40, 2000)), ones((2000, 40)), out=out)
    assert (out == 2000).all()


def test_masked_arrays_are_refused():
    """A mask would be ignored: the error says so."""
    masked, plain = np.ma.masked_array(ones((2, 2)), [[True, False], [False, False]]), ones((2, 2))
    for use in (
        lambda: amx.matmul(masked, plain),
        lambda: amx.matmul(plain, masked),
        lambda: amx.pack(masked),
    ):
        with pytest.raises(amx.errors.DtypeError, match="masked"):
            use()


def test_subclasses_are_read_as_plain_arrays(backend):
    """What a subclass makes of indexing or shapes does not reach the C code."""

    class Odd(np.ndarray):
        def __getitem__(self, index):
            return np.zeros((1, 1), self.dtype)

    odd = ones((70, 70)).view(Odd)
    assert (amx.matmul(odd, odd) == 70).all()
    assert (amx.matmul(ones((2, 70)), amx.pack(odd)) == 70).all()
    assert type(amx.matmul(ones((2, 2)).view(Odd), ones((2, 2)))) is np.ndarray


def test_packed_matrices_cannot_be_changed():
    """No attribute can be set or deleted; a copy is the same object; pickling says what to do."""
    packed = amx.pack(ones((64, 64)))
    for name in ("n", "k", "shape", "handle", "new"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(packed, name, 32)
    with pytest.raises(AttributeError, match="immutable"):
        del packed.handle
    assert copy.deepcopy(packed) is packed
    assert copy.copy(packed) is packed
    with pytest.raises(TypeError, match="pack it again"):
        pickle.dumps(packed)


def test_empty_batches_in_one_arena(backend):
    """Operands and output of no items may lie in the same memory."""
    memory = np.zeros(10**5, np.uint8)
    a = memory[: 10**4].view(np.int8).reshape(1, 100, 100)[:0]
    out = memory[: 4 * 10**4].view(np.int32).reshape(1, 100, 100)[:0]
    assert amx.matmul(a, np.zeros((1, 100, 100), np.int8)[:0], out=out) is out


@pytest.mark.parametrize("sizes", [(1, 1, 2**62), (2**63 - 1, 1, 1), (1, 2**70, 1), (-1, 1, 1)])
def test_plans_of_impossible_sizes(sizes):
    """Sizes that no array has are refused, not wrapped."""
    amx.set_backend("emulated")
    with pytest.raises(amx.errors.ShapeError, match="negative, or larger"):
        amx.plan(*sizes, "bfloat16")


def test_too_many_dimensions():
    """More dimensions than NumPy broadcasts are refused by number."""
    a = np.zeros((1,) * 35, np.int8)
    with pytest.raises(amx.errors.ShapeError, match="35"):
        amx.matmul(a, a)


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
