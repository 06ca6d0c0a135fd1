"""Kernels beside the ceiling, the stream, the round size and themselves on one thread."""

import dataclasses

import benching
import pytest
from benching import BLINK, FakeClock, case

from amx.backend import Backend
from amx.bench import calls, ceiling, kernels, memory, session
from amx.bench.grid import Dtype
from amx.bench.operands import make_operands
from amx.bench.ours import Kernel, call_of
from amx.bench.peers.peer import Form
from amx.bench.timing import Pace

emulated = benching.emulated  # a fixture


def test_a_rate_is_compared_with_the_neighbours_pair_by_pair(emulated, monkeypatch):
    """The kernel, and our calls of each form, in turns with the same of the round size."""
    clock = FakeClock()
    seconds = {8: 0.001, 16: 0.004}  # by M
    monkeypatch.setattr(kernels, "limit_of", lambda *_, **__: None)
    monkeypatch.setattr(kernels, "_streams", lambda *_: [])

    def run(kernel, repetitions):
        kernel.result[...] = call_of(kernel.operands, Form.PLAIN)()
        clock.time += repetitions * seconds[kernel.operands.case.shape.m]

    def timed_call(operands, form):
        call = call_of(operands, form)

        def timed():
            clock.time += seconds[operands.case.shape.m] * (2 if form is Form.PACKED else 1)
            return call()

        return timed

    monkeypatch.setattr(Kernel, "run", run)
    monkeypatch.setattr(calls, "call_of", timed_call)
    odd, beside = (make_operands(case(text), 1) for text in ("8x16x64", "16x16x64"))
    row = kernels.measure(odd, 1, Pace(4, 0.02), clock, 1, beside)
    # half the operations in a quarter of the time
    assert dataclasses.astuple(row.of_neighbour) == pytest.approx((2.0, 2.0, 2.0, 4))
    assert kernels.measure(odd, 1, Pace(4, 0.02), clock, 1).of_neighbour is None
    rows = calls.prepare(odd, [], 1, beside).measure(Pace(4, 0.02), clock)
    assert [row.of_neighbour.median for row in rows] == pytest.approx([2.0, 2.0])
    assert [row.seconds.median for row in rows] == pytest.approx([0.001, 0.002])
    rows = calls.prepare(odd, [], 1).measure(Pace(4, 0.02), clock)
    assert not any(row.of_neighbour for row in rows)


@pytest.mark.parametrize("native", Backend)
def test_a_kernel_is_a_share_of_the_ceiling_and_of_the_faster_stream(emulated, monkeypatch, native):
    """The ceiling and the loads do their known work in known seconds."""
    clock = FakeClock()

    def taking(seconds):
        def run(*given):
            clock.time += given[-1] * seconds

        return run

    def run(kernel, repetitions):
        kernel.result[...] = call_of(kernel.operands, Form.PLAIN)()
        clock.time += repetitions * 0.004

    limit = ceiling.Limit("fastest loop", 4096, taking(1e-6))
    monkeypatch.setattr(kernels, "limit_of", lambda *_, **__: limit)
    monkeypatch.setattr(Kernel, "run", run)
    monkeypatch.setattr(kernels, "engine", lambda _: native)
    monkeypatch.setattr(kernels, "tileload_side", lambda *_, t1: taking(0.002 if t1 else 0.003))
    monkeypatch.setattr(kernels, "stream_side", lambda *_: taking(0.002))
    operands = make_operands(case("16x96x192"), 1)
    row = kernels.measure(operands, 1, Pace(4, 0.02), clock, 1)
    assert row.ceiling == "fastest loop"
    assert row.of_ceiling.median == pytest.approx(2 * 16 * 96 * 192 / 0.004 / (4096 / 1e-6))
    # B has 96 x 192 bytes; the stream is that in whole turns of 8 KiB
    loaded = Kernel.of(operands, 1).packed_bytes // 8192 * 8192
    assert row.of_stream.median == pytest.approx(96 * 192 / 0.004 / (loaded / 0.002))
    assert row.b_gbs == pytest.approx(96 * 192 / 0.004 / 1e9)
    assert row.stream_gbs == pytest.approx(loaded / 0.002 / 1e9)
    assert row.copies == 1
    # all copies of B are what the stream reads
    row = kernels.measure(operands, 1, Pace(4, 0.02), clock, 1, copies=3)
    loaded = 3 * Kernel.of(operands, 1).packed_bytes // 8192 * 8192
    assert row.stream_gbs == pytest.approx(loaded / 0.002 / 1e9)
    assert row.of_stream.median == pytest.approx(96 * 192 / 0.004 / (loaded / 0.002))
    assert row.copies == 3
    assert kernels.measure(make_operands(case("33x96x192"), 1), 1, BLINK, clock, 1).of_stream is None


def test_copies_of_b_take_turns(emulated, monkeypatch):
    """Through all samples, so that each is the one that was not read for longest."""
    operands = make_operands(case("4x16x64"), 1)
    kernel = Kernel.of(operands, 1, copies=3)
    seen = []
    monkeypatch.setattr(Kernel, "_repeat", lambda _, repetitions, packed: seen.append((repetitions, packed)))
    kernel.run(2)
    kernel.run(5)
    one, two, three = kernel.packed
    assert seen == [(1, each) for each in (one, two, three, one, two, three, one)]
    assert kernel.packed_bytes == 3 * one.nbytes
    seen.clear()
    alone = Kernel.of(operands, 1)
    alone.run(7)
    assert seen == [(7, alone.packed[0])]


@pytest.mark.parametrize(
    ("text", "copies"),
    [
        ("1x4096x4096", 8),  # 16 MiB each, of 128
        ("16x4096x4096:bf16", 4),
        ("32x11008x4096", 3),  # 43 MiB
        ("33x4096x4096", 1),  # no stream
        ("1x1024x1024", 1),  # nobody would expect it in memory
        ("2x1x4096x4096", 1),
    ],
)
def test_a_stream_of_b_exceeds_the_caches(text, copies):
    assert memory.copies_of_b(case(text), 128 << 20) == copies
    assert session.Options((case(text),), ()).copies(case(text)) == copies
    assert memory.needed(case(text), 3) - memory.needed(case(text)) == memory.COPIES * 2 * (
        make_bytes(case(text))
    )


def make_bytes(product):
    """Of all B of a batch."""
    shape = product.shape
    return shape.batch * shape.k * shape.n * {Dtype.INT8: 1, Dtype.BF16: 2}[product.dtype]


def test_kernels_on_several_threads_are_compared_with_one(emulated, monkeypatch):
    """Pair by pair with the same product on one thread, which comes with a pause and a warm-up of its own."""
    seen, clock = [], FakeClock()
    monkeypatch.setattr(kernels, "limit_of", lambda *_, **__: None)

    def run(kernel, repetitions):
        seen.append(kernel.threads)
        kernel.result[...] = call_of(kernel.operands, Form.PLAIN)()
        clock.time += repetitions * 0.003 / kernel.threads

    monkeypatch.setattr(Kernel, "run", run)
    operands = make_operands(case("8x9x10"), 1)
    row = kernels.measure(operands, 3, Pace(4, 0.02), clock, 1)
    assert dataclasses.astuple(row.scaling) == pytest.approx((3.0, 3.0, 3.0, 4))
    assert row.seconds.median == pytest.approx(0.001)
    assert set(seen) == {1, 3}
    assert kernels.measure(operands, 1, Pace(4, 0.02), clock, 1).scaling is None
