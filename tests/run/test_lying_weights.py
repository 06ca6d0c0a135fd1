"""Weights whose arrays change after they were checked, or that answer otherwise the next time.

Where the code believed them, sums would be of foreign memory, or wrong without a word.
"""

import children
import numpy as np
import pytest

import amx
from amx import errors

# What these tests do on purpose; NumPy 2.5 and newer would rather have a view.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")

X = np.arange(24, dtype=np.float32).reshape(3, 8)


@pytest.fixture(autouse=True)
def _emulated():
    amx.set_backend("emulated")


def eights():
    return amx.Quantized(np.ones((5, 8), np.int8), np.ones(5, np.float32), 0, axis=0)


def fours():
    return amx.Quantized(np.ones((5, 8), np.uint8), np.ones((5, 1)), 0, group=8, dtype="uint4")


def writable(array):
    array.flags.writeable = True
    return array


CHANGES = {
    "the shape of values": (eights, lambda w: setattr(w.values, "shape", (8, 5)), errors.ShapeError),
    "the shape of values of 4 bits": (
        fours,
        lambda w: setattr(w.values, "shape", (40, 1)),
        errors.ShapeError,
    ),
    "the shape of scales": (eights, lambda w: setattr(w.scale, "shape", (5, 1)), errors.ShapeError),
    "the shape of zero points": (fours, lambda w: setattr(w.zero_point, "shape", (1, 5)), errors.ShapeError),
    "values of 4 bits": (fours, lambda w: writable(w.values).fill(200), errors.QuantizationError),
    "a scale": (eights, lambda w: writable(w.scale).fill(np.nan), errors.QuantizationError),
    "a zero point": (eights, lambda w: writable(w.zero_point).fill(2**31 - 1), errors.QuantizationError),
    "a zero point of 4 bits": (fours, lambda w: writable(w.zero_point).fill(17), errors.QuantizationError),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_it_was_made_is_checked_again(what):
    make, change, error = CHANGES[what]
    weight = make()
    change(weight)
    with pytest.raises(error):
        amx.Linear(weight)


@pytest.mark.parametrize("option", ["activations", "out_dtype"])
def test_so_is_a_given_scale(option):
    given = amx.quantize(X, "uint8", symmetric=False)
    writable(given.scale).fill(np.nan)
    with pytest.raises(errors.QuantizationError, match="scale is nan"):
        amx.Linear(np.ones((5, 8)), **{option: given})


class Shorter(amx.Quantized):
    shape = (2, 8)


@pytest.mark.parametrize(
    "options", [{"axis": 0}, {"axis": 0, "dtype": "uint4"}, {"group": 8, "dtype": "uint4"}], ids=str
)
def test_a_subclass_says_nothing_of_its_shape(options):
    scale = np.ones((5, 1) if "group" in options else 5)
    layer = amx.Linear(Shorter(np.ones((5, 8), np.uint8), scale, 0, **options))
    assert (layer(np.ones((3, 8), np.float32)) == np.full((3, 5), 8)).all()


def test_a_quantized_is_made_once():
    weight = eights()
    with pytest.raises(AttributeError, match="make another one"):
        weight.__init__(np.ones((2, 2), np.int8), 1.0, 0)
    assert weight.shape == (5, 8)


def test_values_are_not_reshaped_while_the_rest_is_read():
    class Axis:
        def __index__(self):
            values.shape = 8, 5
            return 0

    values = np.ones((5, 8), np.int8)
    assert amx.Quantized(values, np.ones(5), 0, axis=Axis()).shape == (5, 8)
    numbers = np.ones((5, 8), np.float32)

    class Group:
        def __index__(self):
            numbers.shape = 8, 5
            return 4

    assert amx.quantize(numbers, group=Group()).scale.shape == (5, 2)


def test_a_layers_bias_stays():
    """In a child, which would read what it has freed."""
    code = """
import numpy as np, amx
amx.set_backend("emulated")
layer = amx.Linear(np.zeros((1 << 20, 1)), np.ones(1 << 20))
layer.bias.shape = (2, 1 << 19)
for change in (lambda bias: bias.resize(0, refcheck=False), lambda bias: bias.setflags(write=True)):
    try:
        change(layer.bias)
    except ValueError:
        print("refused")
print((layer(np.ones((1, 1), np.float32)) == 1).all(), layer.bias.shape)
"""
    done = children.run_python("-c", code)
    assert (done.stdout, done.returncode) == ("refused\nrefused\nTrue (1048576,)\n", 0), done.stderr
