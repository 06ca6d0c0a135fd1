"""The data that ships with the package; README.md beside it states source and licence."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

__all__ = ["Digits", "digits"]


@dataclass(frozen=True)
class Digits:
    """Handwritten digits.

    Attributes
    ----------
    images: uint8 (1797, 64), rows of 8x8 pixels with values 0 (white) to 16.
    labels: uint8 (1797,), the digit 0 to 9 that each image shows.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def digits() -> Digits:
    """The test set of UCI's Optical Recognition of Handwritten Digits, in its own order."""
    path = resources.files(__name__) / "digits.npz"
    with path.open("rb") as file, np.load(file) as arrays:
        return Digits(arrays["images"], arrays["labels"])
