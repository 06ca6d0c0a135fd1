"""The demo's classifier: its formats against arithmetic done by hand."""

import numpy as np
import pytest

from amx.cli import _network


def test_pixels_are_from_minus_one_to_one():
    identity = _network.Float32Layer(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    first, _ = _network.activations([identity], np.array([[0, 8, 16]], np.uint8))
    assert first.tolist() == [[-1, 0, 1]]


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_rounded_layer_is_the_float32_layer_of_its_weights_and_bias(backend, dtype):
    # Numbers that both formats hold: weights up to 127 for each output, rows from -8 to 247.
    weights = np.array([[127, -127], [3, 50], [-4, 127]], np.float32)
    layer = _network.Float32Layer(weights, np.array([0.5, -2], np.float32))
    x = np.array([[-8, 0, 247], [247, 2, -8]], np.float32)
    (rounded,) = _network.rounded([layer], dtype)
    assert rounded(x).tolist() == layer(x).tolist()


def test_training_descends_along_the_gradient():
    # One step on one image, against a difference quotient of the loss.
    image, label = np.array([[16, 0, 3, 8]], np.uint8), np.array([1], np.uint8)

    def layers(epochs, rate):
        return _network.train(
            np.repeat(image, 60, 0), np.repeat(label, 60), hidden=(3,), epochs=epochs, rate=rate
        )

    def loss(weight):
        start[0].weights[1, 0] = weight
        output = _network.activations(start, image)[-1].astype(np.float64)
        return np.log(np.exp(output).sum()) - output[0, 1]

    start, after = layers(0, 0.1), layers(1, 1e-3)
    weight = start[0].weights[1, 0].copy()
    slope = (loss(weight + 1e-2) - loss(weight - 1e-2)) / 2e-2
    assert (after[0].weights[1, 0] - weight) / -1e-3 == pytest.approx(slope, rel=1e-2)
