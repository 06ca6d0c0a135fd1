"""`amx.torch.Linear`: the bits of `amx.Linear`, whatever torch does with modules, and never a gradient."""

import copy
import os
import sys
import threading

import children
import numpy as np
import pytest

import amx

torch = pytest.importorskip("torch")
import torch_layers  # noqa: E402
from torch_layers import call, expected, same  # noqa: E402

import amx.torch  # noqa: E402  # which needs it

DTYPES = ["int8", "bfloat16", "float16"]
GIVEN = (0.031, 117, "uint8")


@pytest.fixture
def generator():
    return torch_layers.generator()


def of_integers(generator, dtype="uint8"):
    """Weights of 8 bits with zero points, an output of each its own."""
    values = torch.randint(0, 128, (33, 70), generator=generator).to(getattr(torch, dtype))
    return amx.Quantized(values, np.linspace(0.01, 0.1, 33, dtype="f"), np.arange(33), axis=0)


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize(
    ("dtype", "of_x"),
    [
        *(("int8", each) for each in ("float32", "bfloat16", "float16")),
        *((each, of_x) for each in ("bfloat16", "float16") for of_x in ("float32", each)),
    ],
)
def test_its_results_are_those_of_amx_linear(dtype, of_x, activation, generator):
    """Of x's type; rows of any shape and strides, with a bias and without."""
    weight, bias = (torch.randn(*shape, generator=generator) for shape in ((33, 70), (33,)))
    for own_bias in (bias, None):
        options = {"dtype": dtype, "activation": activation}
        layer = amx.torch.Linear(weight, own_bias, **options)
        for shape in ((4, 70), (70,), (2, 3, 70), (0, 70)):
            x = torch.randn(shape, generator=generator).to(getattr(torch, of_x))
            assert same(call(layer, x), expected(x, weight, own_bias, **options))
        x = torch.randn(70, 9, generator=generator).to(getattr(torch, of_x)).T
        assert same(call(layer, x), expected(x, weight, own_bias, **options))


@pytest.mark.parametrize("activations", ["dynamic", "dynamic-symmetric", GIVEN, (0.1, -3, "int8")], ids=str)
def test_rows_are_quantised_as_it_says(activations, generator):
    x = torch.randn(5, 70, generator=generator)
    for weight in (
        torch.randn(33, 70, generator=generator),
        of_integers(generator),
        of_integers(generator, "int8"),
    ):
        layer = amx.torch.Linear(weight, activations=activations)
        assert same(call(layer, x), expected(x, weight, activations=activations))
        assert layer.activations == amx.Linear(weight, activations=activations).activations


def test_it_is_made_of_a_module():
    module = torch.nn.Linear(70, 33)
    x = torch.ones(2, 70)
    want = expected(x, module.weight.detach(), module.bias.detach())
    assert same(call(amx.torch.Linear(module), x), want)
    assert same(call(amx.torch.Linear(module.weight, module.bias), x), want)
    layer = amx.torch.Linear(torch.nn.Linear(70, 33, bias=False, dtype=torch.bfloat16), dtype="bfloat16")
    assert (layer.in_features, layer.out_features, layer.bias, layer.dtype) == (70, 33, None, "bfloat16")
    assert list(layer.parameters()) == []
    assert repr(amx.torch.Linear(module, activation="relu")) == (
        "Linear(in_features=70, out_features=33, bias=True, dtype=int8, activation=relu, activations=dynamic)"
    )


def test_packed_weights_are_all_that_there_is():
    """A byte for each number, with its padding; nothing is held twice."""
    layer = amx.torch.Linear(torch.ones(64, 128))
    assert layer.packed.nbytes == 64 * 128
    assert layer.nbytes == 64 * 128 + 64 * 4 + 64 * 4  # scale, sum
    assert sum(each.nbytes for each in layer.buffers()) == layer.nbytes


@pytest.mark.parametrize("module", [torch.nn.Conv1d(1, 1, 1), torch.nn.Bilinear(2, 2, 2)])
def test_what_is_no_linear_layer_is_refused(module):
    with pytest.raises(amx.errors.LayerError, match=r"weight is a torch\.nn.*Pass a torch\.nn\.Linear"):
        amx.torch.Linear(module)
    with pytest.raises(amx.errors.LayerError, match="bias beside"):
        amx.torch.Linear(torch.nn.Linear(2, 2), torch.ones(2))
    with pytest.raises(amx.errors.ShapeError, match="bias has shape"):
        amx.torch.Linear(torch.ones(2, 2), torch.ones(3))


@pytest.mark.parametrize("copied", ["deepcopy", "pickle", "torch.save", "share_memory"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_have_the_same_numbers_and_memory_of_their_own(dtype, copied, generator):
    layer = amx.torch.Linear(torch.nn.Linear(70, 33), dtype=dtype)
    x = torch.randn(4, 70, generator=generator)
    want = call(layer, x)
    other = torch_layers.copied(layer, copied)
    assert copied != "share_memory" or other.packed.is_shared()
    assert same(call(other, x), want)
    layer.load_state_dict(amx.torch.Linear(torch.nn.Linear(70, 33), dtype=dtype).state_dict())
    assert not same(call(layer, x), want)
    assert same(call(other, x), want)


def test_packed_weights_of_another_version_are_refused():
    """Which a module may have been pickled with."""
    layer = amx.torch.Linear(torch.ones(2, 3))
    layer.layout += 1
    with pytest.raises(amx.errors.LayerError, match=r"of layout \d+.*state_dict"):
        layer(torch.ones(1, 3))


@pytest.mark.parametrize("change", ["half", "bfloat16", "double", "float"])
def test_buffers_keep_their_types(change, generator):
    """A model that is made float16 has the same layers."""
    layer = amx.torch.Linear(torch.nn.Linear(70, 33))
    x = torch.randn(4, 70, generator=generator)
    want = call(layer, x)
    assert same(call(getattr(torch.nn.Sequential(layer), change)()[0], x), want)


def test_inference_mode(generator):
    """Made within, loaded without; and the other way round."""
    module, other = torch.nn.Linear(70, 33), torch.nn.Linear(70, 33)
    x = torch.randn(4, 70, generator=generator)
    want = [expected(x, each.weight.detach(), each.bias.detach()) for each in (module, other)]
    with torch.inference_mode():
        layer = amx.torch.Linear(module)
        assert same(layer(x), want[0])
    layer.load_state_dict(other.state_dict())
    assert same(call(layer, x), want[1])
    with torch.inference_mode():
        layer.load_state_dict(module.state_dict())
        assert same(layer(x), want[0])
    assert same(call(copy.deepcopy(layer), x), want[0])


@pytest.mark.parametrize(("dtype", "other"), [("bfloat16", torch.float16), ("float16", torch.bfloat16)])
def test_rows_of_the_other_16_bits_are_refused(dtype, other):
    """Whose numbers would be taken for others."""
    layer = amx.torch.Linear(torch.ones(3, 8), dtype=dtype)
    layer(torch.ones(2, 8))
    with pytest.raises(amx.errors.DtypeError, match="x is of"):
        layer(torch.ones(2, 8, dtype=other))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_casts_x_as_for_a_linear_layer_of_torch(dtype, generator):
    kind = getattr(torch, dtype)
    module = torch.nn.Linear(70, 33)
    x = torch.randn(4, 70, generator=generator)
    with torch.autocast("cpu", dtype=kind), torch.no_grad():
        assert module(x).dtype is kind
        for of_layer in ("int8", dtype):
            found = amx.torch.Linear(module, dtype=of_layer)(x)
            weight, bias = module.weight.detach(), module.bias.detach()
            assert same(found, expected(x.to(kind), weight, bias, dtype=of_layer))


def test_where_torch_would_make_a_gradient_there_is_an_error():
    layer = amx.torch.Linear(torch.ones(2, 3), dtype="float16")
    x = torch.ones(1, 3, requires_grad=True)
    for each in (x, x * 1, torch.nn.Parameter(torch.ones(1, 3))):
        with pytest.raises(amx.errors.LayerError, match=r"requires grad.*torch\.inference_mode\(\)"):
            layer(each)
        with pytest.raises(amx.errors.LayerError, match="requires grad"):
            amx.torch.matmul(each.half(), torch.ones(3, 1).half())
        found = call(layer, each)
        assert found.tolist() == [[3, 3]]
        assert not found.requires_grad
    assert layer(x.detach()).tolist() == [[3, 3]]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch about its own
def test_other_ways_to_a_gradient_are_errors_too():
    ones = torch.ones(1, 3).half()
    for function in (amx.torch.Linear(torch.ones(2, 3)), lambda x: amx.torch.matmul(x, ones.T)):
        forward = torch.autograd.forward_ad
        with forward.dual_level(), pytest.raises(amx.errors.LayerError, match="no tangents"):
            function(forward.make_dual(ones, ones))
        with pytest.raises(amx.errors.LayerError, match="no tangents"):
            torch.func.jvp(function, (ones,), (ones,))
        with pytest.raises(RuntimeError, match=r"functorch transforms"):
            torch.func.grad(lambda x, function=function: function(x).sum())(ones)


def test_rows_that_do_not_fit_are_refused():
    layer = amx.torch.Linear(torch.ones(2, 3))
    for x, kind, message in [
        (torch.ones(1, 4), amx.errors.ShapeError, r"x has shape \(1, 4\).*rows of 3"),
        (torch.tensor(1.0), amx.errors.ShapeError, r"x has shape \(\)"),
        (torch.ones(1, 3).double(), amx.errors.DtypeError, r"x is of torch\.float64.*float32"),
        (torch.ones(1, 3).int(), amx.errors.DtypeError, r"x is of torch\.int32"),
    ]:
        with pytest.raises(kind, match=message):
            layer(x)
    with pytest.raises(amx.errors.DtypeError, match="x is of bfloat16"):
        amx.torch.Linear(torch.ones(2, 3), dtype="float16")(torch.ones(1, 3).bfloat16())


@pytest.mark.parametrize("dtype", [*DTYPES, "uint4"])
def test_a_layer_without_memory_has_results_on_the_meta_device_only(dtype):
    layer = amx.torch.Linear(torch.ones(2, 3), dtype=dtype).to("meta")
    found = call(layer, torch.ones(4, 3, device="meta"))
    assert (found.shape, found.is_meta) == ((4, 2), True)
    with pytest.raises(amx.errors.LayerError, match="x is on cpu, and a tensor of the layer on meta"):
        call(layer, torch.ones(4, 3))


def test_threads_share_a_layer(generator):
    layer = amx.torch.Linear(torch.nn.Linear(70, 33))
    inputs = [torch.randn(4, 70, generator=generator) for _ in range(8)]
    want = [call(layer, x) for x in inputs]
    found = [[] for _ in inputs]

    def work(i):
        for _ in range(20):
            found[i].append(call(layer, inputs[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for results, each in zip(found, want, strict=True):
        assert len(results) == 20
        assert all(same(result, each) for result in results)


WORKERS = """
import sys, torch, amx, amx.torch

class Rows(torch.utils.data.Dataset):
    def __init__(self, layer, x):
        self.layer, self.x = layer, x
    def __len__(self):
        return len(self.x)
    def __getitem__(self, i):
        with torch.no_grad():
            return self.layer(self.x[i])

if __name__ == "__main__":
    amx.set_backend("vector")
    layer, x = amx.torch.Linear(torch.nn.Linear(70, 33), dtype=sys.argv[1]), torch.randn(40, 70)
    want = layer(x)
    loader = torch.utils.data.DataLoader(
        Rows(layer, x), batch_size=5, num_workers=2, multiprocessing_context="fork"
    )
    assert torch.equal(torch.cat(list(loader)), want)
    print("equal")
"""


@pytest.mark.parametrize("dtype", ["int8", "uint4"])
def test_workers_of_a_data_loader_have_it_too(dtype, tmp_path):
    """Forked after a product."""
    program = tmp_path / "workers.py"
    program.write_text(WORKERS)
    environment = {**os.environ, "AMX_BACKEND": "vector"}
    done = children.run(
        [sys.executable, program, dtype], capture_output=True, text=True, timeout=200, env=environment
    )
    assert done.stdout == "equal\n", done.stderr


def arguments(layer):
    """Of the operator, but for x."""
    numbers = "in_features out_features dtype activation rows row_scale row_zero_point layout"
    names = f"packed scale zero_point column_sum bias order {numbers}".split()
    return {name: getattr(layer, name) for name in names}


WRONG = {
    "packed": [
        torch.zeros(10, dtype=torch.uint8),
        torch.zeros(4096),
        torch.zeros(2, 1024, dtype=torch.uint8),
    ],
    "scale": [torch.ones(1), torch.ones(2).double(), torch.ones(2, 1), None],
    "zero_point": [torch.ones(2), torch.ones(1, dtype=torch.int32)],
    "column_sum": [torch.ones(2), torch.ones(3, dtype=torch.int32), None],
    "bias": [torch.ones(3), torch.ones(2).half()],
    "order": [torch.arange(3)],
    "out_features": [-1, 3, 10**6],
    "dtype": ["int4", "uint4", "bfloat16"],
    "activation": ["tanh"],
    "rows": ["", "none", "int8"],
}


@pytest.mark.parametrize("name", WRONG)
def test_the_operator_checks_what_c_relies_on(name):
    """Whoever calls it: no tensor is read beyond its end."""
    right = arguments(amx.torch.Linear(torch.full((2, 3), 127.0)))
    x = torch.full((1, 3), 255.0)
    assert torch.ops.amx.linear(x, *right.values()).tolist() == [[3 * 127 * 255] * 2]
    for value in WRONG[name]:
        wrong = {**right, name: value}
        if (name, value) == ("rows", "int8"):
            wrong["row_scale"] = -1.0
        with pytest.raises(amx.AmxError):
            torch.ops.amx.linear(x, *wrong.values())


def test_weights_may_lie_anywhere(generator):
    """In a file that is mapped they do not begin at a line."""
    layer = amx.torch.Linear(torch.nn.Linear(70, 33))
    x = torch.randn(4, 70, generator=generator)
    want = call(layer, x)
    memory = torch.empty(len(layer.packed) + 1, dtype=torch.uint8)
    memory[1:] = layer.packed
    layer.packed = memory[1:]
    assert same(call(layer, x), want)
