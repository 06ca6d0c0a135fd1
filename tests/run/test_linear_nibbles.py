"""`amx.Linear` with weights of 4 bits: the bits that docs/numerics.md ("4 bits") gives, on every engine."""

import pickle

import children
import layer_model
import linear_cases
import nibble_model
import numpy as np
import pytest
from layer_model import QUANTITIES
from linear_cases import as_words

import amx
from amx import errors, layer_steps
from amx.nibbles import PackedNibbles

pytestmark = pytest.mark.every_family


def weights(rng, n, k, group, *, order=False):
    """Any that a `Quantized` may hold; `group` None: a scale for each row."""
    groups = () if group is None else (-(-k // group),)
    scale = rng.standard_normal((n, *groups)).astype(np.float32) / 10
    values, zero = rng.integers(0, 16, (n, k), dtype=np.uint8), rng.integers(0, 17, (n, *groups))
    places = rng.permutation(k) if order else None
    return amx.Quantized(values, scale, zero, 0, group, "uint4", places)


def expected(weight, x, residual=None, bias=None, activations="dynamic", **options):
    """By the models."""
    x = linear_cases.bits(x)
    x = x if weight.order is None else x[:, weight.order]
    if isinstance(activations, tuple):
        scale, zero, name = activations
        quantity, fixed = QUANTITIES[name], (np.float32(scale), zero)
    else:
        quantity, fixed = QUANTITIES["uint8" if activations == "dynamic" else "int8-symmetric"], None
    q, row_scale, row_zero, _ = layer_model.quantize_rows(x, quantity, fixed)
    n, k = weight.shape
    scales, zeros = weight.scale, weight.zero_point
    if weight.group is None:
        scales, zeros = (np.broadcast_to(each.reshape(-1, 1), (n, 1)) for each in (scales, zeros))
    sums = nibble_model.sums(q, row_zero, weight.values, scales, zeros, weight.group or max(k, 1))
    out = options.pop("out_dtype", "float32")
    parts = {"row_scale": row_scale} | ({} if bias is None else {"bias": bias})
    return layer_model.finished(sums, out, residual=residual, **parts, **options)


def check(layer, weight, x, residual=None, **options):
    want = expected(weight, x, residual, **options)
    for _ in range(2):  # of types that it knows a layer gives C whole arrays
        np.testing.assert_array_equal(as_words(layer(x, residual)), as_words(want), f"{weight} {options}")


def test_random_layers(backend, rng):
    """All rows, results, activations, groups, orders of columns, threads."""
    try:
        for _ in range(60):
            m, n, k = (int(each) for each in rng.integers(1, [30, 70, 300]))
            group = [None, 32, 64, 96, 1000][rng.integers(5)]
            weight = weights(rng, n, k, group, order=group is not None and rng.random() < 0.3)
            activations = ["dynamic", "dynamic-symmetric", (0.02, 3, "int8"), (0.01, 200, "uint8")]
            options = {
                "activations": activations[rng.integers(4)],
                "activation": linear_cases.ACTIVATIONS[rng.integers(5)],
                "out_dtype": linear_cases.FLOATS[rng.integers(3)],
                "bias": rng.standard_normal(n).astype(np.float32) if rng.random() < 0.5 else None,
            }
            name = linear_cases.FLOATS[rng.integers(3)]
            x = linear_cases.floats(rng, (m, k), name, [0.0, 0.002][rng.integers(2)])
            residual = linear_cases.floats(rng, (m, n), "float32") if rng.random() < 0.5 else None
            amx.set_num_threads(int(rng.integers(1, 3)))
            check(amx.Linear(weight, **options), weight, x, residual, **options)
    finally:
        amx.set_num_threads(None)


def test_a_layer_by_hand(backend):
    """Rows 0..255 in steps of 1; groups of 32 with the scales 1/2 and 2."""
    values = np.zeros((1, 64), np.uint8)
    values[0, [0, 1, 32]] = 15, 1, 9
    weight = amx.Quantized(values, [[0.5, 2]], [[1, 8]], 0, 32, "uint4")
    x = np.zeros((1, 64), np.float32)
    x[0, [0, 1, 32, 63]] = 2, 255, 100, 1
    assert amx.Linear(weight)(x).tolist() == [[0.5 * (2 * 14 + 255 * 0) + 2 * (100 * 1 + 1 * -8)]]


def test_one_scale_for_all(backend, rng):
    weight = amx.quantize(rng.standard_normal((20, 50)), "uint4")
    check(amx.Linear(weight), weight, rng.standard_normal((3, 50)).astype(np.float32))


def test_rows_in_several_blocks(backend, rng, monkeypatch):
    monkeypatch.setattr(layer_steps, "_MOST_BYTES", 4000)
    weight = weights(rng, 20, 100, 32, order=True)
    check(amx.Linear(weight), weight, rng.standard_normal((70, 100)).astype(np.float32))


@pytest.mark.parametrize("shape", [(0, 64), (3, 0)])
def test_no_rows_and_no_columns_of_x(backend, shape):
    weight = amx.Quantized(
        np.zeros((5, shape[1]), np.uint8), np.ones((5, -(-shape[1] // 32)), "f"), 8, 0, 32, "uint4"
    )
    layer = amx.Linear(weight, np.arange(5, dtype=np.float32))
    assert layer(np.zeros(shape, np.float32)).tolist() == [[0, 1, 2, 3, 4]] * shape[0]


def test_results_of_integers(backend, rng):
    weight = weights(rng, 20, 96, 32)
    x = rng.standard_normal((3, 96)).astype(np.float32)
    want = expected(weight, x, out_dtype="int8", out_scale=0.5, out_zero=-3)
    assert (amx.Linear(weight, out_dtype=(0.5, -3, "int8"))(x) == want).all()


@pytest.mark.parametrize("group", [None, 32])
def test_weights_come_back_and_go_through_pickle(backend, rng, group):
    weight = weights(rng, 20, 100, group, order=group is not None)
    layer = amx.Linear(weight, np.ones(20, np.float32), activation="relu")
    x = rng.standard_normal((3, 100)).astype(np.float32)
    again = pickle.loads(pickle.dumps(layer))
    assert (layer.dtype, again.dtype, again.nbytes) == ("uint4", "uint4", layer.nbytes)
    for found in (layer.weight, again.weight):
        for name in ("values", "scale", "zero_point", "order"):
            np.testing.assert_array_equal(getattr(found, name), getattr(weight, name), name)
        assert (found.axis, found.group, found.dtype) == (weight.axis, weight.group, "uint4")
    assert (as_words(again(x)) == as_words(layer(x))).all()


def test_layers_of_4_bits_are_small(rng):
    """Half a byte an element, of 32 elements 2 bytes of scale and 1 of zero point, and a line for all."""
    weight = amx.quantize(rng.standard_normal((160, 320)), "uint4", group=32, symmetric=False)
    assert amx.Linear(weight).nbytes == 160 * 320 // 2 + 160 * 10 * 3 + 64


def at_a_line(array, spare=0):
    """A copy that begins at a multiple of 64 bytes."""
    memory = np.zeros(array.size + 64 + spare, np.uint8)
    begin = -memory.ctypes.data % 64
    memory[begin : begin + array.size] = array
    return memory[begin : begin + array.size + spare]


@pytest.mark.parametrize("group", [None, 32])
def test_packed_memory_is_all_of_it(group, rng):
    """But for N, K and the order of columns."""
    weight = weights(rng, 20, 100, group, order=group is not None)
    packed = PackedNibbles(weight)
    again = PackedNibbles.over(at_a_line(packed.memory), (100, 20), weight.order).unpack()
    for name in ("values", "order"):
        np.testing.assert_array_equal(getattr(again, name), getattr(weight, name), name)
    np.testing.assert_array_equal(again.dequantize(), weight.dequantize())


def test_memory_that_others_made_is_refused_unless_it_fits(rng):
    """Head: group, zero point, whether there are more of them, and whether scales are of 16 bits."""
    memory = at_a_line(PackedNibbles(weights(rng, 20, 100, 32)).memory, spare=1)
    whole = memory[:-1]
    head = whole[:32].view(np.int64)
    assert head.tolist()[::2] == [32, 1]
    for part, shape in [
        (memory, (100, 20)),
        (whole[:-1], (100, 20)),
        (whole[:64], (100, 20)),
        (whole[:63], (100, 20)),
        (whole[:0], (0, 0)),
        *((whole, (k, n)) for k, n in [(100, 33), (129, 20), (-1, 20), (100, -1), (2**63 - 1, 2**63 - 1)]),
    ]:
        with pytest.raises(errors.ShapeError, match="or another beginning"):
            PackedNibbles.over(part, shape, None)
    for place, number in [
        (0, 0),
        (0, -32),
        (0, 31),
        (0, 64),
        (0, 2**63 - 1),
        (1, 17),
        (1, -1),
        (2, 0),
        (3, 1),
    ]:
        kept, head[place] = head[place], number
        with pytest.raises(errors.ShapeError, match="or another beginning"):
            PackedNibbles.over(whole, (100, 20), None)
        head[place] = kept
    assert PackedNibbles.over(whole, (100, 20), None).group == 32


@pytest.mark.parametrize(
    ("group", "axis", "k", "words"),
    [(48, 0, 100, "groups of 48 of K = 100"), (None, 1, 100, "axis=1"), (None, 0, 2**19 + 1, "524289")],
)
def test_what_has_no_sums_is_refused(group, axis, k, words):
    shape = (2, -(-k // group)) if group else ((2, k)[axis],)
    weight = amx.Quantized(np.zeros((2, k), np.uint8), np.ones(shape, "f"), 8, axis, group, "uint4")
    with pytest.raises(errors.ShapeError, match=words):
        amx.Linear(weight)


AMID = """
import os, signal, sys
import numpy as np, amx
from amx.lowlevel import lib

class Stop(Exception):
    pass

rng = np.random.default_rng(151)
outcome, children, parent = sys.argv[1], [], os.getpid()
amx.set_num_threads(int(sys.argv[2]))
layer = amx.Linear(amx.quantize(rng.standard_normal((500, 640)), "uint4", group=64))
x = rng.standard_normal((500, 640)).astype("f")
want = layer(x)

def handle(*_):
    if children or not lib.amx_gemm_asking():
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    children.append(os.fork() if outcome == "forks" else None)
    if outcome == "stops":
        raise Stop
    assert (layer(x) == want).all()

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
times, stopped = 1, False
while not children:
    assert times < 10_000
    rows = np.tile(x, (times, 1))
    try:
        found = layer(rows)
    except Stop:
        stopped = True
    times *= 2  # until it takes long enough
assert stopped == (outcome == "stops")
assert stopped or (found.reshape(-1, *want.shape) == want).all()
assert (layer(x) == want).all()
if os.getpid() != parent:
    os._exit(0)
if outcome == "forks":
    assert os.waitpid(children[0], 0)[1] == 0
print("right")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("outcome", ["stops", "goes on", "forks"])
def test_what_signal_handlers_do_amid_a_product(backend, outcome, threads):
    """They end it, multiply by the same layer, or fork: then both processes have the whole product."""
    done = children.run_python("-c", AMID, outcome, threads, AMX_BACKEND=backend, OMP_NUM_THREADS="2")
    assert (done.stdout, done.returncode) == ("right\n", 0), done.stdout + done.stderr


def test_packing_is_interrupted():
    code = """
import signal, numpy as np, amx
from amx.lowlevel import lib

def handle(*_):
    if lib.amx_gemm_asking():
        raise InterruptedError

weight = amx.Quantized(np.ones((4000, 9000), np.uint8), np.ones((4000, 1), "f"), 8, 0, 9000, "uint4")
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
try:
    for _ in range(1000):
        amx.Linear(weight)
except InterruptedError:
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("right")
"""
    done = children.run_python("-c", code, AMX_BACKEND="vector")
    assert (done.stdout, done.returncode) == ("right\n", 0), done.stdout + done.stderr
