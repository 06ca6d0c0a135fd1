"""`amx.Linear`: the bits that docs/numerics.md (Layers) gives, by models in NumPy, on every engine."""

import errno
import os
import time
import tracemalloc

import children
import layer_model
import linear_cases
import ml_dtypes
import numpy as np
import pytest
import small_caches
from linear_cases import ACTIVATIONS, Case, as_words

import amx
from amx import layer_steps
from amx._lib import lib
from amx.caches import Caches
from amx.parts import multiply

pytestmark = pytest.mark.every_family


def made(case):
    weight = case.weight
    if case.scale is not None:
        axis = None if case.scale.ndim == 0 else 0
        weight = amx.Quantized(weight, case.scale, case.zero, axis)
    return amx.Linear(weight, case.bias, dtype=case.dtype, **case.options)


def check(case, layer=None, out=None, message=""):
    """Twice: of types that it knows a layer gives C whole arrays, where they are as C wants them."""
    want, layer = linear_cases.expected(case), layer or made(case)
    for _ in range(2):
        found = layer(case.x, case.residual, out)
        assert found.shape == want.shape
        np.testing.assert_array_equal(as_words(found), as_words(want), f"{message} {case}")
        if out is not None:
            kept = found.copy()
            out[...] = 1
    if out is not None:
        out[...] = kept
    return found


def dtypes_of(backend):
    missing = backend == "native" and not amx.available("fp16")
    return ["int8", "int8", "bfloat16", *(["float16"] if not missing else [])]


def run(backend, count, largest, monkeypatch):
    """Random layers; AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    try:
        for number in range(count):
            case = linear_cases.random_case(rng, largest, dtypes_of(backend))
            amx.set_num_threads(int(rng.integers(1, 3)))
            monkeypatch.setattr(layer_steps, "_MOST_BYTES", 8 << 20 if rng.random() < 0.5 else 3000)
            out = None
            if rng.random() < 0.5:
                name = case.options["out_dtype"]
                name = name[2] if isinstance(name, tuple) else name
                dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
                shape = (*case.x.shape[:-1], len(case.weight))
                out = linear_cases.operands.random_strides(rng, np.zeros(shape, dtype))
            found = check(case, out=out, message=f"seed {seed}, layer {number}:")
            assert out is None or found is out
    finally:
        amx.set_num_threads(None)


def test_random_layers(backend, monkeypatch):
    """All weights, rows, results, activations, residuals, layouts and outputs; in blocks of few rows too."""
    run(backend, 200, 80, monkeypatch)


@pytest.mark.long
def test_many_random_layers(backend, monkeypatch):
    run(backend, 3000, 300, monkeypatch)


def test_a_layer_by_hand(backend):
    """Rows -1..4 in steps of 5 / 255, weights in steps of 1 / 127: all scales are known."""
    weight = np.array([[127, -127, 0, 1], [0, 0, 0, -127]], np.float32)
    x = np.array([[-51, 0, 204, 102], [0, 0, 0, 255]], np.float32)
    layer = amx.Linear(weight, [0.5, 1.0], activation="relu")
    assert layer(x).tolist() == [[0, 0], [255.5, 0]]
    assert layer(x, residual=np.full((2, 2), 13000, np.float32)).tolist() == [[6625.5, 47], [13255.5, 0]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_every_activation(backend, dtype, activation):
    rng = np.random.default_rng(131)
    weight, x = rng.standard_normal((37, 50)) / 7, rng.standard_normal((21, 50))
    check(Case(dtype, weight.astype("f"), x.astype("f"), options={"activation": activation}))


def test_one_row_of_one_dimension(backend):
    rng = np.random.default_rng(132)
    weight, x = rng.standard_normal((5, 9)).astype("f"), rng.standard_normal(9).astype("f")
    case = Case("int8", weight, x, residual=np.ones(5, np.float16))
    assert check(case).shape == (5,)


@pytest.mark.parametrize("shape", [(0, 7), (3, 0, 7), (0,), (2, 0)])
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_no_rows_and_no_columns(backend, dtype, shape):
    """Of rows without elements the bias remains."""
    x = np.zeros(shape, np.float32)
    bias = np.array([1, -2, 3], np.float32)
    found = check(Case(dtype, np.zeros((3, shape[-1]), "f"), x, bias))
    assert (found == bias).all()
    empty = amx.Linear(np.zeros((0, shape[-1]), "f"), dtype=dtype)
    assert empty(x).shape == (*shape[:-1], 0)


def test_rows_with_a_nan_are_nan_and_others_are_not(backend):
    x = np.ones((40, 30), np.float32)
    x[7, 3], x[20, 29] = np.nan, -np.inf
    for options in ({}, {"activations": "dynamic-symmetric"}, {"activations": (0.01, 3, "uint8")}):
        found = check(Case("int8", np.ones((6, 30), "f"), x, options={"activation": "relu", **options}))
        assert np.isnan(found).all(axis=1).nonzero()[0].tolist() == [7, 20]
        assert np.isnan(found).any(axis=1).sum() == 2


def test_rows_in_several_blocks(backend):
    """More than 8 MiB of 8-bit rows, and of rounded ones."""
    rng = np.random.default_rng(133)
    x = rng.standard_normal((140_000, 64)).astype("f")
    weight = rng.standard_normal((2, 64)).astype("f")
    for dtype in ("int8", "bfloat16"):
        found = amx.Linear(weight, dtype=dtype)(x)
        chosen = [0, 1, 60_000, 131_071, 131_072, 139_999]
        want = linear_cases.expected(Case(dtype, weight, x[chosen]))
        np.testing.assert_array_equal(as_words(found[chosen]), as_words(want))


def test_sums_that_rest_in_memory(monkeypatch):
    """K is so deep that the tile machine packs A a part at a time: the product comes first, then the rest."""
    rng = np.random.default_rng(134)
    apart = []
    monkeypatch.setattr(layer_steps, "multiply", lambda *product: (apart.append(1), multiply(*product)))
    weight, x = (
        rng.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((3, 16_000), (320, 16_000))
    )
    bias, residual = np.array([1, 2, 3], "f"), rng.standard_normal((320, 3)).astype("f")
    amx.set_backend("emulated")
    amx.set_num_threads(1)  # two would have half of the rows each
    try:
        with small_caches.assumed(Caches(48 << 10, 1 << 30)):
            layer = amx.Linear(weight, bias, dtype="bfloat16", out_dtype="float16")
            found = layer(x, residual)
            assert apart
            monkeypatch.setattr(layer_steps, "_MOST_BYTES", 1000)  # of products at a time
            np.testing.assert_array_equal(as_words(layer(x, residual)), as_words(found))
    finally:
        amx.set_num_threads(None)
        amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
    chosen = [0, 1, 319]
    case = Case("bfloat16", weight, x[chosen], bias, residual[chosen], options={"out_dtype": "float16"})
    np.testing.assert_array_equal(as_words(found[chosen]), as_words(linear_cases.expected(case)))


OUTS = {
    "plain": lambda: np.empty((40, 50), np.float32),
    "rows apart": lambda: np.empty((40, 90), np.float32)[:, 20:70],
    "rows reversed": lambda: np.empty((40, 50), np.float32)[::-1],
    "Fortran": lambda: np.empty((40, 50), np.float32, order="F"),
    "columns apart": lambda: np.empty((40, 100), np.float32)[:, ::2],
    "unaligned": lambda: np.empty(40 * 50 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(40, 50),
}


@pytest.mark.parametrize("layout", OUTS)
def test_out_of_any_layout_is_filled_and_returned(backend, layout):
    rng = np.random.default_rng(135)
    case = Case("int8", rng.standard_normal((50, 33)).astype("f"), rng.standard_normal((40, 33)).astype("f"))
    out = OUTS[layout]()
    assert check(case, out=out) is out


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_out_leaves_its_surroundings_alone(backend, dtype):
    for m, n in [(1, 1), (17, 5), (33, 47)]:
        frame = np.full((m + 2, n + 2), -7, np.float32)
        layer = amx.Linear(np.full((n, 9), 127, "f"), dtype=dtype)  # whose scales are 1
        layer(np.full((m, 9), 255, "f"), out=frame[1:-1, 1:-1])
        assert (frame[1:-1, 1:-1] == 9 * 255 * 127).all()
        frame[1:-1, 1:-1] = -7
        assert (frame == -7).all()


def test_rows_that_are_not_evenly_apart_are_read_and_written_where_they_lie(backend):
    rng = np.random.default_rng(141)
    memory, residuals = (
        rng.standard_normal((3, 9, 20)).astype("f"),
        rng.standard_normal((9, 3, 7)).astype("f"),
    )
    frame = np.full((3, 9, 12), -7, np.float32)
    case = Case(
        "int8",
        rng.standard_normal((7, 20)).astype("f"),
        memory[:, 1:6],
        None,
        residuals.swapaxes(0, 1)[:, 4:],
    )
    check(case, out=frame[:, 2:7, 3:10])
    frame[:, 2:7, 3:10] = -7
    assert (frame == -7).all()


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_out_may_overlap_x_and_residual(backend, dtype):
    """It is x, the residual, or begins within one of them: the results are of what these were."""
    rng = np.random.default_rng(136)
    weight = rng.standard_normal((32, 32)).astype("f")
    for shift in (0, 32, 7):
        memory = rng.standard_normal(40 * 32 + shift).astype("f")
        x, out = memory[: 40 * 32].reshape(40, 32), memory[shift:].reshape(40, 32)
        other = rng.standard_normal((40, 32)).astype("f")
        for rows, residual in ((x, None), (x, other), (other, x), (x, x)):
            kept = memory.copy()
            check(Case(dtype, weight, rows, residual=residual), out=None)
            want = linear_cases.expected(Case(dtype, weight, rows.copy(), residual=residual))
            amx.Linear(weight, dtype=dtype)(rows, residual, out)
            np.testing.assert_array_equal(as_words(out), as_words(want))
            memory[:] = kept


def test_k_at_its_limit(backend):
    """Rows of 255 by weights of 127 and the other way round, as often as int32 holds it."""
    k = (2**31 - 1) // (255 * 127)
    weight = np.full((2, k), 127, np.int8)
    weight[1] = -127
    layer = amx.Linear(amx.Quantized(weight, 1.0, 0))
    sums = np.float32(k * 255 * 127)
    assert layer(np.full(k, 255, np.float32)).tolist() == [sums, -sums]
    assert layer(np.full(k, -255, np.float32)).tolist() == [-sums, sums]


@pytest.mark.parametrize("layout", ["rows", "uneven", "steps", "columns"])
@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_no_copy_of_x_is_made(dtype, layout):
    """Beside the result a call takes a block: here of 64 MiB of x, in one piece or not."""
    x = {
        "rows": lambda: np.zeros((1 << 14, 1024), np.float32),
        "uneven": lambda: np.zeros((2, 8200, 1024), np.float32)[:, :8192],
        "steps": lambda: np.zeros((1 << 14, 2048), np.float32)[:, ::2],
        "columns": lambda: np.zeros((1024, 1 << 14), np.float32).T,
    }[layout]()
    layer = amx.Linear(np.ones((4, x.shape[-1]), "f"), dtype=dtype)
    amx.set_backend("vector")
    tracemalloc.start()
    try:
        layer(x)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
    assert 1 << 20 < most < 10 << 20


def test_a_layer_whose_tiles_go_away_is_computed_by_another_engine(backend, monkeypatch):
    refusals = iter([-errno.ECANCELED])

    class Refusing:
        """The library, which refuses once."""

        def __getattr__(self, name):
            return getattr(lib, name)

        def amx_gemm_layer(self, *arguments):
            return next(refusals, None) or lib.amx_gemm_layer(*arguments)

    monkeypatch.setattr(layer_steps, "lib", Refusing())
    check(Case("int8", np.eye(5, 9, dtype=np.float32), np.arange(27, dtype=np.float32).reshape(3, 9)))
    assert next(refusals, None) is None


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_what_a_handler_raises_stops_a_layer(backend, dtype):
    """Within C, where signals are looked for."""
    code = f"""
import signal, numpy as np, amx
from amx.lowlevel import lib

class Stop(Exception):
    pass

def handle(*_):
    if lib.amx_gemm_asking():
        raise Stop

signal.signal(signal.SIGALRM, handle)
layer, x = amx.Linear(np.ones((1500, 1500), "f"), dtype={dtype!r}), np.ones((1500, 1500), "f")
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
try:
    for _ in range(1000):
        layer(x)
except Stop:
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("stopped", (amx.Linear(np.eye(3), dtype="bf16")(np.ones(3, "f")) == 1).all())
"""
    done = children.run_python("-c", code, AMX_BACKEND=backend)
    assert (done.stdout, done.returncode) == ("stopped True\n", 0), done.stdout + done.stderr


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_single_row_whose_stride_goes_down(backend, dtype):
    """NumPy calls it contiguous."""
    rng = np.random.default_rng(139)
    weight, x = rng.standard_normal((7, 20)).astype("f"), rng.standard_normal((3, 20)).astype("f")
    residual, out = rng.standard_normal((3, 7)).astype("f"), np.empty((3, 7), "f")
    for typed in (x, x.astype(ml_dtypes.bfloat16)):
        case = Case(dtype, weight, typed[::-1][:1], residual=residual[::-1][:1])
        check(case, out=out[::-1][:1])


def test_numbers_in_the_other_byte_order(backend):
    rng = np.random.default_rng(137)
    weight, x = rng.standard_normal((7, 20)).astype("f"), rng.standard_normal((9, 20)).astype("f")
    residual = rng.standard_normal((9, 7)).astype("f")
    for dtype in ("int8", "bfloat16"):
        want = amx.Linear(weight, dtype=dtype)(x, residual)
        swapped = amx.Linear(weight.astype(">f4"), dtype=dtype)(x.astype(">f4"), residual.astype(">f4"))
        np.testing.assert_array_equal(as_words(swapped), as_words(want))


@pytest.mark.parametrize("name", [ml_dtypes.bfloat16, np.dtype([("bfloat16", np.uint16)])], ids=str)
def test_bfloat16_in_the_other_byte_order(backend, name):
    rng = np.random.default_rng(141)
    weight, x, residual = (rng.standard_normal(shape).astype("f") for shape in ((7, 20), (9, 20), (9, 7)))
    x, residual = layer_model.to_bfloat16(x), layer_model.to_bfloat16(residual)
    other = np.dtype(name).newbyteorder(">")
    swapped = [each.astype(">u2").view(other) for each in (x, residual)]
    for dtype in ("int8", "bfloat16"):
        layer = amx.Linear(weight, dtype=dtype, out_dtype="bfloat16")
        want = layer(x.view(ml_dtypes.bfloat16), residual.view(ml_dtypes.bfloat16))
        np.testing.assert_array_equal(layer(*swapped).view(np.uint16), want.view(np.uint16))
        with pytest.raises(amx.errors.DtypeError, match="out is of"):
            layer(*swapped, np.empty((9, 7), other))
    finite = amx.Linear(weight, out_dtype=(1.0, 0, "int8"))
    x[3, 4] = 0x7F80
    with pytest.raises(amx.errors.QuantizationError, match=r"x\[3\] has"):
        finite(x.astype(">u2").view(other))


def test_bits_of_bfloat16_in_uint16(backend):
    """As without ml_dtypes: in a layer of bfloat16 only."""
    rng = np.random.default_rng(138)
    weight, x, residual = (
        layer_model.to_bfloat16(rng.standard_normal(shape).astype("f"))
        for shape in ((7, 20), (9, 20), (9, 7))
    )
    named = [each.view(ml_dtypes.bfloat16) for each in (weight, x, residual)]
    want = amx.Linear(named[0], dtype="bf16", out_dtype="bf16")(*named[1:])
    out = np.empty((9, 7), np.uint16)
    amx.Linear(weight, dtype="bf16", out_dtype="bf16")(x, residual, out)
    np.testing.assert_array_equal(out, want.view(np.uint16))
