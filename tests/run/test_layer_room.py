"""Products made results (csrc/layer/), bit for bit what docs/numerics.md says, at every width."""

import children
import layer_calls
import layer_model
import numpy as np
import pytest
from layer_calls import ACTIVATIONS, TYPES, as_element, bits
from layer_model import FLOATS, QUANTITIES

SPECIAL = np.array(
    [
        *[0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-40, 3.4e38, -3.4e38],
        *[65519.99, 65520, 1e-7, 89, -88.5, -0.5],
    ],
    np.float32,
)


@pytest.fixture(params=layer_calls.widths())
def width(request):
    with layer_calls.selected(request.param):
        yield request.param


def apart(rng, array):
    """The same values, with rows further apart."""
    rows, columns = array.shape
    memory = np.zeros((rows, columns + int(rng.integers(0, 20))), array.dtype)
    memory[:, :columns] = array
    return memory[:, :columns]


def floats(rng, shape, special):
    x = (rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4)).astype(np.float32)
    return np.where(rng.random(shape) < special, rng.choice(SPECIAL, shape), x)


def random_block(rng, rows, columns):
    """Products, and what belongs to them: each part or not."""
    special = rng.choice([0, 0.05, 0.3])
    if rng.random() < 0.3:
        c, parts = floats(rng, (rows, columns), special), {}
    else:
        c = rng.integers(-(2**31), 2**31, (rows, columns), np.int32, endpoint=False) >> int(
            rng.integers(0, 28)
        )
        parts = {"k": int(rng.integers(1, 5000))}
        if rng.random() < 0.5:
            parts["row_zero"] = rng.integers(-128, 256, rows).astype(np.int32)
            parts["column_sum"] = rng.integers(-(2**31), 2**31, columns).astype(np.int32)
        if rng.random() < 0.5:
            parts["column_zero"] = rng.integers(-128, 256, columns).astype(np.int32)
            parts["row_sum"] = rng.integers(-(2**31), 2**31, rows).astype(np.int32)
    for name, count in {"row_scale": rows, "column_scale": columns, "bias": columns}.items():
        if rng.random() < 0.7:
            parts[name] = floats(rng, count, special / 3)
    if rng.random() < 0.5:
        parts["residual"] = apart(
            rng, as_element(floats(rng, (rows, columns), special), rng.choice(list(FLOATS)))
        )
    parts["activation"] = list(ACTIVATIONS)[rng.integers(len(ACTIVATIONS))]
    return apart(rng, c), parts


def random_type(rng):
    """A type of results by name, with its scale and zero point."""
    name = list(TYPES)[rng.integers(len(TYPES))]
    if name in FLOATS:
        return name, {}
    quantity = QUANTITIES[name]
    zero = (
        int(rng.integers(quantity.lowest, quantity.highest + 1)) if quantity.zero is None else quantity.zero
    )
    return name, {"out_scale": float(np.float32(10.0 ** rng.integers(-4, 3))), "out_zero": zero}


def check(c, name, **parts):
    """The results, and that nothing else was written."""
    memory = np.full((len(c), c.shape[1] + 9), 77, layer_calls.dtype_of(name))
    out = memory[:, : c.shape[1]]
    layer_calls.finish(c, out, name, **parts)
    want = layer_model.finished(c, name, **parts)
    np.testing.assert_array_equal(bits(out), bits(want), err_msg=f"{name} {parts}")
    assert (memory[:, c.shape[1] :] == 77).all()


def test_a_block(width):
    """(1 * 0.5 * 2 + 3) + 4 = 8 and -8 made 0: all steps, by hand."""
    c, out = np.array([[11, -5]], np.int32), np.empty((1, 2), np.float32)
    layer_calls.finish(
        c, out, "float32", k=3,
        row_zero=np.array([2], np.int32), column_sum=np.array([4, 5], np.int32),
        column_zero=np.array([1, 1], np.int32), row_sum=np.array([8], np.int32),
        row_scale=np.array([0.5], np.float32), column_scale=np.array([2, 2], np.float32),
        bias=np.array([3, 3], np.float32), residual=np.array([[4, 4]], np.float32), activation="relu",
    )  # fmt: skip
    assert out.tolist() == [[8, 0]]


def test_random_blocks(width, rng):
    for number in range(300):
        columns = number if number <= 70 else int(rng.integers(71, 400))
        c, parts = random_block(rng, int(rng.integers(1, 5)), columns)
        name, scale = random_type(rng)
        check(c, name, **parts, **scale)


@pytest.mark.long
def test_many_random_blocks(width, rng):
    for _ in range(30_000):
        c, parts = random_block(rng, int(rng.integers(0, 5)), int(rng.integers(0, 300)))
        name, scale = random_type(rng)
        check(c, name, **parts, **scale)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", TYPES)
def test_every_activation_to_every_type(width, rng, name, activation):
    """Any bits, and numbers of the size that layers have."""
    c = rng.integers(0, 1 << 32, (16, 1021), np.uint32).view(np.float32)
    c[8:] = rng.standard_normal((8, 1021)) * 4
    c[:, : len(SPECIAL)] = SPECIAL
    zero = 0 if name in FLOATS else QUANTITIES[name].zero or 5
    check(c, name, activation=activation, out_scale=np.float32(0.03), out_zero=zero)


def test_every_float16_and_bfloat16_as_residual(width):
    words = np.arange(1 << 16, dtype=np.uint16).reshape(16, -1)
    for residual in (words, words.view(np.float16)):
        for name in FLOATS:
            check(np.zeros(words.shape, np.int32), name, residual=residual)


@pytest.mark.parametrize("low", [0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_rounding_to_16_bits(width, low):
    """Every sign, exponent and upper fraction: ties, and what is beside them."""
    words = (np.arange(1 << 16, dtype=np.uint32) << 16 | low).reshape(16, -1)
    for name in ("bfloat16", "float16"):
        check(words.view(np.float32), name)


def test_a_nan_is_the_quiet_one(width):
    payloads = np.array([[0x7F800001, 0xFFC12345, 0xFF800001, 0x7FFFFFFF]], np.uint32).view(np.float32)
    for name, right in {"float32": 0x7FC00000, "bfloat16": 0x7FC0, "float16": 0x7E00}.items():
        for activation in ACTIVATIONS:
            out = np.empty(payloads.shape, layer_calls.dtype_of(name))
            layer_calls.finish(payloads, out, name, activation=activation)
            assert [[right] * 4] == bits(out).tolist()


@pytest.mark.parametrize("name", TYPES)
def test_in_place(width, rng, name):
    """Over the products, in rows as far apart."""
    for columns in (1, 5, 16, 64, 70, 133):
        c = rng.integers(-3000, 3000, (5, columns + 3)).astype(np.int32)
        parts = {"row_scale": np.full(5, 0.01, np.float32), "bias": floats(rng, columns, 0)}
        want = layer_model.finished(c[:, :columns], name, **parts, out_zero=1)
        element = layer_calls.dtype_of(name)
        out = np.lib.stride_tricks.as_strided(c.view(element), (5, columns), (c.strides[0], element.itemsize))
        layer_calls.finish(c[:, :columns], out, name, **parts, out_zero=1)
        np.testing.assert_array_equal(bits(np.ascontiguousarray(out)), bits(want))


@pytest.mark.parametrize("name", FLOATS)
def test_over_the_residual(width, rng, name):
    c = rng.integers(-3000, 3000, (5, 133)).astype(np.int32)
    out = as_element(floats(rng, c.shape, 0), name)
    want = layer_model.finished(c, name, residual=out.copy(), activation="silu")
    layer_calls.finish(c, out, name, residual=out, activation="silu")
    np.testing.assert_array_equal(bits(out), bits(want))


def in_child(*words):
    return children.run_python(children.SUPPORT / "layer_child.py", *words)


def test_the_floating_point_environment_is_the_callers():
    """Rounding, flushing, traps and flags stay as they are, and change no bit."""
    done = in_child("environment")
    assert (done.stdout, done.returncode) == ("right\n", 0), (children.how_it_ended(done), done.stderr)


def test_nothing_beyond_the_arrays_is_touched():
    done = in_child("guarded")
    assert (done.stdout, done.returncode) == ("right\n", 0), (children.how_it_ended(done), done.stderr)


def test_a_byte_too_far_would_be_seen():
    assert children.how_it_ended(in_child("too-far")) == "SIGSEGV"
