"""Where `amx.quantize` gives what onnxruntime, torch and torchao give, and where it does not, and why."""

import os
import time

import numpy as np
import pytest

import amx
from amx import checkpoints
from amx.bench.peers.onnx_model import FLOAT, INT8, UINT8, one_node

pytestmark = pytest.mark.peer
ONE = np.float32(1)


def many_numbers():
    """Rows of float32: ties of some scales, then random ones, normal and at ties; AMX_SEED repeats a run."""
    ties = (np.arange(-256, 255) / 2).astype(np.float32)  # -128 to 127
    for step in (0.3, 0.7, 0.11):
        yield ties * np.float32(step)
        yield (ties + np.float32(3)) * np.float32(step)
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        yield rng.standard_normal(4096, np.float32) * np.float32(10.0 ** rng.integers(-20, 20))
        step = np.float32(rng.uniform(0.001, 1))
        yield rng.permutation(ties) * step
        yield np.nextafter(
            ties * step, np.float32(np.inf) * rng.choice([-1, 1], ties.size).astype(np.float32)
        )


def found(x, dtype, symmetric):
    made = amx.quantize(x, dtype, symmetric=symmetric)
    return made, ONE / made.scale, np.float32(made.zero_point)


KINDS = [("int8", True), ("int8", False), ("uint8", True), ("uint8", False)]


@pytest.fixture(scope="module")
def onnx():
    """Run one operation of ONNX by name."""
    onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    kinds = {"float32": FLOAT, "int8": INT8, "uint8": UINT8}

    def run(operation, inputs, outputs):
        model = one_node(operation, {name: kinds[each.dtype.name] for name, each in inputs.items()}, outputs)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, inputs)

    return run


@pytest.mark.parametrize(("dtype", "symmetric"), KINDS)
def test_onnx_divides(onnx, dtype, symmetric):
    """QuantizeLinear has x / scale for x * (1 / scale): one step apart, and only where these round apart."""
    differ = 0
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for x in many_numbers():
        made, inverse, zero = found(x, dtype, symmetric)
        inputs = {"x": x, "scale": made.scale, "zero_point": made.zero_point.astype(dtype)}
        (other,) = onnx("QuantizeLinear", inputs, {"y": {"int8": INT8, "uint8": UINT8}[dtype]})
        divided, multiplied = np.rint(x / made.scale), np.rint(x * inverse)
        np.testing.assert_array_equal(other, np.clip(divided + zero, low, high))
        same = divided == multiplied
        np.testing.assert_array_equal(made.values[same], other[same])
        assert np.abs(divided - multiplied).max() <= 1
        differ += np.count_nonzero(made.values != other)
    assert differ > 0


def test_onnx_finds_the_same_ranges(onnx):
    """DynamicQuantizeLinear: the same scale; its zero point and values divide by it, too."""
    differ = 0
    for x in many_numbers():
        made, inverse, _ = found(x, "uint8", False)
        y, scale, zero = onnx("DynamicQuantizeLinear", {"x": x}, {"y": UINT8, "s": FLOAT, "z": UINT8})
        assert scale == made.scale
        lowest = min(x.min(), np.float32(0))
        assert zero == np.clip(np.rint(-lowest / scale), 0, 255)
        if np.rint(-lowest / scale) == np.rint(-lowest * inverse):
            assert zero == made.zero_point
            same = np.rint(x / scale) == np.rint(x * inverse)
            np.testing.assert_array_equal(made.values[same], y[same])
        differ += np.count_nonzero(made.values != y)
    assert differ > 0


def test_onnx_finds_another_scale_for_zeros(onnx):
    """Only in what nobody sees: 1 here, and whatever it is there, of values that are all the zero point."""
    y, _, zero = onnx(
        "DynamicQuantizeLinear", {"x": np.zeros(5, np.float32)}, {"y": UINT8, "s": FLOAT, "z": UINT8}
    )
    made = amx.quantize(np.zeros(5), "uint8", symmetric=False)
    assert (made.scale, made.zero_point, made.values.tolist()) == (1, 0, [0] * 5)
    assert (zero, y.tolist()) == (0, [0] * 5)


def test_onnx_stands_for_the_same_numbers(onnx):
    """DequantizeLinear of a matrix with a scale for each column, as `from_onnx` takes it."""
    rng = np.random.default_rng(41)
    for dtype in ("int8", "uint8"):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        b = rng.integers(low, high + 1, (40, 17)).astype(dtype)
        scale = rng.uniform(0.001, 3, 17).astype(np.float32)
        zero = rng.integers(low, high + 1, 17).astype(dtype)
        (other,) = onnx("DequantizeLinear", {"x": b, "scale": scale, "zero_point": zero}, {"y": FLOAT})
        np.testing.assert_array_equal(checkpoints.from_onnx(b, scale, zero).dequantize().T, other)


@pytest.mark.filterwarnings("ignore")  # deprecated
@pytest.mark.parametrize(("dtype", "symmetric"), KINDS)
def test_torch_adds_the_zero_point_before_it_rounds(dtype, symmetric):
    """quantize_per_tensor multiplies by 1 / scale, too. Where the CPU has FMA, both are one operation.

    It is given the scale and zero point that are found here, and gives the same where that is always 0.
    """
    torch = pytest.importorskip("torch", exc_type=ImportError)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    differ = 0
    for x in many_numbers():
        made, inverse, zero = found(x, dtype, symmetric)
        other = torch.quantize_per_tensor(
            torch.from_numpy(x), float(made.scale), int(zero), getattr(torch, f"q{dtype}")
        )
        other = other.int_repr().numpy()
        fused = np.rint((x.astype(np.float64) * np.float64(inverse) + np.float64(zero)).astype(np.float32))
        after, before = np.rint(x * inverse) + zero, np.rint(x * inverse + zero)
        is_fused, is_before = (other == np.clip(each, low, high) for each in (fused, before))
        assert (is_fused | is_before).all()
        same = (after == before) & (after == fused)
        same &= after >= low + symmetric  # what is symmetric ends there
        np.testing.assert_array_equal(made.values[same], other[same])
        differ += np.count_nonzero(made.values != other)
    assert bool(differ) == (zero != 0 or not symmetric)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dtype", "symmetric"), [("int8", True), ("uint8", False)])
def test_torchao_divides_for_the_zero_point_only(dtype, symmetric):
    """The same scales and values; of int8 in -127 to 127."""
    pytest.importorskip("torchao", exc_type=ImportError)
    import torch
    from torchao.quantization import quant_primitives

    kind = quant_primitives.MappingType.SYMMETRIC if symmetric else quant_primitives.MappingType.ASYMMETRIC
    limits = (-127, 127) if symmetric else (0, 255)
    target, smallest = getattr(torch, dtype), torch.finfo(torch.float32).tiny
    for x in many_numbers():
        made, given, block = amx.quantize(x, dtype, symmetric=symmetric), torch.from_numpy(x), x.shape
        scale, zero = quant_primitives.choose_qparams_affine(given, kind, block, target, *limits, smallest)
        assert scale.item() == made.scale
        divided = np.rint(-min(x.min(), np.float32(0)) / made.scale)
        assert zero.item() == (0 if symmetric else np.clip(divided, 0, 255))
        zero = torch.tensor([int(made.zero_point)])
        other = quant_primitives.quantize_affine(given, block, scale, zero, target, *limits)
        np.testing.assert_array_equal(other.numpy(), made.values)
