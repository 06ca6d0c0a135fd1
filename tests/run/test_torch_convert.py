"""`amx.torch.convert`: which linear layers of a model are replaced, which are left, and what it says."""

import copy
import pickle

import pytest

import amx

torch = pytest.importorskip("torch")
import torch_layers  # noqa: E402
from torch_layers import call, expected, same  # noqa: E402

import amx.torch  # noqa: E402  # which needs it

nn = torch.nn


@pytest.fixture
def generator():
    return torch_layers.generator()


def network():
    return nn.Sequential(
        nn.Linear(40, 50),
        nn.ReLU(),
        nn.ModuleDict({"deep": nn.Linear(50, 60, bias=False)})["deep"],
        nn.Linear(60, 7),
    )


def reasons(report):
    return {each.name: each.reason for each in report.skipped}


def names(report):
    return [each.name for each in report.converted]


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "bfloat16"}, {"activations": "dynamic-symmetric"}], ids=str
)
def test_a_model_computes_what_its_layers_do(options, generator):
    model = network().eval()
    layers = [model[0], model[2], model[3]]
    x = torch.randn(5, 40, generator=generator)
    report = amx.torch.convert(model, **options)
    want = x
    for i, each in enumerate(layers):
        bias = None if each.bias is None else each.bias.detach()
        want = expected(want, each.weight.detach(), bias, **options)
        want = want.relu() if i == 0 else want
    assert same(call(model, x), want)
    assert names(report) == ["0", "2", "3"]
    assert all(type(model[i]) is amx.torch.Linear and not model[i].training for i in (0, 2, 3))
    assert type(model[1]) is nn.ReLU


def test_it_says_what_it_did():
    report = amx.torch.convert(nn.ModuleDict({"in": nn.Linear(64, 32), "out": nn.Linear(64, 32)}), skip="out")
    first, last = report.layers
    # 8-bit weights; scales, sums and bias of 4 bytes
    want = amx.torch.Layer("in", (32, 64), "int8", (64 + 1) * 32 * 4, 64 * 32 + 3 * 32 * 4)
    assert first == want
    assert last == amx.torch.Layer("out", (32, 64), None, 8320, 8320, "its name is in skip")
    assert (report.before, report.after) == (16640, 8320 + 2432)
    assert str(report).splitlines() == [
        "layer             N x K    weights    before     after",
        "in                32 x 64  int8      8.1 KiB   2.4 KiB",
        "out               32 x 64  -         8.1 KiB   8.1 KiB  left: its name is in skip",
        "1 of 2 converted                    16.2 KiB  10.5 KiB",
    ]
    assert pickle.loads(pickle.dumps(report)) == report
    with pytest.raises(AttributeError):
        report.layers = ()


def test_names_and_functions_are_skipped():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), "ab": nn.Linear(2, 2)})
    report = amx.torch.convert(copy.deepcopy(model), skip=["a"])
    assert reasons(report) == dict.fromkeys(["a.0", "a.1"], "its name is in skip")
    assert names(report) == ["ab"]
    report = amx.torch.convert(copy.deepcopy(model), skip=lambda name, module: module.in_features == 3)
    assert reasons(report) == {"a.1": "skip says so"}
    report = amx.torch.convert(copy.deepcopy(model), skip=("ab", lambda name, module: name == "a.0"))
    assert reasons(report) == {"a.0": "skip says so", "ab": "its name is in skip"}
    with pytest.raises(amx.errors.LayerError, match=r"skip='b'.*no module of that name"):
        amx.torch.convert(model, skip="b")
    assert type(model["ab"]) is nn.Linear


class Other(nn.Linear):
    def forward(self, x):
        return -super().forward(x)


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, x, y: y * 2)
    return layer


def with_a_forward():
    layer = nn.Linear(2, 2)
    layer.forward = lambda x: x
    return layer


def not_finite():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight[1, 0] = torch.nan
    return layer


LEFT = {
    "a subclass": (lambda: Other(2, 2), "a subclass, Other"),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        "a subclass, ParametrizedLinear",
    ),
    "hooks": (hooked, "it has hooks, or a forward of its own"),
    "forward": (with_a_forward, "it has hooks, or a forward of its own"),
    "meta": (lambda: nn.Linear(2, 2, device="meta"), "it is on meta"),
    "float64": (lambda: nn.Linear(2, 2, dtype=torch.float64), "it is of float64"),
    "NaN": (not_finite, "weight[1, 0] is nan"),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_would_not_be_the_same_is_left(what):
    make, reason = LEFT[what]
    model = nn.ModuleDict({"it": make(), "another": nn.Linear(2, 2)})
    kept = model["it"]
    report = amx.torch.convert(model)
    assert reasons(report) == {"it": reason}
    assert model["it"] is kept
    assert names(report) == ["another"]


def test_the_default_device_of_torch_is_not_where_layers_are(generator):
    model, x = network(), torch.randn(5, 40, generator=generator)
    with torch.device("meta"):
        assert len(amx.torch.convert(model).converted) == 3
        assert call(model, x).device.type == "cpu"
        assert {each.device.type for each in model.state_dict().values()} == {"cpu"}


def test_shared_weights_are_left():
    """With an embedding, or with each other: there would be two of them."""
    model = nn.ModuleDict({"words": nn.Embedding(5, 4), "head": nn.Linear(4, 5)})
    model["head"].weight = model["words"].weight
    assert reasons(amx.torch.convert(model)) == {"head": "others share its weight or bias"}
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4)})
    model["b"].weight = model["a"].weight
    report = amx.torch.convert(model)
    assert reasons(report) == dict.fromkeys("ab", "others share its weight or bias")
    assert names(report) == ["c"]


def test_a_layer_at_two_places_stays_one():
    layer = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer)})
    report = amx.torch.convert(model)
    assert len(report.layers) == 1
    assert type(model["a"]) is amx.torch.Linear
    assert model["a"] is model["b"][0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, of the nested tensors that it would make
def test_layers_whose_weights_others_read_are_left(generator):
    """Those of attention, and of an encoder's layer, which has a way past its own layers."""
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1).eval()
    x = torch.randn(2, 3, 16, generator=generator)
    want = call(model, x)
    report = amx.torch.convert(model)
    assert reasons(report) == {
        "layers.0.self_attn.out_proj": "a subclass, NonDynamicallyQuantizableLinear",
        "layers.0.linear1": "TransformerEncoderLayer reads its weight",
        "layers.0.linear2": "TransformerEncoderLayer reads its weight",
    }
    assert same(call(model, x), want)


def test_options_are_refused_before_anything_is_replaced():
    model = nn.Sequential(nn.Linear(2, 2))
    for options in (
        {"dtype": "float32"},
        {"activations": "static"},
        {"dtype": "bfloat16", "activations": (1.0, 0, "int8")},
    ):
        with pytest.raises(amx.AmxError):
            amx.torch.convert(model, **options)
    assert type(model[0]) is nn.Linear
    with pytest.raises(amx.errors.LayerError, match=r"model is a linear layer.*amx\.torch\.Linear\(model\)"):
        amx.torch.convert(nn.Linear(2, 2))
    assert amx.torch.convert(nn.Sequential(nn.ReLU())).layers == ()


def test_the_state_of_a_converted_model_is_loaded_into_another(generator):
    first, second, floats = network(), network(), network()
    x = torch.randn(5, 40, generator=generator)
    amx.torch.convert(first)
    amx.torch.convert(second)
    second.load_state_dict(first.state_dict())
    assert same(call(second, x), call(first, x))
    second.load_state_dict(floats.state_dict())
    amx.torch.convert(floats)
    assert same(call(second, x), call(floats, x))
