"""Other libraries that use AMX on the same thread, and products of ours, do not disturb each other."""

import importlib.util

import numpy as np
import operands
import pytest

import amx
from amx.bench.peers.onnx_model import matmul_integer


@pytest.mark.peer
def test_onnxruntime_in_between(backend):
    """The int8 product of onnxruntime (AMX where the CPU has it) between ours and inside a TileContext.

    Compared with itself before ours: whether it is right is its own affair (its AVX2 kernel saturates), and
    `amx bench` says so.
    """
    onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(matmul_integer(), options, providers=providers)
    rng = np.random.default_rng(31)
    a, b = operands.random_array(rng, (160, 256), "uint8"), operands.random_array(rng, (256, 192), "int8")
    want = operands.expected(a, b, "uint8")
    alone = session.run(None, {"A": a, "B": b})[0]
    packed = amx.pack(b)
    for _ in range(20):
        np.testing.assert_array_equal(session.run(None, {"A": a, "B": b})[0], alone)
        np.testing.assert_array_equal(amx.matmul(a, packed), want)
        np.testing.assert_array_equal(amx.matmul(a, b), want)
    check_context(lambda: session.run(None, {"A": a, "B": b}))


def check_context(disturb):
    """A context goes on after a foreign product, or says that its configuration was changed."""
    data = np.arange(1024, dtype=np.int8).reshape(16, 64)
    with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
        tiles.load(1, data)
        disturb()
        try:
            np.testing.assert_array_equal(tiles.store(1), data)
        except amx.errors.ConfigurationChangedError:
            tiles_are_foreign = True
        else:
            tiles_are_foreign = False
    print("the peer used the tiles" if tiles_are_foreign else "the peer left the tiles alone")


@pytest.mark.peer
@pytest.mark.long
def test_torch_in_between(backend):
    """The bfloat16 and int8 products of torch (AMX kernels of oneDNN) between ours; on demand."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(32)
    a, b = operands.random_array(rng, (160, 256), "int8"), operands.random_array(rng, (256, 192), "int8")
    want = operands.expected(a, b, "int8")
    x = torch.ones(256, 256, dtype=torch.bfloat16)
    alone = torch._int_mm(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    for _ in range(20):
        np.testing.assert_array_equal(torch._int_mm(torch.from_numpy(a), torch.from_numpy(b)).numpy(), alone)
        assert (x @ x == 256).all()
        np.testing.assert_array_equal(amx.matmul(a, b), want)
    check_context(lambda: x @ x)
