"""Layers and products within torch.compile and torch.export: one graph, and the bits of `amx.Linear`."""

import io
import os
import shutil
import sys

import children
import pytest

import amx

torch = pytest.importorskip("torch")
import torch_layers  # noqa: E402
from torch_layers import call, expected, same  # noqa: E402

import amx.torch  # noqa: E402  # which needs it

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch about its own

KINDS = {
    "int8": {},
    "symmetric": {"activations": "dynamic-symmetric", "activation": "gelu"},
    "given": {"activations": (0.031, 117, "uint8")},
    "bfloat16": {"dtype": "bfloat16", "activation": "silu"},
    "float16": {"dtype": "float16"},
    "uint4": {"dtype": "uint4", "activation": "relu"},
}


@pytest.fixture
def generator():
    torch._dynamo.reset()
    yield torch_layers.generator()
    torch._dynamo.reset()


def compiled(module):
    return torch.compile(module, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_layer_is_the_same(kind, generator):
    """With more rows than it was compiled for, too."""
    source = torch.nn.Linear(70, 33)
    layer = compiled(amx.torch.Linear(source, **KINDS[kind]))
    for rows in (1, 4, 5, 6):
        x = torch.randn(rows, 70, generator=generator)
        assert same(call(layer, x), expected(x, source.weight.detach(), source.bias.detach(), **KINDS[kind]))


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_compiled_model_is_the_same(dtype, generator):
    model = torch.nn.Sequential(torch.nn.Linear(40, 50), torch.nn.ReLU(), torch.nn.Linear(50, 7)).eval()
    first, last = model[0], model[2]
    amx.torch.convert(model, dtype=dtype)
    x = torch.randn(3, 40, generator=generator)
    hidden = expected(x, first.weight.detach(), first.bias.detach(), dtype=dtype).relu()
    want = expected(hidden, last.weight.detach(), last.bias.detach(), dtype=dtype)
    assert same(call(model, x), want)
    assert same(call(compiled(model), x), want)


def test_a_compiled_layer_has_what_is_loaded_afterwards(generator):
    layer, other = (amx.torch.Linear(torch.nn.Linear(70, 33)) for _ in range(2))
    x = torch.randn(3, 70, generator=generator)
    fast = compiled(layer)
    before = call(fast, x)
    layer.load_state_dict(other.state_dict())
    assert not same(call(fast, x), before)
    assert same(call(fast, x), call(other, x))


def test_autocast_and_inference_mode_are_compiled(generator):
    source = torch.nn.Linear(70, 33)
    layer = amx.torch.Linear(source)
    x = torch.randn(3, 70, generator=generator)
    weight, bias = source.weight.detach(), source.bias.detach()
    with torch.inference_mode():
        assert same(compiled(layer)(x), expected(x, weight, bias))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert same(compiled(layer)(x), expected(x.bfloat16(), weight, bias))


def test_a_gradient_is_an_error_when_compiled_too(generator):
    layer = compiled(amx.torch.Linear(torch.nn.Linear(70, 33)))
    x = torch.randn(3, 70, generator=generator).requires_grad_()
    with pytest.raises(Exception, match="an operand requires grad"):
        layer(x)
    assert not call(layer, x).requires_grad


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_layer_is_the_same(kind, strict, generator):
    """Its weights belong to it: the module may change or go."""
    layer = amx.torch.Linear(torch.nn.Linear(70, 33), **KINDS[kind])
    x = torch.randn(3, 70, generator=generator)
    want = call(layer, x)
    rows = torch.export.Dim("rows")
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: rows},), strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    for each in (program, torch.export.load(file)):
        assert same(call(each.module(), x), want)
        assert same(call(each.module(), x.repeat(2, 1)), want.repeat(2, 1))
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"] == [
        "amx.linear.default"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_torch_finds_no_fault_in_the_operator_of_layers(kind, generator):
    """Its own check: what the fake says, what is mutated, and what compilers make of it."""
    layer = amx.torch.Linear(torch.nn.Linear(70, 33), **KINDS[kind])
    caught = []
    forward = torch.ops.amx.linear.default
    for shape in ((3, 70), (70,), (2, 3, 70), (0, 70)):
        x = torch.randn(shape, generator=generator)
        names = "packed scale zero_point column_sum bias order in_features out_features dtype activation rows"
        named = [getattr(layer, name) for name in names.split()]
        caught.append(
            torch.library.opcheck(forward, (x, *named, layer.row_scale, layer.row_zero_point, layer.layout))
        )
    assert {result for each in caught for result in each.values()} == {"SUCCESS"}


SHAPES = [
    ((4, 5), (5, 6)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((5,), (5, 6)),
    ((3, 4, 5), (5,)),
    ((5,), (5,)),
    ((0, 5), (5, 2)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "bfloat16", "float16"])
def test_products_are_those_of_amx_matmul(dtype, shapes, generator):
    """At once and compiled; transposed operands too."""
    a, b = (torch.randint(0, 9, shape, generator=generator).to(getattr(torch, dtype)) for shape in shapes)
    want = amx.matmul(a, b)
    product = compiled(lambda a, b: amx.torch.matmul(a, b))
    for found in (
        amx.torch.matmul(a, b),
        product(a, b),
        amx.torch.matmul(a.mT.contiguous().mT if a.ndim > 1 else a, b),
    ):
        assert found.dtype == want.dtype
        assert found.shape == want.shape
        assert torch.equal(found, want)


def test_torch_finds_no_fault_in_the_operator_of_products(generator):
    for shapes in SHAPES:
        a, b = (torch.randint(0, 9, shape, generator=generator) for shape in shapes)
        for operands in (
            (a.to(torch.int8), b.to(torch.uint8)),
            (a.bfloat16(), b.bfloat16()),
            (a.float(), b.float(), "float16"),
        ):
            found = torch.library.opcheck(torch.ops.amx.matmul.default, operands)
            assert set(found.values()) == {"SUCCESS"}


def test_products_that_do_not_fit_are_refused(generator):
    ones = torch.ones(4, 5, dtype=torch.int8)
    for a, b in ((ones, ones), (ones, torch.tensor(1, dtype=torch.int8))):
        with pytest.raises(amx.errors.ShapeError, match="operands of shapes"):
            amx.torch.matmul(a, b)
    with pytest.raises(amx.errors.DtypeError):
        amx.torch.matmul(ones.float(), ones.float().T)


INDUCTOR = """
import torch, amx, amx.torch
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(40, 50), torch.nn.GELU(), torch.nn.Linear(50, 7)).eval()
amx.torch.convert(model)
compiled = torch.compile(model, fullgraph=True)
product = torch.compile(lambda a: amx.torch.matmul(a, a.mT) * 2, fullgraph=True)
with torch.inference_mode():
    for rows in (1, 3, 4):
        hidden = model[1](model[0](x := torch.randn(rows, 40)))
        ours = torch.compile(model[2], fullgraph=True)(hidden)
        assert torch.equal(ours, model[2](hidden))
        assert (compiled(x) - model(x)).abs().max() < 0.05  # torch's GELU is another one
    a = torch.ones(3, 5, dtype=torch.int8)
    assert (product(a) == 10).all()
print("equal")
"""


@pytest.mark.matrix
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")
def test_inductor_calls_the_operators(tmp_path):
    environment = {**os.environ, "AMX_BACKEND": "vector", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    child = [sys.executable, "-c", INDUCTOR]
    done = children.run(child, capture_output=True, text=True, timeout=280, env=environment)
    assert done.stdout == "equal\n", done.stderr
