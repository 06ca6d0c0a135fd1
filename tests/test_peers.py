"""Other libraries that use AMX on the same thread, and products of ours, do not disturb each other."""

import importlib.util

import numpy as np
import operands
import pytest

import amx


def field(number, content):
    """One length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + length(len(content)) + content


def length(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def integer(number, value):
    return bytes([number << 3]) + length(value)


def matmul_integer_model():
    """The ONNX model C = MatMulInteger(A uint8, B int8), by the field numbers of onnx.proto."""
    uint8, int8, int32 = 2, 3, 6

    def value_info(name, kind):
        shape = field(1, field(2, b"x")) + field(1, field(2, b"y"))
        tensor = integer(1, kind) + field(2, shape)
        return field(1, name) + field(2, field(1, tensor))

    node = field(1, b"A") + field(1, b"B") + field(2, b"C") + field(4, b"MatMulInteger")
    graph = field(1, node) + field(2, b"g")
    graph += field(11, value_info(b"A", uint8)) + field(11, value_info(b"B", int8))
    graph += field(12, value_info(b"C", int32))
    return integer(1, 8) + field(7, graph) + field(8, field(1, b"") + integer(2, 13))


@pytest.mark.peer
def test_onnxruntime_in_between(backend):
    """The int8 product of onnxruntime (AMX where the CPU has it) between ours and inside a TileContext."""
    onnxruntime = pytest.importorskip("onnxruntime", exc_type=ImportError)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(matmul_integer_model(), options, providers=providers)
    rng = np.random.default_rng(31)
    a, b = operands.random_array(rng, (160, 256), "uint8"), operands.random_array(rng, (256, 192), "int8")
    want = operands.expected(a, b, "uint8")
    packed = amx.pack(b)
    for _ in range(20):
        np.testing.assert_array_equal(session.run(None, {"A": a, "B": b})[0], want)
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
    for _ in range(20):
        np.testing.assert_array_equal(torch._int_mm(torch.from_numpy(a), torch.from_numpy(b)).numpy(), want)
        assert (x @ x == 256).all()
        np.testing.assert_array_equal(amx.matmul(a, b), want)
    check_context(lambda: x @ x)
