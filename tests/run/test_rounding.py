"""float32 operands rounded to bfloat16 and float16: csrc/gemm/round.c through amx/dtypes.py."""

import ctypes
import tracemalloc

import children
import ml_dtypes
import numpy as np
import pytest

import amx
from amx import dtypes, parts
from amx._lib import lib
from amx.dtypes import Element, as_elements

CARRIERS = {Element.BFLOAT16: np.dtype(ml_dtypes.bfloat16), Element.FLOAT16: np.dtype(np.float16)}
PATHS = {"scalar": 0, "avx2": 1}  # enum amxemu_path
FE_DIVBYZERO, FE_ALL_EXCEPT = 0x04, 0x3F


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
        "long rows apart": np.resize(base, (3, 310))[:, :300],
        "long rows backwards": np.resize(base, (3, 310))[::-1, :300],
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


def test_rows_apart_are_not_copied_first():
    array = np.ones((600, 1030), np.float32)[:, :1000]
    tracemalloc.start()
    try:
        found, _ = as_elements(array, Element.BFLOAT16, "a")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1.1 * found.nbytes
    assert found.ctypes.data % 64 == 0  # so that a product need not copy it again


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


THREADS = """
import os, signal, sys
import numpy as np
import amx
from amx.dtypes import Element, as_elements

array = np.arange(1 << 20, dtype=np.float32)

def tasks_of(limit):
    amx.set_num_threads(limit)
    found, _ = as_elements(array, Element.BFLOAT16, "a")
    assert found[-1] == 0x4980, hex(found[-1])  # 2**20 - 1 is nearest to 2**20
    return len(os.listdir("/proc/self/task"))

before = len(os.listdir("/proc/self/task"))
assert tasks_of(1) == before
assert tasks_of(None) > before
child = os.fork()
if child == 0:
    try:
        signal.alarm(30)
        os._exit(0 if len(os.listdir("/proc/self/task")) == 1 and tasks_of(None) == 2 else 1)
    finally:
        os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_as_many_threads_as_may_be_also_in_a_forked_child():
    """A limit holds for rounding too, and a child, which has none of its parent's threads, makes its own."""
    done = children.run_python("-c", THREADS, OMP_NUM_THREADS="2")
    assert children.how_it_ended(done) == 0, done.stderr


def test_the_product_of_what_was_rounded_goes_the_shortest_way(monkeypatch):
    amx.set_backend("emulated")
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    packed = amx.pack(b, dtype="bfloat16")
    want = amx.matmul(a, b, dtype="bfloat16")
    monkeypatch.setattr(parts, "call", None)
    for second in (b, packed):
        out = np.empty_like(want)
        assert amx.matmul(a, second, dtype="bfloat16", out=out) is out
        np.testing.assert_array_equal(out, want)
        np.testing.assert_array_equal(amx.matmul(a, second, dtype="bfloat16"), want)


def test_floating_point_flags_are_the_callers(path):
    """Overflow and inexact results raise nothing, leave no flag behind, and take none away."""
    libm = ctypes.CDLL("libm.so.6")
    source = np.full(64, 1e30 / 3, np.float32)
    target = np.empty(64, np.uint16)
    of, to = dtypes.address(source), dtypes.address(target)
    for before in (0, FE_DIVBYZERO):
        libm.feclearexcept(FE_ALL_EXCEPT)
        libm.feraiseexcept(before)
        lib.amx_round(lib.AMX_FP16, 1, 1, 64, of, 0, to)
        assert libm.fetestexcept(FE_ALL_EXCEPT) == before
        assert (target == 0x7C00).all()
        target[:] = 0
