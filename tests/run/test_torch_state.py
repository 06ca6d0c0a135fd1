"""The state_dict of `amx.torch.Linear`: plain tensors, and loaded as a whole or not at all."""

import numpy as np
import pytest

import amx

torch = pytest.importorskip("torch")
import torch_layers  # noqa: E402
from torch_layers import call, expected, same  # noqa: E402

import amx.torch  # noqa: E402  # which needs it

GIVEN = (0.25, 117, "uint8")


@pytest.fixture
def generator():
    return torch_layers.generator()


def unsigned(seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (33, 70), dtype=np.uint8)
    return amx.Quantized(values, rng.uniform(0.01, 1, 33).astype("f"), rng.integers(0, 256, 33), axis=0)


def module(**options):
    return amx.torch.Linear(torch.nn.Linear(70, 33), **options)


KINDS = {
    "int8": module,
    "bfloat16": lambda: module(dtype="bfloat16"),
    "float16": lambda: module(dtype="float16"),
    "symmetric": lambda: module(activations="dynamic-symmetric", activation="relu"),
    "given": lambda: module(activations=GIVEN),
    "uint8": lambda: amx.torch.Linear(unsigned()),
    "without a bias": lambda: amx.torch.Linear(torch.randn(33, 70)),
}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_another_layer_computes_the_same_with_it(kind, assign, generator):
    layer, other = KINDS[kind](), KINDS[kind]()
    if kind == "uint8":
        other = amx.torch.Linear(unsigned(1))
    x = torch.randn(4, 70, generator=generator)
    want = call(layer, x)
    held = dict(other.named_buffers())
    assert not same(call(other, x), want)
    found = other.load_state_dict(layer.state_dict(), assign=assign)
    assert (found.missing_keys, found.unexpected_keys) == ([], [])
    assert same(call(other, x), want)
    for name, buffer in other.named_buffers():
        assert (buffer is held[name]) is not assign
    assert other.state_dict().keys() == layer.state_dict().keys()


def test_its_tensors_are_those_of_amx_linear(generator):
    """Weights (N, K), scales and zero points (N,), all bits of them."""
    weight, bias = (torch.randn(*shape, generator=generator) for shape in ((33, 70), (33,)))
    quantized = amx.quantize(weight, axis=0)
    want = {
        "weight": quantized.values,
        "scale": quantized.scale,
        "zero_point": quantized.zero_point,
        "bias": bias.numpy(),
        "row_scale": np.float32(0.25),
        "row_zero_point": np.int32(117),
    }
    found = torch.nn.ModuleDict({"a": amx.torch.Linear(weight, bias, activations=GIVEN)}).state_dict()
    assert list(found) == [f"a.{name}" for name in want]
    for name, tensor in want.items():
        assert found[f"a.{name}"].numpy().dtype == tensor.dtype
        np.testing.assert_array_equal(found[f"a.{name}"].numpy(), tensor)
    halves = amx.torch.Linear(weight, dtype="bfloat16").state_dict()
    assert list(halves) == ["weight"]
    assert torch.equal(halves["weight"], weight.bfloat16())
    found = amx.torch.Linear(unsigned()).state_dict()
    np.testing.assert_array_equal(found["weight"].numpy(), unsigned().values)
    np.testing.assert_array_equal(found["zero_point"].numpy(), unsigned().zero_point)


def test_it_is_a_copy(generator):
    layer = module()
    x = torch.randn(4, 70, generator=generator)
    want = call(layer, x)
    for tensor in layer.state_dict().values():
        tensor.zero_()
    assert same(call(layer, x), want)


@pytest.mark.parametrize("kind", ["int8", "bfloat16", "float16", "given", "symmetric"])
def test_that_of_a_float_layer_is_quantised(kind, generator):
    """As where the layer is made of it; float64 too."""
    layer, source = KINDS[kind](), torch.nn.Linear(70, 33)
    x = torch.randn(4, 70, generator=generator)
    options = {"activation": layer.activation, "activations": layer.activations or "dynamic"}
    dtype = layer.dtype
    want = expected(x, source.weight.detach(), source.bias.detach(), dtype=dtype, **options)
    for each in (source, source.double()):
        layer.load_state_dict(each.state_dict())
        assert same(call(layer, x), want)


def test_zero_points_come_and_go(generator):
    """Where all are 0 there is no tensor of them."""
    x = torch.randn(4, 70, generator=generator)
    with_zeros = amx.torch.Linear(
        amx.Quantized(np.ones((33, 70), np.int8), np.ones(33, "f"), np.arange(33), axis=0)
    )
    without = amx.torch.Linear(torch.randn(33, 70, generator=generator))
    states = with_zeros.state_dict(), without.state_dict()
    want = call(with_zeros, x), call(without, x)
    for state, result in ((states[0], want[0]), (states[1], want[1]), (states[0], want[0])):
        without.load_state_dict(state)
        assert same(call(without, x), result)


def test_a_layer_without_memory_gets_some(generator):
    """One on the meta device, as large models are made."""
    source = module()
    x = torch.randn(4, 70, generator=generator)
    layer = module().to("meta")
    assert {each.device.type for each in layer.state_dict().values()} == {"meta"}
    layer.load_state_dict(source.state_dict())
    assert same(call(layer, x), call(source, x))


REFUSED = {
    "another K": (lambda s: s.update(weight=s["weight"][:, 1:]), r"a: weight has shape \(33, 69\)"),
    "scales of another shape": (lambda s: s.update(scale=s["scale"][:1]), r"a: scale has shape \(1,\)"),
    "a scale of 0": (lambda s: s["scale"].zero_(), r"a: scale\[0\] is 0"),
    "zero points of another shape": (
        lambda s: s.update(zero_point=s["zero_point"][:2]),
        r"zero_point has shape",
    ),
    "bias of another shape": (lambda s: s.update(bias=torch.ones(3)), r"a: bias has shape \(3,\)"),
    "another type": (
        lambda s: s.update(weight=s["weight"].view(torch.uint8)),
        r"a: weight is of torch\.uint8",
    ),
    "floats with scales": (lambda s: s.update(weight=s["weight"].float()), r"a: weight is of torch\.float32"),
    "no weight": (lambda s: s.pop("weight"), r'Missing key.*"a\.weight"'),
    "no scale": (lambda s: s.pop("scale"), r'Missing key.*"a\.scale"'),
    "no bias": (lambda s: s.pop("bias"), r'Missing key.*"a\.bias"'),
    "something else": (lambda s: s.update(other=torch.ones(3)), r'Unexpected key.*"a\.other"'),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what, generator):
    """With its name in the model."""
    change, message = REFUSED[what]
    state = module().state_dict()
    change(state)
    model = torch.nn.ModuleDict({"a": module()})
    with pytest.raises(RuntimeError, match=message):
        model.load_state_dict({f"a.{name}": tensor for name, tensor in state.items()})


@pytest.mark.parametrize(
    "what", [name for name in REFUSED if "shape" in name or "K" in name or "type" in name]
)
def test_what_does_not_fit_changes_nothing(what, generator):
    layer = module()
    x = torch.randn(4, 70, generator=generator)
    want = call(layer, x)
    state = module().state_dict()
    REFUSED[what][0](state)
    with pytest.raises(RuntimeError):
        layer.load_state_dict(state)
    assert same(call(layer, x), want)


def test_without_strict_what_is_there_is_loaded(generator):
    """A bias by itself; weights with their scales only."""
    layer, other = module(), module()
    x = torch.randn(4, 70, generator=generator)
    state = other.state_dict()
    quantized = amx.Quantized(
        *(layer.state_dict()[name] for name in ("weight", "scale", "zero_point")), axis=0
    )
    missing, unexpected = layer.load_state_dict({"bias": state["bias"], "more": state["bias"]}, strict=False)
    assert (missing, unexpected) == (["weight"], ["more"]) or set(missing) == {
        "weight",
        "scale",
        "zero_point",
    }
    assert same(call(layer, x), expected(x, quantized, state["bias"]))
    layer.load_state_dict({"weight": state["weight"], "bias": state["bias"]}, strict=False)
    assert same(call(layer, x), expected(x, quantized, state["bias"]))
