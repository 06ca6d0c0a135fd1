"""`amx.torch.Linear` with weights of 4 bits: the bits of `amx.Linear`, and memory that is never believed."""

import copy

import numpy as np
import pytest

import amx
from amx.checkpoints import from_gptq

torch = pytest.importorskip("torch")
import torch_layers  # noqa: E402
from torch_layers import call, expected, same  # noqa: E402

import amx.torch  # noqa: E402  # which needs it

NAN = torch.tensor(torch.nan)
GIVEN = (0.031, 117, "uint8")


@pytest.fixture
def generator():
    return torch_layers.generator()


def weights(rng, group=32, *, order=False, halves=True, one_zero=False):
    """(33, 71), whose scales and zero points need little memory, or more."""
    groups = () if group is None else (-(-71 // group),)
    scale = rng.uniform(0.01, 1, (33, *groups)).astype(np.float16 if halves else np.float32)
    zero = 7 if one_zero else rng.integers(0, 17, (33, *groups))
    values = rng.integers(0, 16, (33, 71), dtype=np.uint8)
    places = rng.permutation(71) if order else None
    return amx.Quantized(values, scale, zero, 0, group, "uint4", places)


KINDS = {
    "groups": {},
    "order": {"order": True},
    "scales of 32 bits": {"halves": False},
    "one zero point": {"one_zero": True},
    "long groups": {"group": 1000},
    "rows": {"group": None},
}


@pytest.fixture(params=KINDS)
def weight(request, rng):
    return weights(rng, **KINDS[request.param])


@pytest.mark.parametrize("of_x", ["float32", "bfloat16", "float16"])
def test_its_results_are_those_of_amx_linear(weight, of_x, generator):
    """Of x's type; rows of any shape and strides."""
    bias = torch.randn(33, generator=generator)
    layer = amx.torch.Linear(weight, bias, activation="gelu")
    for shape in ((4, 71), (71,), (2, 3, 71), (0, 71)):
        x = torch.randn(shape, generator=generator).to(getattr(torch, of_x))
        assert same(call(layer, x), expected(x, weight, bias, activation="gelu"))
    x = torch.randn(71, 9, generator=generator).to(getattr(torch, of_x)).T
    assert same(call(layer, x), expected(x, weight, bias, activation="gelu"))


@pytest.mark.parametrize("activations", ["dynamic", "dynamic-symmetric", GIVEN, (0.1, -3, "int8")], ids=str)
def test_rows_are_quantised_as_it_says(activations, rng, generator):
    x, weight = torch.randn(5, 71, generator=generator), weights(rng)
    layer = amx.torch.Linear(weight, activations=activations)
    assert same(call(layer, x), expected(x, weight, activations=activations))
    assert layer.activations == amx.Linear(weight, activations=activations).activations


@pytest.mark.parametrize(
    ("options", "group", "symmetric"),
    [
        ({}, 32, False),
        ({"group": 64}, 64, False),
        ({"symmetric": True}, 32, True),
        ({"group": 4096, "symmetric": True}, 4096, True),
    ],
    ids=str,
)
def test_floats_are_quantised_in_groups(options, group, symmetric, generator):
    module = torch.nn.Linear(71, 33)
    x = torch.randn(4, 71, generator=generator)
    weight = amx.quantize(module.weight.detach(), "uint4", group=group, symmetric=symmetric)
    want = expected(x, weight, module.bias.detach())
    for dtype in ("uint4", torch.uint4):
        layer = amx.torch.Linear(module, dtype=dtype, **options)
        assert same(call(layer, x), want)
        assert (layer.dtype, layer.group) == ("uint4", min(group, 71))


def test_checkpoints_of_other_programs_become_modules(generator):
    """GPTQ's, with groups of columns that are not adjacent."""
    words = torch.randint(-(2**31), 2**31, (8, 32), generator=generator).to(torch.int32)
    zeros = torch.randint(-(2**31), 2**31, (2, 4), generator=generator).to(torch.int32)
    scales = torch.rand(2, 32, generator=generator).half() + 0.01
    places = torch.randperm(64, generator=generator) // 32
    weight = from_gptq(words, zeros, scales, places.to(torch.int32))
    assert weight.order is not None
    x = torch.randn(3, 64, generator=generator)
    assert same(call(amx.torch.Linear(weight), x), expected(x, weight))


def test_options_of_4_bits_are_refused_elsewhere():
    floats = torch.ones(2, 64)
    for weight, options in [
        (floats, {"group": 32}),
        (floats, {"dtype": "bfloat16", "symmetric": False}),
        (amx.quantize(floats, "uint4", group=32), {"dtype": "uint4", "group": 32}),
    ]:
        with pytest.raises(amx.errors.LayerError, match=r"how floats become dtype=\"uint4\""):
            amx.torch.Linear(weight, **options)
    for options, kind, message in [
        ({"group": 48}, amx.errors.ShapeError, "groups of 48"),
        ({"group": 0}, amx.errors.ShapeError, "group=0"),
        ({"group": "32"}, amx.errors.DtypeError, "group='32'"),
    ]:
        with pytest.raises(kind, match=message):
            amx.torch.Linear(floats, dtype="uint4", **options)
        model = torch.nn.Sequential(torch.nn.Linear(64, 2))
        with pytest.raises(kind, match=message):
            amx.torch.convert(model, dtype="uint4", **options)
        assert type(model[0]) is torch.nn.Linear
    with pytest.raises(amx.errors.QuantizationError, match=r"weight\[1, 2\] is nan"):
        amx.torch.Linear(torch.ones(2, 64).index_put((torch.tensor(1), torch.tensor(2)), NAN), dtype="uint4")


def test_a_model_is_converted(generator):
    model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 5))
    first, last = model[0], model[2]
    x = torch.randn(3, 64, generator=generator)
    options = {"group": 64, "symmetric": True}
    report = amx.torch.convert(model, dtype="uint4", **options)
    packed = [amx.quantize(each.weight.detach(), "uint4", **options) for each in (first, last)]
    hidden = expected(x, packed[0], first.bias.detach()).relu()
    assert same(call(model, x), expected(hidden, packed[1], last.bias.detach()))
    assert [each.dtype for each in report.converted] == ["uint4", "uint4"]
    # Half a byte a number, 2 of a scale each 64, a line, and biases.
    assert report.layers[0].after == 64 * 96 // 2 + 96 * 2 + 64 + 96 * 4


@pytest.mark.parametrize("copied", ["copy", "deepcopy", "pickle", "torch.save", "share_memory"])
def test_copies_compute_the_same(weight, copied, generator):
    layer = amx.torch.Linear(weight)
    x = torch.randn(4, 71, generator=generator)
    other = torch_layers.copied(layer, copied)
    assert same(call(other, x), expected(x, weight))


@pytest.mark.parametrize("assign", [False, True])
def test_another_layer_computes_the_same_with_its_state(weight, assign, rng, generator):
    """Also on the meta device, and one that was symmetric, or in another order."""
    group = weight.group or 71
    layer = amx.torch.Linear(weight, torch.ones(33))
    x = torch.randn(4, 71, generator=generator)
    others = [
        amx.torch.Linear(weights(rng, group, order=True), torch.zeros(33)),
        amx.torch.Linear(torch.nn.Linear(71, 33), dtype="uint4", group=group, symmetric=True)
        if group % 32 == 0
        else amx.torch.Linear(weights(rng, None), torch.zeros(33)),
        copy.deepcopy(layer).to("meta"),
    ]
    for other in others:
        found = other.load_state_dict(layer.state_dict(), assign=assign)
        assert (found.missing_keys, found.unexpected_keys) == ([], [])
        assert same(call(other, x), expected(x, weight, torch.ones(33)))
        assert other.state_dict().keys() == layer.state_dict().keys()


def test_a_state_dict_has_plain_tensors(rng):
    """Two numbers in a byte, the first in the lower bits, by rows."""
    weight = weights(rng, order=True)
    found = amx.torch.Linear(weight).state_dict()
    even = np.pad(weight.values, ((0, 0), (0, 1)))
    want = {
        "weight": even[:, ::2] + 16 * even[:, 1::2],
        "scale": weight.scale,
        "zero_point": weight.zero_point,
        "order": weight.order,
    }
    assert list(found) == list(want)
    for name, array in want.items():
        assert found[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(found[name].numpy(), array)
    meta = amx.torch.Linear(weight).to("meta").state_dict()
    assert {name: (each.shape, each.dtype) for name, each in meta.items()} == {
        name: (each.shape, each.dtype) for name, each in found.items()
    }


@pytest.mark.parametrize("symmetric", [False, True])
def test_that_of_a_float_layer_is_quantised(symmetric, generator):
    source = torch.nn.Linear(71, 33)
    x = torch.randn(4, 71, generator=generator)
    weight = amx.quantize(source.weight.detach(), "uint4", group=64, symmetric=symmetric)
    layer = amx.torch.Linear(torch.nn.Linear(71, 33), dtype="uint4", group=64, symmetric=symmetric)
    layer.load_state_dict(source.state_dict())
    assert same(call(layer, x), expected(x, weight, source.bias.detach()))


REFUSED = {
    "another K": (lambda s: s.update(weight=s["weight"][:, 1:]), r"weight has shape \(33, 35\)"),
    "a number a byte": (lambda s: s.update(weight=s["weight"].repeat(1, 2)[:, :71]), r"weight has shape"),
    "another type": (lambda s: s.update(weight=s["weight"].view(torch.int8)), r"weight is of torch\.int8"),
    "other groups": (lambda s: s.update(scale=s["scale"][:, :2]), r"scale has shape \(33, 2\)"),
    "a zero point of 17": (lambda s: s["zero_point"].fill_(17), r"zero_point\[0, 0\] is 17"),
    "an order that is none": (lambda s: s["order"].zero_(), r"order is no permutation"),
    "no scale": (lambda s: s.pop("scale"), r'Missing key.*"scale"'),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused(what, rng):
    change, message = REFUSED[what]
    state = amx.torch.Linear(weights(rng, order=True)).state_dict()
    change(state)
    with pytest.raises(RuntimeError, match=message):
        amx.torch.Linear(weights(rng, order=True)).load_state_dict(state)


def test_inference_mode_and_autocast(rng, generator):
    weight = weights(rng)
    layer = amx.torch.Linear(weight)
    x = torch.randn(4, 71, generator=generator)
    with torch.inference_mode():
        assert same(layer(x), expected(x, weight))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert same(layer(x), expected(x.bfloat16(), weight))
    with pytest.raises(amx.errors.LayerError, match="requires grad"):
        layer(x.requires_grad_())


def arguments(layer):
    """Of the operator, but for x."""
    numbers = "in_features out_features dtype activation rows row_scale row_zero_point layout"
    names = f"packed scale zero_point column_sum bias order {numbers}".split()
    return {name: getattr(layer, name) for name in names}


BYTES = 64 + 3 * (3 * 256 + 3 * 3 * 16)  # a head, and of 16 columns 3 units, and of each 16 scales and zeros


def headed(*numbers, count=BYTES):
    """Memory that begins with these: group, zero point, whether there are more, whether scales are halves."""
    memory = torch.zeros(count, dtype=torch.uint8)
    memory[:32].view(torch.int64)[: len(numbers)] = torch.tensor(numbers)
    return memory


HOSTILE = {
    "packed": [
        torch.zeros(0, dtype=torch.uint8),
        torch.zeros(63, dtype=torch.uint8),
        headed(32, 0, 1, 1, count=64),
        headed(32, 0, 1, 1, count=BYTES - 1),
        headed(32, 0, 1, 1, count=BYTES + 1),
        headed(32, 0, 1, 1).expand(2, BYTES),
        headed(32, 0, 1, 1).view(torch.int8),
        headed(32, 0, 1, 1).to("meta"),
        headed(0, 0, 1, 1),
        headed(-32, 0, 1, 1),
        headed(48, 0, 1, 1),
        headed(64, 0, 1, 1),
        headed(2**62, 0, 1, 1),
        headed(32, 17, 1, 1),
        headed(32, -1, 1, 1),
        headed(32, 0, 0, 1),
        headed(32, 0, 1, 0),
        headed(32, 0, 1, 1)[:1].expand(BYTES),
    ],
    "scale": [torch.ones(33)],
    "zero_point": [torch.ones(33, dtype=torch.int32)],
    "column_sum": [torch.ones(33, dtype=torch.int32)],
    "bias": [torch.ones(32), torch.ones(33).double(), torch.ones(33).to("meta")],
    "order": [
        torch.arange(70),
        torch.arange(71).int(),
        torch.arange(71)[:, None],
        torch.arange(71) + 1,
        torch.arange(71) - 1,
        torch.full((71,), 2**62),
    ],
    "in_features": [-1, 0, 64, 97, 2**31, 2**62, 2**63 - 1],
    "out_features": [-1, 0, 49, 2**31, 2**62, 2**63 - 1],
    "dtype": ["int8", "uint8", "bfloat16"],
    "rows": ["", "none"],
    "layout": [0],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_operator_checks_what_c_relies_on(name, rng):
    """Whoever calls it: no tensor is read beyond its end."""
    right = arguments(amx.torch.Linear(weights(rng)))
    assert right["packed"].numel() == BYTES
    for value in HOSTILE[name]:
        x = torch.ones(2, 71)
        if name == "in_features" and value >= 0:
            x = torch.ones(1, 1).expand(0, value)
        with pytest.raises((amx.AmxError, RuntimeError)):
            torch.ops.amx.linear(x, *{**right, name: value}.values())


def test_memory_of_any_contents_gives_some_results(rng, generator):
    """Numbers that nobody packed are still no places in memory."""
    right = arguments(amx.torch.Linear(weights(rng, order=True)))
    for _ in range(20):
        right["packed"][64:] = torch.randint(0, 256, (BYTES - 64,), generator=generator)
        right["order"] = torch.randint(0, 71, (71,), generator=generator)
        x = torch.randn(11, 71, generator=generator)
        assert torch.ops.amx.linear(x, *right.values()).shape == (11, 33)


def test_weights_may_lie_anywhere(rng, generator):
    """In a file that is mapped they do not begin at a line; others may be strided."""
    weight = weights(rng)
    layer, x = amx.torch.Linear(weight), torch.randn(4, 71, generator=generator)
    state = layer.state_dict()
    memory = torch.empty(len(layer.packed) + 1, dtype=torch.uint8)
    memory[1:] = layer.packed
    for packed in (memory[1:], layer.packed.repeat_interleave(2)[::2]):
        layer.packed = packed
        assert same(call(layer, x), expected(x, weight))
        assert all(torch.equal(tensor, state[name]) for name, tensor in layer.state_dict().items())
    layer.packed = memory[:1].expand(BYTES)
    with pytest.raises(amx.errors.ShapeError, match="another beginning"):
        layer.state_dict()
