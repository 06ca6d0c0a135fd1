"""The fault that ci/sanitize --self-test plants; every other build is without it."""

import ctypes

from amx import _native


def test_no_overflow_is_planted():
    library = ctypes.CDLL(_native.__file__)
    planted = hasattr(library, "amx_planted_overflow")
    if planted:
        library.amx_planted_overflow(ctypes.c_size_t(64))  # a sanitizer ends the process here
    assert not planted
