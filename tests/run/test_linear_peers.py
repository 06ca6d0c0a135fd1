"""Layers of `amx.Linear` beside those of onnxruntime and torch with the same weights: what differs, and why.

What the peers do with integers is held to a model of it, and that to ours. Whether their sums saturate on the
CPU that runs this is not known beforehand: sums that are not exact have to be those of saturated pairs.
"""

import os

import layer_model
import layer_peers
import nibble_model
import numpy as np
import pytest
from layer_model import QUANTITIES
from layer_peers import FORMS, SIGNED, UNSIGNED

import amx
from amx import checkpoints

pytestmark = pytest.mark.peer
F = np.float32
FULL, SMALL = 127, 63  # weights of 7 bits keep pairs of products within 16


@pytest.fixture(autouse=True)
def _on_one_engine():
    """All have the same bits, as others test."""
    amx.set_backend("emulated")
    yield
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnxruntime", exc_type=ImportError)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", exc_type=ImportError)


def weights(rng, n, k, most=FULL):
    """int8 (N, K), and a scale for each output."""
    w = rng.integers(-most, most, (n, k), dtype=np.int8, endpoint=True)
    return w, rng.uniform(0.001, 0.02, n).astype(F)


def of(w, scale, **options):
    return amx.Linear(amx.Quantized(w, scale, 0, axis=0), **options)


def whole_rows(rng, m, k, most=255):
    """Integers from 0 to `most`, both in each row: whoever quantises to that range finds them again."""
    x = rng.integers(0, most, (m, k), endpoint=True)
    x[:, 0], x[:, 1] = 0, most
    return x.astype(F)


def close(found, want, roundings):
    """Within so many roundings of binary32 of the largest result."""
    assert np.abs(found - want).max() <= roundings * 2.0**-24 * np.abs(want).max()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("most", [FULL, SMALL])
def test_onnx_sums_are_exact_or_those_of_saturated_pairs(onnxruntime, rng, form, most):
    """Of the full range, int8 weights and kernels of VPMADDUBSW; never of 7 bits, nor in the other forms."""
    x, zero = rng.integers(0, 256, (37, 256), dtype=np.uint8), 3
    w, _ = weights(rng, 40, 256, most)
    w[0], x[0], x[1] = most, 255, 255  # far beyond 16 bits
    right, wrong = layer_peers.exact(x, zero, w), layer_peers.saturated(x, zero, w)
    assert (right == wrong).all() == (most == SMALL)
    found = layer_peers.onnx_sums(x, zero, w, form)
    if form == SIGNED and not (found == right).all():
        print("this CPU's kernel saturates")
        np.testing.assert_array_equal(found, wrong)
    else:
        np.testing.assert_array_equal(found, right)
    ours = of(w, np.ones(40, F), activations=(1.0, zero, "uint8"))
    np.testing.assert_array_equal(ours(x.astype(F) - zero), right)


@pytest.mark.parametrize("form", FORMS)
def test_onnx_static_has_one_scale_for_three(onnxruntime, rng, form):
    """QLinearMatMul rounds sum times float32(sx * sw / sy); here are three products: a step apart at ties."""
    differ = 0
    for _ in range(20):
        q = rng.integers(0, 256, (37, 128), dtype=np.uint8)
        w, scale = weights(rng, 64, 128, SMALL)
        of_q, of_y = (F(rng.uniform(0.01, 0.1)), 77), (F(rng.uniform(0.05, 0.3)), 130)
        x = (q.astype(F) - 77) * of_q[0]
        assert (layer_model.quantized(x, *of_q, QUANTITIES["uint8"]) == q).all()
        b, b_zero = layer_peers.second_operand(w, form)
        weight = checkpoints.from_onnx(b, scale, b_zero)
        layer = amx.Linear(weight, activations=(*of_q, "uint8"), out_dtype=(*of_y, "uint8"))
        ours, theirs = layer(x), layer_peers.onnx_static(q, of_q, w, scale, of_y, form)
        sums = layer_peers.exact(q, 77, w)
        once = sums.astype(F) * (of_q[0] * scale / of_y[0])
        np.testing.assert_array_equal(theirs, np.clip(np.rint(once) + 130, 0, 255))
        real = sums * (np.float64(of_q[0]) * scale / of_y[0])
        from_a_tie = np.abs(real - np.floor(real) - 0.5)
        other = ours != theirs
        assert (np.abs(ours.astype(int) - theirs)[other] == 1).all()
        assert (from_a_tie[other] <= 6 * 2.0**-24 * np.abs(real[other])).all()
        differ += np.count_nonzero(other)
    print(differ, "results a step apart")


@pytest.mark.parametrize("form", FORMS)
def test_onnx_dynamic_has_the_same_bits_where_all_scales_are_known(onnxruntime, rng, form):
    """Rows that are integers, scales that are powers of two; weights that saturate nowhere."""
    x = whole_rows(rng, 37, 256)
    w, _ = weights(rng, 40, 256, SMALL)
    scale = (2.0 ** rng.integers(-9, 0, 40)).astype(F)
    np.testing.assert_array_equal(layer_peers.onnx_dynamic(x, w, scale, form), of(w, scale)(x))


@pytest.mark.parametrize("form", FORMS)
def test_onnx_dynamic_divides_and_multiplies_scales_first(onnxruntime, rng, form):
    """A row at a time: its scale is ours; some values are a step apart; c * (sx * sw) for (c * sx) * sw."""
    w, scale = weights(rng, 40, 256, SMALL)
    for x in rng.standard_normal((20, 1, 256)).astype(F):
        q, s, z = layer_peers.onnx_rows(x)
        theirs = layer_peers.onnx_dynamic(x, w, scale, form)
        close(theirs, layer_peers.exact(q, int(z), w).astype(F) * (s * scale), 3)
        (own, (own_scale,), (own_zero,), _) = layer_model.quantize_rows(x, QUANTITIES["uint8"])
        assert s == own_scale
        steps = (q.astype(int) - z) - (own.astype(int) - own_zero)
        if z == own_zero:
            divided, multiplied = (np.clip(np.rint(each) + F(z), 0, 255) for each in (x / s, x * (F(1) / s)))
            np.testing.assert_array_equal(steps, divided - multiplied)
        difference = steps @ w.astype(int).T * s.astype(np.float64) * scale
        close(theirs - difference, of(w, scale)(x), 8)


def test_onnx_rows_depend_on_their_neighbours(onnxruntime, rng):
    """One scale for all rows: an outlier in another row changes this one. Rows here have their own."""
    w, scale = weights(rng, 40, 256, SMALL)
    x = rng.standard_normal((2, 256)).astype(F)
    x[1, 7] = 100
    alone, together = (layer_peers.onnx_dynamic(rows, w, scale, UNSIGNED)[0] for rows in (x[:1], x))
    layer = of(w, scale)
    np.testing.assert_array_equal(layer(x)[0], layer(x[:1])[0])
    right = x[0].astype(np.float64) @ (w * scale[:, None]).T
    assert np.abs(together - right).max() > 5 * np.abs(alone - right).max()


def test_onnx_rows_with_a_nan(onnxruntime, rng):
    """Here its row is NaN, and no other; there all are or, where it is taken for a number, none."""
    w, scale = weights(rng, 40, 64, SMALL)
    x = rng.standard_normal((3, 64)).astype(F)
    x[1, 5] = np.nan
    ours, theirs = of(w, scale)(x), layer_peers.onnx_dynamic(x, w, scale, UNSIGNED)
    assert np.isnan(ours).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(ours).any(axis=1).tolist() == [False, True, False]
    assert np.isnan(theirs).any(axis=1).tolist() in ([False] * 3, [True] * 3)


ZEROS = pytest.mark.parametrize("zeros", [False, True], ids=["symmetric", "zero points"])


def nibbles(rng, n, k, group, zeros, scale=None):
    shape = n, k // group
    scale = rng.uniform(0.01, 0.1, shape).astype(F) if scale is None else np.full(shape, scale, F)
    zero = rng.integers(0, 16, shape) if zeros else 8
    return amx.Quantized(rng.integers(0, 16, (n, k), dtype=np.uint8), scale, zero, 0, group, "uint4")


@ZEROS
def test_onnx_4_bits_have_the_same_bits_where_all_scales_are_known(onnxruntime, rng, zeros):
    """Each block of each row has 127 in it, so that blocks have the scale that rows have: 1."""
    weight = nibbles(rng, 40, 128, 32, zeros, 0.25)
    x = rng.integers(-127, 128, (9, 128)).astype(F)
    x[:, ::32] = 127
    layer = amx.Linear(weight, activations="dynamic-symmetric")
    np.testing.assert_array_equal(layer_peers.onnx_nibbles(x, weight), layer(x))


@ZEROS
@pytest.mark.parametrize("group", [32, 64])
def test_onnx_4_bits_have_a_scale_for_each_block_of_a_row(onnxruntime, rng, zeros, group):
    """accuracy_level 4: int8 rows where the CPU has a kernel for that, else float32. Here a scale is a row's.

    Over one block, which is all of a row, both are the same but for the roundings of sums.
    """
    weight = nibbles(rng, 40, 256, group, zeros)
    # In steps of its block, nowhere near the middle of two: theirs multiply by the step's reciprocal.
    x = rng.integers(-126, 127, (9, 256)) + rng.uniform(-0.4, 0.4, (9, 256))
    x[:, ::group] = 127
    x = (x * np.repeat(rng.uniform(0.001, 0.03, (9, 256 // group)), group, 1)).astype(F)
    blocks = np.zeros((9, 40))
    for g in range(256 // group):
        part = slice(g * group, (g + 1) * group)
        q, s, _, _ = layer_model.quantize_rows(x[:, part], QUANTITIES["int8-symmetric"])
        d = layer_peers.exact(q, 0, weight.values[:, part].astype(int) - weight.zero_point[:, g : g + 1])
        blocks += d * s[:, None].astype(np.float64) * weight.scale[:, g]
        one = amx.Quantized(
            weight.values[:, part],
            weight.scale[:, g : g + 1],
            weight.zero_point[:, g : g + 1],
            0,
            group,
            "uint4",
        )
        theirs = layer_peers.onnx_nibbles(np.ascontiguousarray(x[:, part]), one)
        ours = amx.Linear(one, activations="dynamic-symmetric")(np.ascontiguousarray(x[:, part]))
        in_float = x[:, part].astype(np.float64) @ one.dequantize().T.astype(np.float64)
        close(theirs, ours if is_near(theirs, ours) else in_float, 64)
    theirs = layer_peers.onnx_nibbles(x, weight)
    in_float = x.astype(np.float64) @ weight.dequantize().T.astype(np.float64)
    close(theirs, blocks if is_near(theirs, blocks) else in_float, 64)
    q, s, z, _ = layer_model.quantize_rows(x, QUANTITIES["int8-symmetric"])
    rows = nibble_model.sums(q, z, weight.values, weight.scale, weight.zero_point, group) * s[:, None]
    found = amx.Linear(weight, activations="dynamic-symmetric")(x)
    np.testing.assert_array_equal(found, rows)
    half_steps = s[:, None] / 2 * np.abs(weight.dequantize()).sum(1)
    assert (np.abs(found - in_float) <= half_steps * (1 + 2.0**-16)).all()


def is_near(found, want):
    return np.abs(found - want).max() <= 64 * 2.0**-24 * np.abs(want).max()


ENGINES = pytest.mark.parametrize("engine", ["fbgemm", "onednn"])


def torch_rows(x, most):
    """Scale and zero point of linear_dynamic, which are found in float64."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / most
    return F(scale), int(np.rint(-low / scale))


def needs_engine(torch, engine):
    if engine not in torch.backends.quantized.supported_engines:
        pytest.skip(f"torch has no {engine} here")


@ENGINES
def test_torch_dynamic_has_the_same_bits_where_all_scales_are_known(torch, rng, engine):
    """reduce_range=True, so rows of 0 to 127; given its scale and zero point these are ours, too."""
    needs_engine(torch, engine)
    x = whole_rows(rng, 37, 256, 127)
    w, _ = weights(rng, 40, 256)
    scale = (2.0 ** rng.integers(-9, 0, 40)).astype(F)
    ours = of(w, scale, activations=(1.0, 0, "uint8"))(x)
    np.testing.assert_array_equal(layer_peers.torch_dynamic(x, w, scale, engine), ours)


@ENGINES
def test_torch_dynamic_is_a_layer_of_7_bits_with_one_scale(torch, rng, engine):
    """Ours with that scale and zero point is the same, but where the zero point moves a number over a tie."""
    needs_engine(torch, engine)
    w, scale = weights(rng, 40, 256)
    for x in rng.standard_normal((10, 7, 256)).astype(F):
        of_x, zero = torch_rows(x, 127)
        theirs = layer_peers.torch_dynamic(x, w, scale, engine)
        ours = of(w, scale, activations=(of_x, zero, "uint8"))(x)
        near = np.abs(x / of_x - np.floor(x / of_x) - 0.5) < 2.0**-12
        for row in range(7):
            most = (near[row] * np.abs(w)).max(1) * of_x * scale * np.count_nonzero(near[row])
            rounding = 8 * 2.0**-24 * np.abs(ours).max()
            assert (np.abs(theirs[row] - ours[row]) <= most + rounding).all()
        real = x.astype(np.float64) @ (w * scale.astype(np.float64)[:, None]).T
        own = of(w, scale)(x)
        assert np.linalg.norm(theirs - real) > 1.5 * np.linalg.norm(own - real)


@ENGINES
def test_torch_in_8_bits_is_exact_or_saturates(torch, rng, engine):
    """reduce_range=False: by a model of saturated pairs, what pairs lose is all that results lose."""
    needs_engine(torch, engine)
    x = whole_rows(rng, 37, 256)
    w, _ = weights(rng, 40, 256)
    w[0], x[0, 2:] = 127, 255
    q = x.astype(np.uint8)
    right, wrong = layer_peers.exact(q, 0, w), layer_peers.saturated(q, 0, w)
    found = layer_peers.torch_dynamic(x, w, np.ones(40, F), engine, reduce_range=False)
    if not (found == right).all():
        print("this CPU's kernel saturates")
        np.testing.assert_array_equal(found, wrong)
    np.testing.assert_array_equal(of(w, np.ones(40, F))(x), right)


def test_the_same_layer_of_torch_on_a_cpu_without_vnni(torch):
    """oneDNN, held to AVX2: what saturates there is wrong by much, and what does not is exact."""
    needs_engine(torch, "onednn")
    x, w, scale = layer_peers.the_layer()
    of_x, zero = torch_rows(x, 255)
    q = layer_model.quantized(x, of_x, zero, QUANTITIES["uint8"])
    right, wrong = (sums(q, zero, w) * scale * of_x for sums in (layer_peers.exact, layer_peers.saturated))
    found = layer_peers.in_child("onednn", False, "AVX2")
    assert np.abs(wrong - right).max() > 0.05 * np.abs(right).max()
    a_step = 127 * scale.max() * of_x
    if np.abs(found - right).max() > 2 * a_step:
        assert np.abs(found - wrong).max() <= 2 * a_step
    ours = of(w, scale)(x)
    real = x.astype(np.float64) @ (w * scale.astype(np.float64)[:, None]).T
    assert np.abs(ours - real).max() < 0.01 * np.abs(real).max()


@ZEROS
def test_torch_4_bits_round_to_bfloat16(torch, rng, zeros):
    """Rows that are integers of 8 bits are exact in both; the rest is the rounding of its results."""
    if not hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu"):
        pytest.skip("this torch has no layers of 4 bits for CPUs")
    weight = nibbles(rng, 64, 128, 32, zeros, 0.25)
    x = whole_rows(rng, 9, 128)
    ours = amx.Linear(weight)(x)
    right = x.astype(np.float64) @ weight.dequantize().T
    np.testing.assert_array_equal(ours, right)
    theirs = layer_peers.torch_nibbles(x, weight)
    assert (np.abs(theirs - right) <= 2.0**-8 * np.abs(right)).all()
