"""The demo's classifier: its formats against arithmetic done by hand."""

import numpy as np
import pytest

from amx.cli import _network
from amx.cli._network import Affine, Bfloat16Layer, Float32Layer, Int8Layer


def test_an_affine_format_holds_zero_exactly():
    stored = Affine.covering(np.array([-0.3, 2.0], np.float32))
    assert stored.real(stored.store(np.zeros(1, np.float32))) == 0


def test_values_out_of_range_are_stored_as_the_nearest_end():
    stored = Affine(scale=0.5, zero_point=10).store(np.array([-9, -5, 0, 122.5, 200], np.float32))
    assert stored.tolist() == [0, 0, 10, 255, 255]


def test_pixels_are_stored_as_they_are():
    pixels = np.arange(17, dtype=np.uint8)
    assert (_network.PIXELS.store(_network.PIXELS.real(pixels)) == pixels).all()


def test_the_zero_point_of_the_inputs_does_not_reach_the_output(backend):
    # Weights whose scale is 1 for each output, and inputs whose real value is stored - 8: all integers.
    weights = np.array([[127, -127], [3, 50], [-4, 127]], np.float32)
    layer = Int8Layer(Float32Layer(weights, np.array([0.5, -2], np.float32)), Affine(1.0, 8))
    x = np.array([[-8, 0, 247], [1, 2, 3]], np.float32)
    assert layer(x).tolist() == (x @ weights + [0.5, -2]).tolist()


def test_weights_that_bfloat16_holds_exactly_give_the_float32_layer(backend):
    random = np.random.default_rng(1)
    weights = random.integers(-128, 129, (70, 30)).astype(np.float32)
    x = random.integers(-16, 17, (20, 70)).astype(np.float32)
    layer = Float32Layer(weights, np.ones(30, np.float32))
    assert (Bfloat16Layer(layer)(x) == layer(x)).all()


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
