"""The loops of csrc/bench/vectors.c compute what NumPy does, and stand in the report as ceilings."""

import os

import numpy as np
import pytest

import amx
from amx import errors
from amx._lib import ffi, lib
from amx.bench import ceiling, team, vectors
from amx.bench.grid import Dtype
from amx.bench.timing import Pace, RealClock
from amx.bench.vectors import Loop, Vectors

ROWS = 6


@pytest.fixture(params=Loop, ids=lambda loop: loop.name)
def loop(request):
    """Each loop whose instructions this CPU has."""
    if not request.param.present:
        pytest.skip("the CPU lacks its instructions")
    return request.param


def matrices_of(vectors):
    """The operands as (6, K) and (K, columns), exact; from [step][row][4 bytes], [step][column][4 bytes]."""
    kinds = {
        "FMA": (np.float32, np.float32),
        "MADD": (np.int16, np.int16),
        "BUSD": (np.uint8, np.int8),
    }
    of_a, of_b = next(kind for name, kind in kinds.items() if name in vectors.loop.name)
    steps = vectors.a.size // (4 * ROWS)
    group = 4 // np.dtype(of_a).itemsize
    a = vectors.a.view(of_a).reshape(steps, ROWS, group).astype(np.int64)
    b = vectors.b.view(of_b).reshape(steps, -1, group).astype(np.int64)
    return a.transpose(1, 0, 2).reshape(ROWS, -1), b.transpose(0, 2, 1).reshape(steps * group, -1)


def result_of(vectors):
    """C as 6 rows; floats here are integers, and exact."""
    kind = np.float32 if "FMA" in vectors.loop.name else np.int32
    return vectors.c.view(kind).reshape(ROWS, -1).astype(np.int64)


def test_the_block_is_the_product_over_all_steps(loop):
    block = Vectors.of(loop, 1, seed=1, steps=5)
    block.run(2)  # each round starts from zero
    a, b = matrices_of(block)
    np.testing.assert_array_equal(result_of(block), a @ b)


def test_products_from_registers_are_those_of_the_first_row_and_step(loop):
    products = Vectors.of(loop, 1, seed=2, steps=2)
    products.run_products(3)
    a, b = matrices_of(products)
    k = a.shape[1] // 2
    np.testing.assert_array_equal(result_of(products), np.tile(3 * a[:1, :k] @ b[:k], (ROWS, 1)))


def test_bytes_of_a_are_unsigned_and_sums_are_modulo_2_32(loop):
    """Extremes: of 255 by -128, and of words whose two products exceed 32 bits."""
    block = Vectors.of(loop, 1, seed=3, steps=3)
    if "FMA" in loop.name:
        pytest.skip("floats have neither")
    block.a[:] = 255 if "BUSD" in loop.name else np.tile([0, 0x80], block.a.size // 2)
    block.b[:] = 128 if "BUSD" in loop.name else np.tile([0, 0x80], block.b.size // 2)
    block.run(1)
    a, b = matrices_of(block)
    np.testing.assert_array_equal(result_of(block), (a @ b).astype(np.uint32).view(np.int32))


def test_operations_are_two_for_each_multiplication(loop):
    """An int8 product by VPMADDWD on 32 bytes is 16 multiplications: 32 operations, 12 times."""
    one = Vectors.of(loop, 1, seed=1, steps=1)
    a, b = matrices_of(one)
    assert one.operations_of_products == 2 * a.shape[0] * a.shape[1] * b.shape[1]
    assert Vectors.of(loop, 2, seed=1, steps=7).operations == 2 * 7 * one.operations
    if loop is Loop.VPMADDWD_YMM:
        assert one.operations_of_products == 12 * 32


def test_all_threads_take_part_and_a_missing_one_is_no_figure(loop):
    threads = int(lib.amx_gemm_threads())
    block = Vectors.of(loop, threads, seed=1, steps=2)
    block.run(3)
    a, b = matrices_of(block)
    np.testing.assert_array_equal(result_of(block), a @ b)
    with pytest.raises(errors.AmxUnavailableError, match="No more threads"):
        team.expect(threads + 1, threads)


@pytest.mark.parametrize(
    ("number", "steps", "rounds"), [(-1, 1, 1), (len(Loop), 1, 1), (0, 0, 1), (0, 1, 0), (0, -1, 1)]
)
def test_what_cannot_run_is_refused(number, steps, rounds):
    memory = ffi.new("char[4096]")
    assert lib.amx_bench_vector_block(number, 1, memory, memory, memory, steps, rounds) < 0
    if steps == 1:
        assert lib.amx_bench_vector_products(number, 1, memory, memory, memory, rounds) < 0


def test_loops_are_there_as_the_cpu_announces():
    """By /proc/cpuinfo, which is the kernel's word."""
    with open("/proc/cpuinfo") as file:
        flags = next(set(line.split()) for line in file if line.startswith("flags"))
    wanted = {
        Loop.PMADDWD_XMM: "sse2",
        Loop.VPMADDWD_YMM: "avx2",
        Loop.VPMADDWD_ZMM: "avx512bw",
        Loop.VPDPBUSD_YMM: "avx_vnni",
        Loop.VPDPBUSD_ZMM: "avx512_vnni",
        Loop.FMA_YMM: "fma",
        Loop.FMA_ZMM: "avx512f",
    }
    assert {loop: loop.present for loop in Loop} == {loop: flag in flags for loop, flag in wanted.items()}


@pytest.mark.parametrize(
    ("names", "of_int8", "of_bf16"),
    [
        (["PMADDWD_XMM"], ["PMADDWD_XMM"], []),
        (["PMADDWD_XMM", "VPMADDWD_YMM", "FMA_YMM"], ["VPMADDWD_YMM"], ["FMA_YMM"]),
        (["VPMADDWD_YMM", "VPDPBUSD_YMM", "FMA_YMM"], ["VPDPBUSD_YMM", "VPMADDWD_YMM"], ["FMA_YMM"]),
        (
            ["VPMADDWD_YMM", "VPMADDWD_ZMM", "FMA_YMM", "FMA_ZMM"],
            ["VPMADDWD_ZMM", "VPMADDWD_YMM"],
            ["FMA_ZMM", "FMA_YMM"],
        ),
    ],
)
def test_the_first_loop_is_the_ceiling(monkeypatch, names, of_int8, of_bf16):
    monkeypatch.setattr(Loop, "present", property(lambda loop: loop.name in names))
    for dtype, wanted in ((Dtype.INT8, of_int8), (Dtype.BF16, of_bf16), (Dtype.FP16, of_bf16)):
        assert [loop.name for loop in vectors.loops_for(dtype)] == wanted
        first = vectors.loop_for(dtype)
        assert (first.name if first else None) == (wanted[0] if wanted else None)


def test_the_ceiling_without_tiles_is_the_pair_from_registers():
    """A rate for every loop of the dtypes, on one thread; the percentages' row names its instructions."""
    amx.set_backend("emulated")
    try:
        limits = ceiling.measure((Dtype.INT8, Dtype.FP16), (1,), 1 << 16, Pace(1, 1e-5, 0), RealClock(), 1)
        for dtype in (Dtype.INT8, Dtype.FP16):
            loop = vectors.loop_for(dtype)
            if loop is None:
                assert limits.limit(dtype, 1) is None
                continue
            row = limits.limit(dtype, 1)
            assert row.name == f"{loop.value}, from registers"
            assert limits.compute(dtype, 1) == row.rate.median > 0
            assert ceiling.limit_of(dtype, 1, seed=1).name == row.name
            assert limits.limit(dtype, 2) is limits.limit(Dtype.BF16, 1) is None
        names = [row.name for row in limits.rows if row.rate]
        for loop in (*vectors.loops_for(Dtype.INT8), *vectors.loops_for(Dtype.FP16)):
            assert names.count(f"{loop.value}, from registers") == 1
            assert names.count(f"{loop.value}, 6x2 block from L1") == 1
    finally:
        amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))
