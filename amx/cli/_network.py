"""A small digit classifier: trained in float32 with NumPy, then run in int8 and in bfloat16 on `amx.matmul`.

Three layers, x -> relu(x @ weights + bias), the last without relu; its largest output names the class.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import amx

__all__ = [
    "PIXELS",
    "Affine",
    "Bfloat16Layer",
    "Float32Layer",
    "Int8Layer",
    "activations",
    "classify",
    "quantise",
    "train",
]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Affine:
    """Real numbers as uint8: real = scale * (stored - zero_point)."""

    scale: float
    zero_point: int

    @classmethod
    def covering(cls, values: Floats) -> Affine:
        """The finest that holds all `values`, and 0 exactly."""
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        scale = (high - low) / 255
        return cls(scale, round(-low / scale))

    def store(self, real: Floats) -> NDArray[np.uint8]:
        """Nearest stored values, those out of range at its ends."""
        stored: NDArray[np.float32] = np.rint(real / self.scale) + self.zero_point
        return stored.clip(0, 255).astype(np.uint8)

    def real(self, stored: NDArray[np.uint8]) -> Floats:
        """The numbers that `stored` stands for."""
        real: Floats = (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return real


PIXELS = Affine(scale=1 / 8, zero_point=8)  # images as they are stored, 0 to 16, stand for -1 to 1


@dataclass(frozen=True)
class Float32Layer:
    """Weights (K, N) and bias (N,), multiplied by NumPy."""

    weights: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        """Outputs (M, N) for inputs (M, K)."""
        return x @ self.weights + self.bias


class Bfloat16Layer:
    """The same layer with inputs and weights rounded to bfloat16, products and sums in float32."""

    def __init__(self, layer: Float32Layer) -> None:
        self.packed = amx.pack(layer.weights, dtype="bfloat16")
        self.bias = layer.bias

    def __call__(self, x: Floats) -> Floats:
        """Outputs (M, N) for inputs (M, K)."""
        product: Floats = amx.matmul(x, self.packed, dtype="bfloat16")
        return product + self.bias


class Int8Layer:
    """The same layer with uint8 inputs, and int8 weights that have a scale for each output and no zero point.

    The sum of (stored - zero_point) * w is that of stored * w, which AMX forms, less zero_point times w's.
    """

    def __init__(self, layer: Float32Layer, inputs: Affine) -> None:
        scales = np.abs(layer.weights).max(axis=0) / 127
        stored = np.rint(layer.weights / scales).astype(np.int8)
        self.inputs = inputs
        self.packed = amx.pack(stored)
        self.offsets = inputs.zero_point * stored.sum(axis=0, dtype=np.int32)
        self.scales = (inputs.scale * scales).astype(np.float32)
        self.bias = layer.bias

    def __call__(self, x: Floats) -> Floats:
        """Outputs (M, N) for inputs (M, K)."""
        output: Floats = (amx.matmul(self.inputs.store(x), self.packed) - self.offsets) * self.scales
        return output + self.bias


Layer = Callable[[Floats], Floats]


def activations(layers: Sequence[Layer], images: NDArray[np.uint8]) -> list[Floats]:
    """The input of each layer for `images` (M, 64), and the last layer's output behind them."""
    values = [PIXELS.real(images)]
    for number, layer in enumerate(layers, start=1):
        output = layer(values[-1])
        values.append(np.maximum(output, 0) if number < len(layers) else output)
    return values


def classify(layers: Sequence[Layer], images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The class (M,) of each of `images` (M, 64)."""
    classes: NDArray[np.intp] = activations(layers, images)[-1].argmax(axis=1)
    return classes


def quantise(layers: Sequence[Float32Layer], images: NDArray[np.uint8]) -> list[Int8Layer]:
    """The layers in int8, the range of every layer's inputs taken from what `images` give rise to."""
    ranges = [PIXELS, *(Affine.covering(values) for values in activations(layers, images)[1:-1])]
    return [Int8Layer(layer, inputs) for layer, inputs in zip(layers, ranges, strict=True)]


def train(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    *,
    hidden: tuple[int, ...] = (512, 512),
    epochs: int = 12,
    rate: float = 0.1,
    rng: int = 0,
) -> list[Float32Layer]:
    """Fit `images` (M, 64) to `labels` (M,) by gradient descent with momentum on the cross-entropy.

    The weights start as He et al. (2015) draw them, from seed `rng`.
    """
    random = np.random.default_rng(rng)
    sizes = [images.shape[1], *hidden, int(labels.max()) + 1]
    layers = [
        Float32Layer(
            (random.standard_normal((k, n)) * np.sqrt(2 / k)).astype(np.float32), np.zeros(n, np.float32)
        )
        for k, n in itertools.pairwise(sizes)
    ]
    momentum = [Float32Layer(np.zeros_like(layer.weights), np.zeros_like(layer.bias)) for layer in layers]
    for epoch in range(epochs):
        step = np.float32(rate * (1 - epoch / epochs))
        for batch in np.array_split(random.permutation(len(images)), len(images) // 60):
            *values, output = activations(layers, images[batch])
            gradient = _softmax(output)
            gradient[np.arange(len(batch)), labels[batch]] -= 1
            gradient /= len(batch)
            for layer, velocity, value in zip(layers[::-1], momentum[::-1], values[::-1], strict=True):
                below = (gradient @ layer.weights.T) * (value > 0)
                _descend(layer.weights, velocity.weights, value.T @ gradient, step)
                _descend(layer.bias, velocity.bias, gradient.sum(axis=0), step)
                gradient = below
    return layers


def _descend(parameter: Floats, velocity: Floats, gradient: Floats, step: np.float32) -> None:
    velocity *= np.float32(0.9)
    velocity -= step * gradient
    parameter += velocity


def _softmax(x: Floats) -> Floats:
    powers: Floats = np.exp(x - x.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
