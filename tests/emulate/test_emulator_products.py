"""Products on the software tile machine: when they are #UD, what they leave, every bit of their numerics."""

import functools
import random

import numerics_model
import numpy as np
import pytest
from emulator_machine import OK, PATHS, PRODUCTS, UD, Machine, image, product_shapes
from numerics_model import HARDWARE, Rules

from amx._lib import lib

INTEGERS = tuple(numerics_model.SIGNED)
FLOATS = tuple(name for name in PRODUCTS if name not in INTEGERS)
FP8 = tuple(numerics_model.FP8)
SHAPE = (3, 5, 4)  # rows, words of a row, words of K


@pytest.fixture
def path_afterwards():
    """Selects again what was selected before."""
    before = lib.amxemu_selected_path()
    yield
    assert lib.amxemu_select_path(before) == 0


@pytest.fixture(params=PATHS)
def path(request, path_afterwards):
    """Each arithmetic path."""
    if lib.amxemu_select_path(PATHS[request.param]) != 0:
        pytest.skip(f"this CPU has no {request.param}")


# ---- state ----


def machine_with(shapes, start_row=0):
    machine = Machine()
    assert machine.ldtilecfg(image(shapes, start_row=start_row)) == OK
    for tile in range(8):
        machine.tiles[tile][:] = tile + 1
    return machine


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(
    "shapes",
    [
        [(0, 0), (3, 16), (4, 20)],
        [(3, 20), (0, 0), (4, 20)],
        [(3, 20), (3, 16), (0, 0)],
        [(3, 20), (2, 16), (4, 20)],
        [(3, 20), (3, 16), (4, 16)],
        [(3, 20), (3, 16), (5, 20)],
        [(3, 20), (3, 20), (4, 20)],
        [(3, 18), (3, 16), (4, 18)],
        [(3, 20), (3, 15), (4, 20)],
    ],
)
def test_shapes_that_do_not_fit_are_ud(name, shapes):
    """Each tile valid, colsb multiples of 4, equal M, N and K; nothing changes otherwise."""
    machine = machine_with(shapes, start_row=2)
    assert machine.tdp(name) == UD
    assert all((machine.tiles[tile] == tile + 1).all() for tile in range(8))
    assert machine.start_row == 2


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("operands", [(0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 2, 2)])
def test_the_same_tile_twice_is_ud(name, operands):
    assert machine_with([(4, 16)] * 3).tdp(name, *operands) == UD


@pytest.mark.parametrize("name", PRODUCTS)
def test_without_configuration_is_ud(name):
    assert Machine().tdp(name) == UD


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", PRODUCTS)
def test_start_row_is_ignored_and_reset(name):
    """Also one beyond the rows."""
    reset, other = machine_with(product_shapes(*SHAPE)), machine_with(product_shapes(*SHAPE), start_row=200)
    assert reset.tdp(name) == other.tdp(name) == OK
    assert (reset.tiles[0] == other.tiles[0]).all()
    assert other.start_row == 0


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("shape", [(1, 1, 1), SHAPE, (15, 16, 16), (16, 15, 16), (16, 16, 15), (16, 16, 16)])
def test_d_is_zero_outside_its_shape_and_a_and_b_stay(name, shape):
    machine = machine_with(product_shapes(*shape))
    assert machine.tdp(name) == OK
    m, n = shape[:2]
    assert machine.words(0)[:m, :n].all()
    assert not machine.words(0)[m:].any()
    assert not machine.words(0)[:, n:].any()
    assert all((machine.tiles[tile] == tile + 1).all() for tile in range(1, 8))


# ---- integers ----


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_equal_the_model(name):
    """Random shapes and bytes, some of them extremes only."""
    rng = np.random.default_rng(seed := random.getrandbits(32))
    print(f"seed {seed}")
    machine = Machine()
    for case in range(150):
        m, n, k = (int(x) for x in rng.integers(1, 17, 3)) if case % 8 else (4, 4, 16)
        d, a, b = (
            rng.integers(0, 2**32, shape, np.uint32, endpoint=False) for shape in ((m, n), (m, k), (k, n))
        )
        if case % 4 == 0:
            extremes = np.array([0x00, 0x7F, 0x80, 0xFF], np.uint8)
            a, b = (rng.choice(extremes, (*x.shape, 4)).view(np.uint32)[..., 0] for x in (a, b))
        expected = numerics_model.product(name, d.tolist(), a.tolist(), b.tolist())
        assert machine.product(name, d, a, b).tolist() == expected


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("name", "byte_a", "byte_b", "result"),
    [
        ("tdpbssd", 0x80, 0x80, 64 * 128 * 128),
        ("tdpbsud", 0x80, 0xFF, -64 * 128 * 255),
        ("tdpbusd", 0xFF, 0x80, -64 * 255 * 128),
        ("tdpbuud", 0xFF, 0xFF, 64 * 255 * 255),
    ],
)
def test_integers_wrap_and_do_not_saturate(name, byte_a, byte_b, result):
    d = np.full((16, 16), 0x7FFFFFFF, np.uint32)
    a, b = (np.full((16, 16), byte * 0x01010101, np.uint32) for byte in (byte_a, byte_b))
    assert (Machine().product(name, d, a, b) == (0x7FFFFFFF + result) % 2**32).all()


# ---- floats ----

FORMATS = {  # fraction bits, largest exponent
    "bf16": (7, 255),
    "fp16": (10, 31),
    "bf8": (2, 31),
    "hf8": (3, 15),
    "f32": (23, 255),
}
OPERANDS = {  # formats of a and b
    "tdpbf16ps": ("bf16", "bf16"),
    "tdpfp16ps": ("fp16", "fp16"),
    "tcmmrlfp16ps": ("fp16", "fp16"),
    "tcmmimfp16ps": ("fp16", "fp16"),
    "tdpbf8ps": ("bf8", "bf8"),
    "tdpbhf8ps": ("bf8", "hf8"),
    "tdphbf8ps": ("hf8", "bf8"),
    "tdphf8ps": ("hf8", "hf8"),
}
KINDS = ("tame", "special", "underflow", "overflow", "powers", "denormal", "nan", "anything")


def number(rng, format_, biased):
    fraction_bits, top = FORMATS[format_]
    return (rng.getrandbits(1) * (top + 1) + biased) << fraction_bits | rng.getrandbits(fraction_bits)


def element(rng, format_, kind):
    fraction_bits, top = FORMATS[format_]
    one = top // 2
    if kind == "special" and rng.random() < 0.2:
        biased = rng.choice([0, 0, 1, top - 1, top, top])
        return number(rng, format_, biased) & ~(rng.getrandbits(1) * ((1 << fraction_bits) - 1))
    if kind == "underflow":  # products of two are about 2**-126
        return number(
            rng, format_, rng.randrange(4) if format_ == "f32" else max(one - 66, 0) + rng.randrange(6)
        )
    if kind == "overflow":
        return number(
            rng, format_, top - 1 - rng.randrange(3) if format_ == "f32" else min(one + 62, top - 1)
        )
    if kind == "powers":  # exact sums, cancellation, both sides of the boundary of tininess
        down = rng.choice([0, 17, 63, 63, 64, 75, 80])
        biased = rng.choice([1, 2, one]) if format_ == "f32" else max(one - down, 1)
        return number(rng, format_, biased) >> fraction_bits << fraction_bits
    if kind == "denormal":
        return number(rng, format_, rng.choice([0, 0, 0, 1, one]))
    if kind == "nan" and rng.random() < 0.5:
        return number(rng, format_, top)
    if kind == "anything":
        return number(rng, format_, rng.randrange(top + 1))
    return number(rng, format_, one - 2 + rng.randrange(5))


def word(rng, format_, kind):
    """As many elements as 32 bits hold, the first in the lowest bits."""
    width = 8 if format_ in ("bf8", "hf8") else 16
    return sum(element(rng, format_, kind) << shift for shift in range(0, 32, width))


@functools.cache
def corpus(name):
    """Small random products, (d, a, b) as lists of rows of words; the same in each run."""
    rng = random.Random(name)
    cases = []
    for _ in range(1500 if OPERANDS[name][0] == "bf16" or name == "tdpfp16ps" else 700):
        m, n, k = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 6)
        kinds = [rng.choice(KINDS) for _ in range(2)]
        d = [[element(rng, "f32", kinds[0]) for _ in range(n)] for _ in range(m)]
        a, b = (
            [[word(rng, format_, kinds[1]) for _ in range(columns)] for _ in range(rows)]
            for format_, (rows, columns) in zip(OPERANDS[name], ((m, k), (k, n)), strict=True)
        )
        cases.append((d, a, b))
    if name == "tdpbf16ps":
        cases += [([[0x80000000]], [a], [[word] for word in b]) for a, b, _ in BOUNDARY]
    if name in FP8:  # only what was in d can be denormal
        cases.append(([[0x80000001]], [[0]], [[0]]))
    return cases


# bfloat16 sums at the boundary of tininess: words of a, words of b, result with d = -0.
AT, BELOW_75, BELOW_76, BELOW_80, MINUS = 0x2000, 0x1A00, 0x1980, 0x1780, 0x8000  # 2**-63, -75, -76, -80
BOTH = 0x10001
BOUNDARY = [
    ([AT, BELOW_80], [AT, MINUS | BELOW_80], 0x00800000),  # 2**-126 - 2**-160 rounds to 2**-126: not tiny
    ([AT, BELOW_75], [AT, MINUS | BELOW_76], 0x00800000),  # - 2**-151: the tie goes to even, which is up
    ([AT, BELOW_75], [AT, MINUS | BELOW_75], 0x00000000),  # - 2**-150: representable below, so tiny
    ([AT * BOTH, BELOW_75 * BOTH], [(MINUS | AT) * BOTH, BELOW_75 * BOTH], 0x80000000),  # and below zero
]


def as_words(tile):
    return np.array(tile, np.uint32)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", FLOATS)
def test_floats_equal_the_model(name):
    """NaN payloads, infinities, denormals, signed zeros, overflow, tininess, cancellation."""
    machine = Machine()
    for d, a, b in corpus(name):
        expected = numerics_model.product(name, d, a, b)
        assert machine.product(name, *map(as_words, (d, a, b))).tolist() == expected, (d, a, b)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", FLOATS)
def test_full_tiles_of_floats_equal_the_model(name):
    """16 x 16 x 32, another seed each run."""
    rng = random.Random(seed := random.getrandbits(32))
    print(f"seed {seed}")
    machine = Machine()
    for kind in KINDS if name in ("tdpbf16ps", "tdpfp16ps") else ("special", "anything"):
        d = [[element(rng, "f32", kind) for _ in range(16)] for _ in range(16)]
        a, b = (
            [[word(rng, format_, kind) for _ in range(16)] for _ in range(16)] for format_ in OPERANDS[name]
        )
        assert machine.product(name, *map(as_words, (d, a, b))).tolist() == numerics_model.product(
            name, d, a, b
        )


@pytest.mark.usefixtures("path")
def test_tininess_is_judged_after_rounding():
    """The literal results of the boundary, from arithmetic on paper."""
    for a, b, result in BOUNDARY:
        operands = [[0x80000000]], [a], [[word] for word in b]
        assert hex(Machine().product("tdpbf16ps", *map(as_words, operands))[0, 0]) == hex(result)


NAN_CASES = [  # d, word of a, word of b (even element in the low half), result
    (0x7F800001, 0x00000000, 0x00000000, 0x7FC00001),  # a signalling NaN in d comes out quiet
    (0xFF812345, 0x00007FA1, 0x00003F80, 0xFFC12345),  # d before the sum
    (0x3F800000, 0x00007FA1, 0x0000FFA2, 0x7FE10000),  # a before b
    (0x3F800000, 0x00003F80, 0x0000FFA2, 0xFFE20000),  # b
    (0x3F800000, 0x7FA30000 | 0x7FA1, 0x3F803F80, 0x7FE10000),  # even before odd
    (0x3F800000, 0x00007F80, 0x00000000, 0xFFC00000),  # infinity * 0
    (0x3F800000, 0x00007F80, 0x00000001, 0xFFC00000),  # infinity * denormal: that is 0
    (0x7F800000, 0x0000FF80, 0x00003F80, 0xFFC00000),  # infinity - infinity
    (0x7F800000, 0x00007F80, 0x00003F80, 0x7F800000),
]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("d", "a", "b", "result"), NAN_CASES)
def test_nan_order(d, a, b, result):
    """Written out for bfloat16."""
    assert hex(Machine().product("tdpbf16ps", *(as_words([[x]]) for x in (d, a, b)))[0, 0]) == hex(result)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("name", "d", "a", "b", "result"),
    [
        ("tdpbf16ps", 0x00000000, 0x007F, 0x3F80, 0x00000000),  # a bfloat16 denormal is 0
        ("tdpbf16ps", 0x00000000, 0x0080, 0x3F80, 0x00800000),  # the smallest normal is not
        ("tdpfp16ps", 0x00000000, 0x0001, 0x3C00, 0x33800000),  # a float16 denormal is 2**-24
        ("tdpfp16ps", 0x00000000, 0x03FF, 0x0001, 0x2C7FC000),  # 1023 * 2**-48
        ("tdpbf16ps", 0x80000001, 0x0000, 0x0000, 0x00000000),  # a denormal d is its zero, and -0 + +0 is +0
        ("tdpbf16ps", 0x80000000, 0x0000, 0x0000, 0x00000000),  # the chains start from +0
        ("tdpbf16ps", 0x7F7FFFFF, 0x7F00, 0x4000, 0x7F800000),  # overflow is infinity
    ],
)
def test_denormals_zeros_and_overflow(name, d, a, b, result):
    assert hex(Machine().product(name, *(as_words([[x]]) for x in (d, a, b)))[0, 0]) == hex(result)


@pytest.mark.parametrize(
    ("name", "d", "a", "b", "result"),
    [  # the first element is in the lowest byte
        ("tdpbf8ps", 0x00000000, 0x38BC403C, 0x443C3C3C, 0x40800000),  # 1*1 + 2*1 - 1*1 + 0.5*4
        ("tdpbf8ps", 0x00000000, 0x00F80178, 0x00780178, 0x2F800000),  # 2**30 + 2**-32 - 2**30: exact
        ("tdpbf8ps", 0x3F800000, 0x0000000C, 0x0000000C, 0x3F800000),  # 1 + 2**-24: the tie goes to even
        ("tdpbf8ps", 0x00000000, 0x0000007C, 0x00000081, 0xFF800000),  # infinity times a negative denormal
        ("tdpbf8ps", 0x00000000, 0x0000007C, 0x00000080, 0xFFC00000),  # infinity times zero
        ("tdpbf8ps", 0x00000000, 0x00007C7C, 0x0000BC3C, 0xFFC00000),  # infinity minus infinity
        ("tdpbf8ps", 0x7F800000, 0x0000007C, 0x000000BC, 0xFFC00000),
        ("tdpbf8ps", 0x7F812345, 0x00000000, 0x00000000, 0xFFC00000),  # a NaN in d
        ("tdpbf8ps", 0x80000001, 0x00000000, 0x00000000, 0x80000000),
        ("tdpbf8ps", 0x80000000, 0x00000000, 0x00000000, 0x00000000),
        ("tdphf8ps", 0x00000000, 0x0000007E, 0x0000007E, 0x48440000),  # 448 * 448
        ("tdphf8ps", 0x00000000, 0x00000078, 0x00000038, 0x43800000),  # 256: no infinity there
        ("tdphf8ps", 0x00000000, 0x0000007F, 0x00000038, 0xFFC00000),
        ("tdpbhf8ps", 0x00000000, 0x0000003C, 0x00000078, 0x43800000),  # a is E5M2, b E4M3
        ("tdphbf8ps", 0x00000000, 0x00000078, 0x0000003C, 0x43800000),
    ],
)
def test_8_bit_floats_on_paper(name, d, a, b, result):
    assert hex(Machine().product(name, *(as_words([[x]]) for x in (d, a, b)))[0, 0]) == hex(result)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("name", "a", "b", "result"),
    [  # float16, the real part in the low half
        ("tcmmrlfp16ps", 0x40003C00, 0x44004200, 0xC0A00000),  # (1 + 2i)(3 + 4i) = -5 + 10i
        ("tcmmimfp16ps", 0x40003C00, 0x44004200, 0x41200000),
        ("tcmmimfp16ps", 0x3C000000, 0x00003C00, 0x3F800000),  # i * 1
        ("tcmmrlfp16ps", 0x7E010000, 0x00000000, 0xFFC02000),  # the sign of a NaN is changed too
    ],
)
def test_complex_numbers_on_paper(name, a, b, result):
    assert hex(Machine().product(name, *(as_words([[x]]) for x in (0, a, b)))[0, 0]) == hex(result)


HALVES = ("tdpbf16ps", "tdpfp16ps", *numerics_model.COMPLEX)
HF8 = tuple(name for name in FP8 if "hf8" in OPERANDS[name])
MUTATIONS = {  # and the instructions that can tell
    "NaN of b before a": (Rules(nan_order=(1, 0, 2)), HALVES),
    "NaN of c first": (Rules(nan_order=(2, 0, 1)), HALVES),
    "sum before d": (Rules(dst_first=False), HALVES),
    "odd before even": (Rules(even_first=False), HALVES),
    "accumulates into d": (Rules(separate_sum=False), FLOATS),
    "one chain": (Rules(two_chains=False), HALVES),
    "positive default NaN": (Rules(default_nan=0x7FC00000), FLOATS),
    "denormals count": (Rules(denormals_are_zero=False), HALVES),
    "float16 denormals are zero": (Rules(fp16_denormals=False), ("tdpfp16ps", *numerics_model.COMPLEX)),
    # sums of products of float16 and smaller formats are 2**-48 and more, never tiny
    "tiny before rounding": (Rules(tiny_after_rounding=False), ("tdpbf16ps",)),
    "tiny becomes +0": (Rules(tiny_keeps_sign=False), ("tdpbf16ps",)),
    "imaginary products added": (Rules(conjugates=False), ("tcmmrlfp16ps",)),
    "b negated instead of a": (Rules(negates_a=False), ("tcmmrlfp16ps",)),
    "real part of a first": (Rules(imaginary_of_a_first=False), ("tcmmimfp16ps",)),
    "8-bit denormals are zero": (Rules(fp8_denormals=False), FP8),
    "E4M3 has infinities": (Rules(hf8_finite=False), HF8),
    "8-bit products rounded one by one": (Rules(one_rounding=False), FP8),
    "NaN of 8-bit products kept": (Rules(fp8_default_nan=False), FP8),
    "denormal d is zero beside 8-bit products": (Rules(fp8_sees_denormal_d=False), FP8),
}


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("name", "mutation"),
    [(name, mutation) for mutation, (_, names) in MUTATIONS.items() for name in names],
)
def test_each_mistake_would_be_noticed(name, mutation):
    """A model with one rule changed disagrees with the C code somewhere in the corpus."""
    wrong, _ = MUTATIONS[mutation]
    assert wrong != HARDWARE
    machine = Machine()
    assert any(
        machine.product(name, *map(as_words, case)).tolist() != numerics_model.product(name, *case, wrong)
        for case in corpus(name)
    )


# ---- paths, and the caller's floating-point environment ----


def bits(rng, name, kind, size):
    """Many words of one kind at once."""
    words = rng.integers(0, 2**32, size, np.uint32)
    if name in INTEGERS or name in FP8 or kind == "anything":
        return words
    fraction_bits, top = FORMATS[OPERANDS[name][0]]
    half_exponents = {
        "tame": (top // 2 - 3, top // 2 + 3),
        "underflow": (max(top // 2 - 66, 0), max(top // 2 - 60, 6)),
        "overflow": (min(top // 2 + 60, top - 1), min(top // 2 + 66, top)),
        "denormal": (0, 2),
    }[kind]
    halves = words.view(np.uint16)
    exponents = rng.integers(*half_exponents, halves.shape).astype(np.uint16)
    if kind == "tame" and rng.integers(2):
        exponents[rng.random(halves.shape) < 0.002] = top
    mask = np.uint16(0x8000 | (1 << fraction_bits) - 1)
    return ((halves & mask) | exponents << np.uint16(fraction_bits)).view(np.uint32)


@pytest.mark.usefixtures("path_afterwards")
@pytest.mark.parametrize("products", [1_000, pytest.param(10_000, marks=pytest.mark.matrix)])
@pytest.mark.parametrize("name", PRODUCTS)
def test_every_path_equals_scalar(name, products):
    """Full and partial tiles."""
    paths = [path for path in PATHS.values() if path <= lib.amxemu_best_path()]
    if len(paths) == 1:
        pytest.skip("this CPU has no AVX2, FMA and F16C")
    rng = np.random.default_rng(seed := random.getrandbits(32))
    print(f"seed {seed}")
    for case in range(products):
        kind = ("tame", "underflow", "overflow", "denormal", "anything")[case % 5]
        m, n, k = (int(x) for x in rng.integers(1, 17, 3)) if case % 2 else (16, 16, 16)
        d = rng.integers(0, 2**32, (m, n), np.uint32)
        if case % 3 == 0:
            d &= np.uint32(0x80FFFFFF)  # zeros, denormals and the smallest normal numbers
        elif case % 3 == 1:
            d = (d & np.uint32(0x80FFFFFF)) | np.uint32(0x3F000000)
        a, b = (bits(rng, name, kind, size) for size in ((m, k), (k, n)))
        results = []
        for path in paths:
            assert lib.amxemu_select_path(path) == 0
            results.append(Machine().product(name, d, a, b))
        assert all((result == results[0]).all() for result in results)


DEFAULT_MXCSR = 0x1F80


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("flags", [0x0000, 0x2000, 0x4000, 0x6000, 0x8000, 0x0040, 0xE07F, 0x003F])
def test_the_callers_mxcsr_is_neither_obeyed_nor_changed(name, flags):
    """Rounding modes, FTZ, DAZ, sticky flags: the same bits come out, and MXCSR is as before."""
    mxcsr = DEFAULT_MXCSR | flags
    rng = random.Random(5)
    words = [[element(rng, "bf16", kind) * 0x10001 for kind in KINDS * 2] for _ in range(16)]
    results = []
    for value in (DEFAULT_MXCSR, mxcsr):
        machine = Machine()
        assert machine.ldtilecfg(image(product_shapes(16, 16, 16))) == OK
        for tile in range(3):
            machine.words(tile)[:] = words
        assert (
            lib.amx_emu_mxcsr_around_tdp(machine.state, lib.AMXEMU_TDPBSSD + PRODUCTS.index(name), value)
            == value
        )
        results.append(machine.words(0).copy())
    assert (results[0] == results[1]).all()


def test_an_unknown_path_is_refused():
    before = lib.amxemu_selected_path()
    assert lib.amxemu_select_path(len(PATHS)) < 0
    assert lib.amxemu_select_path(lib.amxemu_best_path() + 1) < 0
    assert lib.amxemu_selected_path() == before
