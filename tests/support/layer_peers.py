"""Layers of onnxruntime and torch that are given their weights, and one layer by each of them and by ours.

`python tests/support/layer_peers.py` prints what docs/numerics.md ("The same answer everywhere") shows, of
the CPU that runs it. What is not installed is left out; AMX is used with AMX_BACKEND=native.
"""

import hashlib
import importlib.util
import os
import sys
import warnings

import children
import numpy as np
import vector_family

import amx
from amx.backend import Group, vector_families
from amx.bench.peers.onnx_model import CONTRIB, FLOAT, INT8, INT32, UINT8, Node, model

F = np.float32
SIGNED, EXACT, UNSIGNED = "int8 weights", "int8 weights, x64quantprecision", "uint8 weights"
FORMS = [SIGNED, EXACT, UNSIGNED]


def exact(x, zero, w):
    """The sums of products: rows `x` (M, K) less `zero`, weights `w` (N, K)."""
    return (x.astype(np.int64) - zero) @ w.astype(np.int64).T


def saturated(x, zero, w):
    """The same as VPMADDUBSW adds neighbours, x unsigned, w signed; `zero` is taken off afterwards."""
    assert x.dtype == np.uint8
    assert w.dtype == np.int8
    products = x.astype(np.int64)[:, None] * w.astype(np.int64)
    pairs = np.clip(products[..., 0::2] + products[..., 1::2], -(2**15), 2**15 - 1)
    return pairs.sum(-1) - zero * w.astype(np.int64).sum(1)


def _run(nodes, fed, outputs, constants, config=()):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in config:
        options.add_session_config_entry(name, value)
    kinds = {"float32": FLOAT, "uint8": UINT8, "int8": INT8}
    inputs = {name: kinds[each.dtype.name] for name, each in fed.items()}
    made = model(nodes, inputs, outputs, constants)
    return onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"]).run(None, fed)


def second_operand(w, form):
    """The second operand (K, N) and its zero point."""
    if form == UNSIGNED:
        return np.ascontiguousarray((w.T.astype(np.int16) + 128).astype(np.uint8)), np.uint8(128)
    return np.ascontiguousarray(w.T), np.int8(0)


def _config(form):
    return [("session.x64quantprecision", "1")] if form == EXACT else []


def onnx_sums(q, zero, w, form):
    """MatMulInteger of uint8 rows: int32."""
    b, b_zero = second_operand(w, form)
    constants = {"b": b, "zero": np.uint8(zero), "b_zero": b_zero}
    nodes = [Node("MatMulInteger", ["q", "b", "zero", "b_zero"], ["c"])]
    return _run(nodes, {"q": q}, {"c": INT32}, constants, _config(form))[0]


def onnx_rows(x):
    """DynamicQuantizeLinear: values, scale, zero point, one for all rows."""
    nodes = [Node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    return _run(nodes, {"x": x}, {"q": UINT8, "s": FLOAT, "z": UINT8}, {})


def onnx_dynamic(x, w, scale, form):
    """DynamicQuantizeLinear, MatMulInteger and scales, as onnxruntime's own tool writes layers."""
    b, b_zero = second_operand(w, form)
    nodes = [
        Node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        Node("MatMulInteger", ["q", "b", "z", "b_zero"], ["c"]),
        Node("Cast", ["c"], ["real"], {"to": FLOAT}),
        Node("Mul", ["s", "scale"], ["both"]),
        Node("Mul", ["real", "both"], ["y"]),
    ]
    constants = {"b": b, "b_zero": b_zero, "scale": scale}
    return _run(nodes, {"x": x}, {"y": FLOAT}, constants, _config(form))[0]


def onnx_static(q, of_q, w, scale, of_y, form):
    """QLinearMatMul; `of_q` and `of_y` are scale and zero point of uint8."""
    b, b_zero = second_operand(w, form)
    constants = {
        "s": F(of_q[0]), "z": np.uint8(of_q[1]), "b": b, "scale": scale,
        "b_zero": np.full(scale.shape, b_zero), "ys": F(of_y[0]), "yz": np.uint8(of_y[1]),
    }  # fmt: skip
    nodes = [Node("QLinearMatMul", ["q", "s", "z", "b", "scale", "b_zero", "ys", "yz"], ["y"])]
    return _run(nodes, {"q": q}, {"y": UINT8}, constants, _config(form))[0]


def onnx_nibbles(x, weight, level=4):
    """MatMulNBits; without zero points where they are 8. Scales are float32."""
    (n, k), group = weight.shape, weight.group
    q = weight.values.reshape(n, k // group, group)
    constants = {"b": q[..., 0::2] | q[..., 1::2] << 4, "s": weight.scale.reshape(-1)}
    zeros = weight.zero_point.astype(np.uint8)
    if not (zeros == 8).all():
        zeros = np.pad(zeros, ((0, 0), (0, zeros.shape[1] % 2)))
        constants["z"] = (zeros[:, 0::2] | zeros[:, 1::2] << 4).reshape(-1)
    attributes = {"K": k, "N": n, "bits": 4, "block_size": group, "accuracy_level": level}
    nodes = [Node("MatMulNBits", ["x", *constants], ["y"], attributes, CONTRIB)]
    return _run(nodes, {"x": x}, {"y": FLOAT}, constants)[0]


def torch_dynamic(x, w, scale, engine="fbgemm", reduce_range=True):
    """The operator of torch.ao.nn.quantized.dynamic.Linear, which passes reduce_range=True."""
    import torch

    before = torch.backends.quantized.engine
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        torch.backends.quantized.engine = engine
        try:
            scales, zeros = torch.from_numpy(scale.astype(np.float64)), torch.zeros(len(w), dtype=torch.int64)
            values = torch._make_per_channel_quantized_tensor(torch.from_numpy(w), scales, zeros, 0)
            packed = torch.ops.quantized.linear_prepack(values, None)
            return torch.ops.quantized.linear_dynamic(torch.from_numpy(x), packed, reduce_range).numpy()
        finally:
            torch.backends.quantized.engine = before


def torch_nibbles(x, weight):
    """The operator of torchao's layers of 4 bits on CPUs: w = (q - 8) * scale + zero, all of bfloat16."""
    import torch

    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(
        torch.from_numpy(weight.values.astype(np.int32)), 1
    )
    zeros = weight.scale * (8 - weight.zero_point).astype(F)
    each = torch.from_numpy(np.stack([weight.scale, zeros], -1).swapaxes(0, 1).copy()).bfloat16()
    rows = torch.from_numpy(x).bfloat16()
    return torch.ops.aten._weight_int4pack_mm_for_cpu(rows, packed, weight.group, each).float().numpy()


def ours(layer, x):
    """The layer's results on every engine and family of kernels of this CPU, by name."""
    native = [("native", "")] if os.environ.get("AMX_BACKEND") == "native" else []
    best, *others = vector_families(Group.INT8)
    found = {}
    for name, family in [*native, ("emulated", ""), *(("vector", family) for family in (best, *others))]:
        with vector_family.selected("" if family == best else family):
            amx.set_backend(name)
            found[f"{name} {family}".strip()] = layer(x)
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
    return found


def the_layer():
    """Rows and weights of the table, made of integers alone: the same everywhere."""
    rng = np.random.default_rng(39)
    x = (rng.integers(-(2**20), 2**20, (16, 512)) * rng.integers(1, 9, (16, 1))).astype(F) / F(2**20)
    w = rng.integers(-127, 128, (96, 512), dtype=np.int8)
    return x, w, (rng.integers(1, 64, 96) / 4096).astype(F)


def in_child(engine, reduce_range, isa):
    """torch_dynamic() of the_layer() in a process whose oneDNN uses no more than `isa`."""
    done = children.run_python(__file__, engine, int(reduce_range), ONEDNN_MAX_CPU_ISA=isa)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(bytes.fromhex(done.stdout), F).reshape(16, 96)


def _digest(y):
    return hashlib.sha256(y.tobytes()).hexdigest()[:8]


def table():
    """Each layer's name and results."""
    x, w, scale = the_layer()
    for name, y in ours(amx.Linear(amx.Quantized(w, scale, 0, axis=0)), x).items():
        yield f"`amx.Linear`, {name}", y
    if importlib.util.find_spec("onnxruntime"):
        for form in FORMS:
            yield f"onnxruntime, {form}", onnx_dynamic(x, w, scale, form)
        rows = [onnx_dynamic(row[None], w, scale, UNSIGNED) for row in x]
        yield f"onnxruntime, {UNSIGNED}, a row at a time", np.concatenate(rows)
    if importlib.util.find_spec("torch"):
        for engine in ("fbgemm", "onednn"):
            for reduce_range in (True, False):
                kind = f"torch, {engine}, reduce_range={reduce_range}"
                yield kind, torch_dynamic(x, w, scale, engine, reduce_range)


def main(arguments):
    """Without arguments the table, with those of in_child() its results."""
    x, w, scale = the_layer()
    if arguments:
        print(torch_dynamic(x, w, scale, arguments[0], bool(int(arguments[1]))).tobytes().hex())
        return
    real = x.astype(np.float64) @ (w * scale.astype(np.float64)[:, None]).T
    print("| layer | digest | largest error |\n|---|---|---|")
    for name, y in table():
        error = np.abs(y - real).max() / np.abs(real).max()
        print(f"| {name} | `{_digest(y)}` | {error:.2%} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
