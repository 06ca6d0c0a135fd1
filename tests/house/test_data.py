"""The data that ships with the package."""

import numpy as np

from amx.data import digits


def test_digits_are_1797_images_of_64_pixels_from_0_to_16():
    images = digits().images
    assert (images.dtype, images.shape, images.min(), images.max()) == (np.uint8, (1797, 64), 0, 16)


def test_the_labels_are_counted_as_uci_counts_them():
    # optdigits.names of the UCI repository, class distribution of the test set
    assert np.bincount(digits().labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
