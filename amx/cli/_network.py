"""A small digit classifier: trained in float32 with NumPy, then run in int8 and in bfloat16 by `amx.Linear`.

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
    "Float32Layer",
    "activations",
    "classify",
    "rounded",
    "train",
]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Float32Layer:
    """Weights (K, N) and bias (N,), multiplied by NumPy."""

    weights: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        """Outputs (M, N) for inputs (M, K)."""
        return x @ self.weights + self.bias


Layer = Callable[[Floats], Floats]


def activations(layers: Sequence[Layer], images: NDArray[np.uint8]) -> list[Floats]:
    """The input of each layer for `images` (M, 64), and the last layer's output behind them."""
    values = [_real(images)]
    for number, layer in enumerate(layers, start=1):
        output = layer(values[-1])
        values.append(np.maximum(output, 0) if number < len(layers) else output)
    return values


def _real(images: NDArray[np.uint8]) -> Floats:
    """Pixels, which are stored as 0 to 16, as -1 to 1."""
    return images.astype(np.float32) * np.float32(1 / 8) - np.float32(1)


def classify(layers: Sequence[Layer], images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The class (M,) of each of `images` (M, 64)."""
    classes: NDArray[np.intp] = activations(layers, images)[-1].argmax(axis=1)
    return classes


def rounded(layers: Sequence[Float32Layer], dtype: str) -> list[amx.Linear]:
    """The layers in int8 or bfloat16."""
    return [amx.Linear(layer.weights.T, layer.bias, dtype=dtype) for layer in layers]


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
