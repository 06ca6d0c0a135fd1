"""The loops of csrc/bench/ on tiles: they compute the right products, and execute so many instructions."""

import native_lane
import numpy as np
import operands
import pytest

from amx._lib import ffi, lib
from amx.bench import ceiling, kernels
from amx.bench.grid import Case, Dtype, Shape
from amx.bench.operands import aligned, make_operands, pointer
from amx.bench.ours import Kernel
from amx.bench.timing import Pace, RealClock, Summary

pytestmark = pytest.mark.in_lane
TILE = 1024


@pytest.fixture(params=Dtype)
def dtype(request):
    """Each dtype that this CPU multiplies."""
    reason = ceiling.why_not_native(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


def trapped():
    """Instructions trapped so far; None where they run for real."""
    return native_lane.emulated() if native_lane.is_trapped() else None


def matrices_of(block):
    """The operands as matrices: (32, K) and (K, 32), from [chunk][tile][16][64 bytes]."""
    size = block.dtype.element.size
    kind = {1: np.int8, 2: np.uint16}[size]
    group, per_row = 4 // size, 64 // size
    a = block.a.view(kind).reshape(block.chunks, 2, 16, per_row)
    b = block.b.view(kind).reshape(block.chunks, 2, 16, 16, group)
    return (
        a.transpose(1, 2, 0, 3).reshape(32, -1),
        b.transpose(0, 2, 4, 1, 3).reshape(-1, 32),
    )


def result_of(block):
    """C as 32 x 32 words, from [row tile][column tile][16][16]."""
    return block.c.view(np.uint32).reshape(2, 2, 16, 16).transpose(0, 2, 1, 3).reshape(32, 32)


def expected(a, b, dtype):
    name = dtype.element.value
    return operands.expected(a, b, name).view(np.uint32)


def test_the_block_is_the_product_over_all_of_k(dtype):
    block = ceiling.Block.of(dtype, 1, seed=1, chunks=3)
    block.run(2)  # each round starts from zero
    np.testing.assert_array_equal(result_of(block), expected(*matrices_of(block), dtype))


def test_products_from_registers_are_those_of_the_first_chunk(dtype):
    block = ceiling.Block.of(dtype, 1, seed=2, chunks=2)
    block.run_products(1)
    a, b = matrices_of(block)
    k = a.shape[1] // 2
    np.testing.assert_array_equal(result_of(block), expected(a[:, :k], b[:k], dtype))


def test_every_round_adds_to_the_accumulators():
    block = ceiling.Block.of(Dtype.INT8, 1, seed=3, chunks=1)
    block.run_products(3)
    a, b = matrices_of(block)
    np.testing.assert_array_equal(result_of(block).view(np.int32), 3 * (a.astype(np.int64) @ b))


@pytest.mark.parametrize(
    "work",
    [
        lambda: ceiling.Block.of(Dtype.INT8, 1, seed=1, chunks=1).run(1),
        lambda: ceiling.Block.of(Dtype.INT8, 1, seed=1, chunks=1).run_products(1),
        lambda: ceiling.tileload_side(aligned(8 * TILE), 8 * TILE, 1)(1),
        lambda: Kernel.of(make_operands(Case(Shape(40, 40, 70), Dtype.INT8), 1), 1).run(2),
    ],
)
def test_the_tiles_are_released(work):
    work()
    config = ffi.new("uint8_t[64]", [1] * 64)
    lib.amx_sttilecfg(lib.AMX_NATIVE, config)
    assert bytes(ffi.buffer(config)) == bytes(64)


@pytest.mark.parametrize(
    ("run", "count"),
    [
        # ldtilecfg, tilerelease, 4 stores; 4 tilezero, 4 loads first; 4 products a round
        (lambda block: block.run_products(5), 2 + 4 + 4 + 4 + 4 * 5),
        # ldtilecfg, tilerelease, 4 stores; per round 4 tilezero, and per chunk 4 loads and 4 products
        (lambda block: block.run(5), 2 + 4 + 5 * (4 + 2 * 8)),
    ],
)
def test_so_many_instructions_execute(run, count):
    before = trapped()
    if before is None:
        pytest.skip("instructions are only counted where they trap")
    run(ceiling.Block.of(Dtype.INT8, 1, seed=1, chunks=2))
    assert trapped() - before == count


@pytest.mark.parametrize("t1", [False, True])
def test_so_many_loads_execute(t1):
    before = trapped()
    if before is None:
        pytest.skip("instructions are only counted where they trap")
    data = aligned(3 * 8 * TILE)
    lib.amx_bench_tileload(int(t1), 1, pointer(data), data.size, 4)
    assert trapped() - before == 2 + 4 * 3 * 8


def test_each_repetition_of_a_product_configures_and_releases():
    kernel = Kernel.of(make_operands(Case(Shape(16, 16, 64), Dtype.INT8), 1), 1)
    kernel.run(1)
    if (before := trapped()) is None:
        pytest.skip("instructions are only counted where they trap")
    kernel.run(1)
    once = trapped() - before
    kernel.run(3)
    assert trapped() - before == 4 * once


def test_all_threads_take_part():
    threads = int(lib.amx_gemm_threads())
    block = ceiling.Block.of(Dtype.INT8, threads, seed=1, chunks=1)
    before = trapped()
    block.run(1)
    if before is not None:
        assert trapped() - before == threads * (2 + 4 + 8) + 4


def test_the_ceiling_is_measured():
    """Every row has a rate where tiles can be used."""
    limits = ceiling.measure((Dtype.INT8,), (1,), 1 << 16, Pace(1, 1e-5, 0), RealClock(), 1)
    assert all(row.rate is not None for row in limits.rows)
    assert limits.compute(Dtype.INT8, 1) > 0
    assert limits.limit(Dtype.INT8, 1).name == ceiling.limit_of(Dtype.INT8, 1, seed=1).name == ceiling.BLOCK


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_is_compared_with_everything_on_tiles(dtype, threads):
    """With the ceiling, the stream of B, the round size beside it, and itself alone; rows lie apart."""
    if threads > int(lib.amx_gemm_threads()):
        pytest.skip("this process may use one CPU")
    odd, beside = Shape(10, 33, 70 * 16, ld=70 * 16), Shape(16, 32, 64 * 17)
    operands_, round_ = (make_operands(Case(shape, dtype), 1) for shape in (odd, beside))
    row = kernels.measure(operands_, threads, Pace(1, 1e-5, 0), RealClock(), 1, round_)
    assert row.native is not native_lane.is_trapped()
    assert row.difference == ""
    figures = [row.of_ceiling, row.of_stream, row.of_neighbour]
    assert all(isinstance(figure, Summary) and figure.low > 0 for figure in figures)
    assert (row.scaling is None) == (threads == 1)
