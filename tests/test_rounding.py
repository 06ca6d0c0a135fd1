"""float32 operands rounded to bfloat16 and float16: csrc/gemm/round.c through amx/dtypes.py."""

import ctypes
import os

import ml_dtypes
import numpy as np
import pytest

import amx
from amx import dtypes
from amx._lib import lib
from amx.dtypes import Element, as_elements

CARRIERS = {Element.BFLOAT16: np.dtype(ml_dtypes.bfloat16), Element.FLOAT16: np.dtype(np.float16)}
PATHS = {"scalar": 0, "avx2": 1}  # enum amxemu_path
FE_ALL_EXCEPT = 0x3F


@pytest.fixture(params=PATHS)
def path(request):
    before = lib.amxemu_selected_path()
    if lib.amxemu_select_path(PATHS[request.param]) != 0:
        pytest.skip("this CPU has no AVX2 and F16C")
    yield request.param
    lib.amxemu_select_path(before)


def rounded(array, element):
    """What NumPy and ml_dtypes make of it, and of NaN what amx.h says, as bits."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        want = np.ascontiguousarray(array).astype(CARRIERS[element]).view(np.uint16)
    word = np.ascontiguousarray(array).view(np.uint32)
    dropped, exponent, quiet = (16, 0x7F80, 0x40) if element is Element.BFLOAT16 else (13, 0x7C00, 0x200)
    nan = word >> 16 & 0x8000 | exponent | quiet | (word & 0x7FFFFF) >> dropped
    return np.where(np.isnan(array), nan.astype(np.uint16), want)


def bits(array, element):
    """What this package makes of it, as bits."""
    found, of = as_elements(array, element, "a")
    assert of is element
    assert found.shape == array.shape
    return np.ascontiguousarray(found).view(np.uint16)


def words(low):
    """Every sign, exponent and upper fraction, with the lower 16 bits given."""
    return (np.arange(1 << 16, dtype=np.uint32) << 16 | low).view(np.float32)


# For bfloat16 the lower half decides alone: zero, the least above it, just below, at and just above the tie,
# the most. For float16 three bits more are dropped, and more of them where the result is denormal.
@pytest.mark.parametrize("low", [0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
@pytest.mark.parametrize("element", CARRIERS)
def test_every_upper_half(path, element, low):
    values = words(low)
    np.testing.assert_array_equal(bits(values, element), rounded(values, element))


@pytest.mark.parametrize("element", CARRIERS)
def test_random_words(path, element):
    values = np.random.default_rng(5).integers(0, 2**32, 1 << 20, np.uint32).view(np.float32)
    np.testing.assert_array_equal(bits(values, element), rounded(values, element))


@pytest.mark.parametrize("element", CARRIERS)
def test_every_length_at_every_address(path, element):
    """No element is left out or taken from beside it: those beside are NaN."""
    for count in range(40):
        for offset in range(5):
            memory = np.full(4 * count + 64, 0xFF, np.uint8)
            values = memory[offset : offset + 4 * count].view(np.float32)
            values[...] = np.arange(count) + 0.3
            np.testing.assert_array_equal(bits(values, element), rounded(values, element))


def layouts():
    base = np.random.default_rng(6).standard_normal((6, 8, 10, 4)).astype(np.float32)
    return {
        "rows apart": base[0, :, :, 0].copy()[:, :7],
        "columns apart": base[0, 0].copy().T[:3],
        "column order": np.asfortranarray(base[1, 1]),
        "backwards": base[2, 2][::-1, ::-1],
        "every other": base[3, ::2, ::3, 1],
        "heads": base.transpose(0, 2, 1, 3),
        "a part of heads": base.transpose(0, 2, 1, 3)[:, 1:7],
        "transposed items": base[0].swapaxes(-1, -2),
        "broadcast": np.broadcast_to(base[0, 0], (5, 10, 4)),
        "broadcast column": np.broadcast_to(base[0, 0, :, :1], (10, 9)),
        "one row": base[:1, 0, 0],
        "empty": base[:, :, :0],
        "nothing of one axis": base[:0],
        "scalar": np.array(0.3, np.float32),
        "vector": base[0, :, 0, 0],
    }


@pytest.mark.parametrize("name", layouts())
@pytest.mark.parametrize("element", CARRIERS)
def test_every_layout(element, name):
    array = layouts()[name]
    np.testing.assert_array_equal(bits(array, element), rounded(array, element))


@pytest.mark.parametrize("name", ["broadcast", "heads", "column order", "transposed items"])
def test_what_is_there_once_is_rounded_once_and_stays_in_its_order(name):
    """A copy in another order would be a transposition, and one of a broadcast as large as it seems."""
    array = layouts()[name]
    found, _ = as_elements(array, Element.BFLOAT16, "a")
    assert [2 * stride for stride in found.strides] == list(array.strides)


@pytest.mark.parametrize("element", CARRIERS)
@pytest.mark.parametrize("shape", [(1, 300_001), (3000, 100), (70, 4097)])
def test_threads_share_the_work(element, shape):
    """More than one thread is worth: the same bits on one and on all, whole or cut from wider rows."""
    wide = np.random.default_rng(7).standard_normal((shape[0], shape[1] + 3)).astype(np.float32)
    for array in (wide[:, : shape[1]], wide[:, : shape[1]].copy()):
        want = rounded(array, element)
        for limit in (1, None):
            amx.set_num_threads(limit)
            try:
                np.testing.assert_array_equal(bits(array, element), want)
            finally:
                amx.set_num_threads(None)


def test_a_forked_child_rounds_too():
    """Whose OpenMP threads are not there any more."""
    array = np.random.default_rng(8).standard_normal(1 << 20).astype(np.float32)
    want = rounded(array, Element.BFLOAT16)
    assert np.array_equal(bits(array, Element.BFLOAT16), want)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(bits(array, Element.BFLOAT16), want) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_floating_point_flags_are_the_callers(path):
    """Overflow and inexact results raise nothing, and leave no flag behind."""
    libm = ctypes.CDLL("libm.so.6")
    source = np.full(64, 1e30 / 3, np.float32)
    target = np.empty(64, np.uint16)
    of, to = dtypes.address(source), dtypes.address(target)
    libm.feclearexcept(FE_ALL_EXCEPT)
    lib.amx_round(lib.AMX_FP16, 1, 1, 64, of, 0, to)
    assert libm.fetestexcept(FE_ALL_EXCEPT) == 0
    assert (target == 0x7C00).all()
