"""`amx bench`: statistics, the grid, the protocol of peers, and what the command prints and writes."""

import csv
import dataclasses
import errno
import io
import itertools
import json
import os
import re
import sys

import children
import ml_dtypes
import numpy as np
import pytest
from rich.console import Console

import amx
from amx import cli
from amx._lib import lib
from amx.bench import (
    calls,
    ceiling,
    emulation,
    goals,
    kernels,
    memory,
    peers,
    recorded,
    records,
    session,
    tables,
)
from amx.bench.calls import CallRow
from amx.bench.grid import PRESETS, Case, Dtype, Shape, parse_preset
from amx.bench.kernels import KernelRow
from amx.bench.neighbour import neighbour
from amx.bench.operands import aligned, make_full_range, make_operands, pointer
from amx.bench.ours import Kernel, call_of
from amx.bench.peers import peer as protocol
from amx.bench.peers.peer import AmxUse, Form, Peer, Product, UnsupportedError, Verdict
from amx.bench.peers.torch import implementations
from amx.bench.timing import MOST_PAUSES, Pace, Side, Summary, calibrate, interleave, ratios, summarise
from amx.caches import own_caches

BLINK = Pace(rounds=2, sample=1e-6, pause=0.0)


class FakeClock:
    """Time that passes only where it is told to."""

    def __init__(self):
        self.time = 0.0
        self.slept = []
        self.spinning = 0.0  # seconds that threads will still burn a CPU while we sleep

    def now(self):
        return self.time

    def busy(self):
        return -self.spinning

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
        self.spinning = max(0.0, self.spinning - seconds)


class FakePeer(Peer):
    """A library that multiplies with NumPy's int64, as `behaviour` has it."""

    name = "fake"
    module = package = "numpy"

    def __init__(self, behaviour="right"):
        self.behaviour = behaviour

    def prepare(self, operands, form, threads):
        if self.behaviour == "fails":
            raise RuntimeError("out of luck")
        if form is Form.PACKED:
            raise UnsupportedError("no packed operands")
        product = np.matmul(operands.a.astype(np.int64), operands.b).astype(np.int32)
        if self.behaviour == "wrong":
            product.flat[-1] ^= 1
        if self.behaviour == "transposed":
            product = product.T
        left = itertools.count(2, -1)  # calls that succeed: the one that is compared, and that of amx.used

        def call():
            if self.behaviour == "fails later" and next(left) <= 0:
                raise MemoryError("out of luck in the end")
            return product

        return Product(call, lambda result: result, None)


class Nobody:
    """Progress for nobody."""

    def start(self, steps):
        self.left = steps

    def step(self, text):
        self.left -= 1


def case(text):
    (only,) = parse_preset(text, (Dtype.INT8,))
    return only


@pytest.fixture
def emulated():
    amx.set_backend("emulated")
    yield
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


@pytest.fixture
def small(monkeypatch):
    """Streams of 1 MiB, and nothing larger than 64 x 64 x 64."""
    monkeypatch.setattr(session, "QUICK_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr(session, "LARGEST_QUICK", 1 << 19)


def report_of(*texts, behaviour="right", others=()):
    options = session.Options(
        tuple(case(text) for text in texts), (FakePeer(behaviour), *others), quick=True, seed=7
    )
    return session.run(options, Nobody())


# ---- statistics ------------------------------------------------------------------------------------------


def test_a_summary_is_median_least_and_greatest():
    assert summarise([3.0, 1.0, 2.0, 10.0]) == Summary(2.5, 1.0, 10.0, 4)


def test_ratios_are_taken_pair_by_pair():
    # The machine slowed down tenfold in the second round; medians of each side would give 1.
    assert ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == Summary(2.0, 2.0, 2.0, 3)


def test_ratios_need_pairs():
    with pytest.raises(ValueError, match="argument 2"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize("cost", [1e-9, 3e-6, 0.01, 5.0])
def test_repetitions_are_calibrated_to_last_long_enough(cost):
    clock = FakeClock()

    def run(count):
        clock.time += count * cost

    count = calibrate(run, 0.02, clock)
    assert count * cost >= 0.02
    assert count == 1 or count * cost <= 0.02 * 12


def test_interleaving_gives_the_seconds_of_one_repetition_of_each_side():
    clock = FakeClock()

    def side(name, cost):
        def run(count):
            clock.time += count * cost

        return Side(name, name, run)

    samples = interleave([side("a", 0.001), side("b", 0.004)], Pace(5, 0.02), clock)
    assert [len(each) for each in samples] == [5, 5]
    assert np.allclose(samples[0], 0.001)
    assert np.allclose(samples[1], 0.004)


def test_a_change_of_sides_brings_a_pause_and_then_a_warm_up():
    clock, events = FakeClock(), []

    def side(name, library):
        def run(count):
            events.append(name)
            clock.time += count * 0.1

        return Side(name, library, run)

    sides = [side("ours", "amx"), side("ours packed", "amx"), side("theirs", "peer")]
    pace = Pace(2, 0.02)
    interleave(sides, pace, clock)
    # one run each to calibrate, after a pause for each library; then "amx" comes in with a warm-up and stays
    # for two samples, and so on; the second round begins one side later
    assert events[3:] == [
        "ours", "ours", "ours packed", "theirs", "theirs",
        "ours packed", "ours packed", "theirs", "theirs", "ours", "ours",
    ]  # fmt: skip
    assert clock.slept == [pace.pause] * (2 + 5)
    assert pace.pause >= 0.020


@pytest.mark.parametrize(
    ("spins", "pauses"), [(0.001, 1), (0.005, 2), (0.1, 6), (100.0, MOST_PAUSES)], ids=str
)
def test_the_next_library_waits_until_workers_of_the_last_one_rest(spins, pauses):
    """OpenBLAS's spin for 100 ms: five pauses of 20 ms that are burnt, and one that is not."""
    clock = FakeClock()

    def spin(count):
        clock.time += count * 0.1
        clock.spinning = spins

    interleave([Side("theirs", "peer", spin), Side("ours", "amx", spin)], Pace(1, 0.02), clock)
    # nobody spins before the first calibration
    assert len(clock.slept) == 1 + 3 * pauses


def test_every_side_is_first_once():
    clock, first = FakeClock(), []

    def side(name):
        def run(count):
            first.append(name)
            clock.time += count

        return Side(name, "one", run)

    interleave([side(name) for name in "abc"], Pace(3, 0.02), clock)
    assert "".join(first[3:]) == "a" + "abc" + "bca" + "cab"  # after the calibration, one warm-up


# ---- the grid --------------------------------------------------------------------------------------------


def test_shapes_are_m_n_k():
    assert case("2x3x5") == Case(Shape(m=2, n=3, k=5), Dtype.INT8)
    assert case("7x2x3x5") == Case(Shape(m=2, n=3, k=5, batch=7), Dtype.INT8)
    assert case("7x2x3x5:bf16").dtype is Dtype.BF16
    assert case("2x3x5@8") == Case(Shape(m=2, n=3, k=5, ld=8), Dtype.INT8)
    assert case("7x2x3x5@5:bf16") == Case(Shape(m=2, n=3, k=5, batch=7, ld=5), Dtype.BF16)


def test_a_shape_without_dtype_is_one_product_of_each():
    cases = parse_preset("2x3x5", (Dtype.INT8, Dtype.FP16))
    assert [each.dtype for each in cases] == [Dtype.INT8, Dtype.FP16]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cube",
        "2x3",
        "2x3x5x7x11",
        "-1x2x3",
        "2x3x5:int4",
        "2x0x5",
        "2x3x5:",
        "2x3x5@",
        "2x3x5@4",
        "2x5x3@4",
        "2x3x5@0",
        "2x3x5@-8",
        "2x3x5:int8@8",
        "2x3x5@8@8",
        "٢x3x5",
    ],
)
def test_what_is_no_shape_is_an_error_that_names_it(text):
    with pytest.raises(ValueError, match=r"preset|dtype|dimension|leading"):
        parse_preset(text, (Dtype.INT8,))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_distinct_products(name):
    cases = parse_preset(name, (Dtype.INT8, Dtype.BF16))
    assert len(set(cases)) == len(cases) == 2 * len(PRESETS[name])


def test_a_case_reads_as_it_is_written():
    for each in itertools.chain.from_iterable(parse_preset(name, tuple(Dtype)) for name in PRESETS):
        assert case(str(each)) == each


def test_operations_and_bytes():
    shape = Shape(2, 3, 5, batch=7)
    assert shape.operations == 7 * 2 * 30
    assert shape.bytes(Dtype.INT8) == 7 * (10 + 15 + 24)
    assert shape.bytes(Dtype.BF16) == 7 * (20 + 30 + 24)


# ---- data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", Dtype)
def test_operands_are_dense_and_the_same_for_a_seed(dtype):
    product = Case(Shape(40, 30, 50, 3), dtype)
    one, again, other = (make_operands(product, seed) for seed in (1, 1, 2))
    assert one.a.shape == (3, 40, 50)
    assert one.b.shape == (3, 50, 30)
    assert (one.a_float32 != 0).all()
    assert (one.b_float32 != 0).all()
    np.testing.assert_array_equal(one.a, again.a)
    assert (one.a != other.a).any()
    assert (one.b_float32 < 0).any()


@pytest.mark.parametrize("dtype", Dtype)
def test_rows_lie_a_leading_dimension_apart(dtype):
    """Those of both operands, and of the kernel's result; what lies between is dense too."""
    operands = make_operands(Case(Shape(4, 3, 5, batch=2, ld=8), dtype), 1)
    kernel = Kernel.of(operands, 1)
    for array, rows, columns in ((operands.a, 4, 5), (operands.b, 5, 3), (kernel.result, 4, 3)):
        assert array.shape == (2, rows, columns)
        assert array.strides == (rows * 8 * array.itemsize, 8 * array.itemsize, array.itemsize)
    assert np.count_nonzero(operands.a.base) == operands.a.base.size


def test_an_int8_first_operand_is_the_same_numbers_as_uint8():
    a = make_operands(case("40x30x50"), 1).a
    np.testing.assert_array_equal(a, a.view(np.uint8))


def test_bfloat16_bits_are_read_as_their_values():
    operands = make_operands(case("4x3x5:bf16"), 1)
    np.testing.assert_array_equal(operands.a_float32, operands.a.view(ml_dtypes.bfloat16).astype(np.float32))


def test_aligned_memory_is_aligned():
    assert all(aligned(size).ctypes.data % 64 == 0 for size in (1, 64, 100, 4096))


def test_caches_have_the_order_of_their_levels():
    caches = own_caches()
    assert 4 << 10 <= caches.l1 < caches.l2 <= 64 << 20


# ---- streams -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [lib.AMX_STREAM_WRITE, lib.AMX_STREAM_WRITE_NT])
@pytest.mark.parametrize("threads", [1, int(lib.amx_gemm_threads())])
def test_a_stream_writes_every_line_and_nothing_else(kind, threads):
    data = aligned(64 * 1003)
    inside = data[64 : 64 * 1002]
    assert lib.amx_bench_stream(kind, threads, pointer(inside), inside.size, 3) == threads
    assert (inside.view(np.uint64)[::2] == 3).all()  # the number of the last round
    assert not data[:64].any()
    assert not data[64 * 1002 :].any()


def test_a_stream_reads_and_leaves_what_it_reads():
    data = aligned(64 * 1003)
    data[:] = 7
    assert lib.amx_bench_stream(lib.AMX_STREAM_READ, 1, pointer(data), data.size, 2) == 1
    assert (data == 7).all()


@pytest.mark.parametrize(("offset", "size", "rounds"), [(1, 64, 1), (0, 63, 1), (0, 64, -1)])
def test_a_stream_of_part_of_a_line_is_refused(offset, size, rounds):
    data = aligned(256)
    assert lib.amx_bench_stream(lib.AMX_STREAM_READ, 1, pointer(data[offset:]), size, rounds) == -errno.EINVAL
    assert lib.amx_bench_stream(99, 1, pointer(data), 256, 1) == -errno.EINVAL


# ---- our side --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["33x17x65", "3x5x7x70", "33x17x65:bf16", "3x5x7x70:fp16", "33x17x65@128", "3x5x7x70@71:bf16"]
)
def test_kernel_and_calls_give_the_same_bits(emulated, text):
    operands = make_operands(case(text), 1)
    plain = call_of(operands, Form.PLAIN)()
    kernel = Kernel.of(operands, 1)
    kernel.run(2)
    assert kernel.result.tobytes() == plain.tobytes() == call_of(operands, Form.PACKED)().tobytes()
    if operands.case.dtype is Dtype.INT8:
        np.testing.assert_array_equal(plain, np.matmul(operands.a.astype(np.int64), operands.b))


# ---- peers -----------------------------------------------------------------------------------------------


def test_a_right_result_agrees(emulated):
    rows = calls.prepare(make_operands(case("8x9x10"), 1), [FakePeer()], 1).measure(BLINK, FakeAdvance())
    assert [(row.library, row.form.value) for row in rows] == [
        ("amx", "plain"), ("amx", "packed"), ("fake", "plain"), ("fake", "packed"),
    ]  # fmt: skip
    assert not any(row.difference for row in rows)
    assert [row.ratio is None for row in rows] == [True, True, False, True]
    assert rows[3].reason == "no packed operands"
    assert calls.best(rows, case("8x9x10"), Form.PLAIN) is rows[2]
    assert calls.best(rows, case("8x9x10"), Form.PACKED) is None


class FakeAdvance(FakeClock):
    """A millisecond passes whenever somebody looks."""

    def now(self):
        self.time += 0.001
        return self.time


@pytest.mark.parametrize(
    ("behaviour", "words"), [("wrong", "1 of 72 integers differ"), ("transposed", "has shape (9, 8)")]
)
def test_a_wrong_result_is_said_and_never_the_best(emulated, behaviour, words):
    operands = make_operands(case("8x9x10"), 1)
    rows = calls.prepare(operands, [FakePeer(behaviour)], 1).measure(BLINK, FakeAdvance())
    assert words in rows[2].difference
    assert calls.best(rows, operands.case, Form.PLAIN) is None


class Saturating(FakePeer):
    """As kernels for AVX2 without VNNI: sums of two products of uint8 by int8 end at the limits of int16."""

    name = "saturating"

    def prepare(self, operands, form, threads):
        a, b = operands.a.view(np.uint8).astype(np.int64), operands.b.astype(np.int64)
        if a.shape[-1] % 2:
            a, b = (np.concatenate([each, np.zeros_like(each[row])], axis) for each, row, axis in (
                (a, np.s_[..., :1], -1), (b, np.s_[..., :1, :], -2)))  # fmt: skip
        product = np.zeros((*a.shape[:-1], b.shape[-1]), np.int64)
        for k in range(0, a.shape[-1], 2):
            product += np.clip(a[..., k : k + 2] @ b[..., k : k + 2, :], -(1 << 15), (1 << 15) - 1)
        return Product(lambda: product.astype(np.int32), lambda result: result, None, unsigned=True)


class Unsigned(FakePeer):
    """As kernels with VNNI or AMX: uint8 by int8, and right."""

    name = "unsigned"

    def prepare(self, operands, form, threads):
        product = np.matmul(operands.a.view(np.uint8).astype(np.int64), operands.b).astype(np.int32)
        return Product(lambda: product, lambda result: result, None, unsigned=True)


def judged(text, *peers):
    """The rows of a product's peers."""
    operands, full = make_operands(case(text), 1), make_full_range(case(text), 1)
    rows = calls.prepare(operands, peers, 1, None, full).measure(BLINK, FakeAdvance())
    return [row for row in rows if row.library != calls.OURS]


@pytest.mark.parametrize("text", ["8x9x10", "1x1x2", "3x8x9x10", "9x8x11@20", "200x30x64"])
def test_a_peer_that_saturates_is_wrong_and_not_timed(emulated, text):
    """Though it is right where no two products leave the range of int16, as with the data that are timed."""
    for row in judged(text, Saturating()):
        assert re.search(
            r"^\d+ of \d+ sums of uint8 by int8 products of full-range data are wrong, for example -?\d+ "
            r"instead of -?\d+$",
            row.wrong,
        )
        assert row.reason == f"wrong: {row.wrong}"
        assert (row.seconds, row.gops, row.ratio, row.difference) == (None, None, None, "")
        assert calls.best([row], row.case, row.form) is None


@pytest.mark.parametrize("text", ["8x9x10", "1x1x1", "3x8x9x10", "9x8x11@20", "200x30x64"])
@pytest.mark.parametrize("kind", [FakePeer, Unsigned])
def test_a_peer_that_is_right_of_either_signedness_is_timed(emulated, text, kind):
    plain = judged(text, kind())[0]
    assert plain.wrong == ""
    assert plain.seconds


def test_one_product_alone_cannot_saturate(emulated):
    assert [row.wrong for row in judged("8x9x1", Saturating())] == ["", ""]


def test_full_range_data_have_all_extremes_and_an_exact_product():
    """Also as uint8, and of all rows of a small product."""
    full = make_full_range(case("5x7x300"), 3)
    a, b = full.operands.a, full.operands.b
    assert (a.min(), a.max(), b.min(), b.max()) == (-128, 127, -128, 127)
    assert (a.view(np.uint8).min(), a.view(np.uint8).max()) == (0, 255)
    for (exact, magnitude), first in ((full.signed, a), (full.unsigned, a.view(np.uint8))):
        first = first.astype(np.int64)
        np.testing.assert_array_equal(exact, np.matmul(first, b))
        np.testing.assert_array_equal(magnitude, np.matmul(np.abs(first), np.abs(b.astype(np.int64))))
    assert make_full_range(case("5x7x9:bf16"), 3) is None
    assert len(make_full_range(case("5000x7x9"), 3).rows) < 70


def test_a_peer_of_floats_is_judged_within_its_rounding(emulated):
    """As float32, whose sums of 3,000 products of bytes are no longer exact."""

    class Rounding(FakePeer):
        error = 0.0

        def prepare(self, operands, form, threads):
            product = operands.a.astype(np.float32) @ operands.b.astype(np.float32)
            return Product(lambda: product * np.float32(1 + self.error), lambda result: result, 2.0**-24)

    right, wrong = Rounding(), Rounding()
    wrong.error = 1e-2
    full = make_full_range(case("8x9x3000"), 1)
    assert right.prepare(full.operands, Form.PLAIN, 1).error(full) == ""
    assert "of full-range data are wrong" in wrong.prepare(full.operands, Form.PLAIN, 1).error(full)


def test_every_report_says_which_peer_is_wrong_and_ranks_it_nowhere(emulated, small, capsys, monkeypatch):
    """A peer beside it, which is right, is the best."""
    chosen = {"numpy": Unsigned(), "onnxruntime": Saturating()}
    monkeypatch.setattr(peers, "load", chosen.get)
    words = ["bench", "--quick", "33x33x33:int8", "--peers", "onnxruntime,numpy"]
    assert cli.main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for row in report["calls"]:
        is_wrong = row["library"] == "saturating"
        assert ("full-range data" in row["wrong"], row["seconds"] is None) == (is_wrong, is_wrong)
    ratios = [row for row in report["goals"] if row["figure"] == "ratio"]
    assert [(row["against"], row["wrong"], bool(row["measured"])) for row in ratios] == [
        ("unsigned", ["saturating"], True)
    ] * 2
    assert report["differences"] == []

    assert cli.main([*words, "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    theirs = [line for line in lines if line["library"] == "saturating"]
    assert len(theirs) == 2
    assert all(line["note"].startswith("wrong: ") and not line["rate"] for line in theirs)
    notes = {line["note"] for line in lines if line["figure"] == "ratio"}
    assert notes == {"unsigned; saturating is wrong"}

    assert cli.main(words) == 0
    text = capsys.readouterr().out
    found = re.findall(r"^33x33x33 +int8 +[\d.]+ +[\d.]+ +wrong +unsigned +[\d.]+ ", text, re.MULTILINE)
    assert len(found) == 2  # plain, packed
    assert "- saturating plain, int8: wrong: " in text
    assert "No ratio is one to saturating where its products are wrong" in text


def test_the_plot_names_who_is_wrong(emulated, small, tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes")
    labels = []
    monkeypatch.setattr(axes.Axes, "plot", lambda self, *_, label="", **__: labels.append(label))
    draw = pytest.importorskip("amx.bench.plot").draw
    draw(report_of("8x9x10", others=[Saturating()]), tmp_path / "x.png")
    assert labels.count("saturating: wrong") == 2


def test_a_peer_that_raises_is_a_row_with_the_reason(emulated):
    rows = calls.prepare(make_operands(case("8x9x10"), 1), [FakePeer("fails")], 1).measure(
        BLINK, FakeAdvance()
    )
    assert [row.reason for row in rows[2:]] == ["failed: RuntimeError: out of luck"] * 2


def test_a_peer_that_raises_while_it_is_timed_is_a_row_too_and_the_others_go_on(emulated):
    class Other(FakePeer):
        name = "other"

    both = [FakePeer("fails later"), Other()]
    rows = calls.prepare(make_operands(case("8x9x10"), 1), both, 1).measure(BLINK, FakeAdvance())
    timed = [(row.library, row.form.value) for row in rows if row.seconds]
    assert timed == [("amx", "plain"), ("amx", "packed"), ("other", "plain")]
    (failed,) = (row for row in rows if (row.library, row.form) == ("fake", Form.PLAIN))
    assert failed.reason == "failed: MemoryError: out of luck in the end"
    assert all(row.seconds.count == BLINK.rounds for row in rows if row.seconds)


@pytest.mark.parametrize(("whose", "error"), [("theirs", KeyboardInterrupt), ("ours", RuntimeError)])
def test_what_is_no_failure_of_a_peer_ends_the_measurement(emulated, whose, error):
    """Ctrl-C in a peer's product, and an error in ours."""

    def call():
        raise error

    contest = calls.prepare(make_operands(case("8x9x10"), 1), [FakePeer()], 1)
    (theirs,), (ours, packed) = contest.entries, contest.ours
    if whose == "theirs":
        theirs = dataclasses.replace(theirs, product=Product(call, lambda same: same, None))
    else:
        ours = dataclasses.replace(ours, call=call)
    with pytest.raises(error):
        dataclasses.replace(contest, entries=(theirs,), ours=(ours, packed)).measure(BLINK, FakeAdvance())


@pytest.mark.parametrize("roundoff", [2.0**-24, 2.0**-8])
def test_floats_may_differ_by_rounding_and_by_no_more(roundoff):
    operands = make_operands(case("20x30x40:bf16"), 1)
    exact = operands.a_float32.astype(np.float64) @ operands.b_float32
    bound = operands.magnitude.astype(np.float64) * roundoff

    def difference(result):
        return Product(lambda: result, lambda same: same, roundoff).difference(exact, operands)

    assert difference(exact + bound * 0.9) == ""
    # beyond K = 40 roundings in float32 and one into the result's type
    too_far = exact.copy()
    too_far[3, 4] += bound[3, 4] + operands.magnitude[3, 4] * 81 * 2.0**-24
    assert difference(too_far).startswith("1 of 600 elements")
    too_far[5, 6] = np.nan
    assert difference(too_far).startswith("2 of 600 elements")


def test_the_use_of_amx_is_what_amx_used_sees():
    """Here of a product that is none, and uses none."""
    use = protocol.use_of_a_call(Product(lambda: None, lambda same: same, None))
    assert use.verdict in (Verdict.NO, Verdict.UNKNOWN)
    assert use.evidence


ONEDNN_LOG = """onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost and bfloat16 support
onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,prop_kind,problem_desc
onednn_verbose,v1,primitive,exec,cpu,matmul,{},undef,src:bf16::blocked:ab::f0,,,256x256:256x256,14.6
onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_s8::blocked:ab:f0 wei_s8::blocked:ab:f0,,,,15.9
"""


@pytest.mark.parametrize("name", ["brg_matmul:avx10_1_512_amx", "brg_matmul:avx512_core_bf16"])
def test_the_log_of_onednn_names_what_it_ran(name):
    assert implementations(ONEDNN_LOG.format(name)) == [name]
    assert implementations(ONEDNN_LOG.format("")) == []


def test_a_library_that_is_not_there_is_missing_with_the_remedy():
    class Absent(FakePeer):
        module, package = "no_such_module_of_anybody", "no-such-package"

    assert Absent().missing() == "no module no_such_module_of_anybody: pip install no-such-package"


def test_a_directory_that_is_named_like_a_library_is_none(tmp_path, monkeypatch):
    class Directory(FakePeer):
        module = "directory_without_a_module"

    (tmp_path / Directory.module).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert "no attribute '__version__'" in Directory().missing()


def test_a_missing_peer_is_listed_and_no_error(emulated, small):
    class Absent(FakePeer):
        name, module = "absent", "no_such_module_of_anybody"

    report = report_of("8x9x10", others=[Absent()])
    assert [(peer.name, bool(peer.missing)) for peer in report.peers] == [("fake", False), ("absent", True)]
    assert not any(row.library == "absent" for row in report.calls)
    assert report.differences == ()


@pytest.mark.peer
@pytest.mark.parametrize("name", peers.NAMES)
def test_an_installed_peer_agrees_with_us(name):
    """In a process of its own, since libraries keep threads and settings."""
    products = [
        "33x17x65:int8",
        "32x48x64:bf16",
        "64x64x64:fp16",
        "2x16x32x64:int8",
        "2x16x32x64:bf16",
        "33x17x65@128:int8",
        "32x48x64@70:bf16",
        "33x16x64@65:fp16",
    ]
    child = children.run(
        [
            sys.executable, "-c", "import sys; from amx.cli import main; sys.exit(main())",
            "bench", "--quick", "--json", "--peers", name, *products,
        ],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout)
    (facts,) = report["peers"]
    if facts["missing"]:
        pytest.skip(f"{name} is missing: {facts['missing']}")
    theirs = [row for row in report["calls"] if row["library"] == name]
    assert not [row["reason"] for row in theirs if row["reason"].startswith("failed")]
    measured = [row for row in theirs if row["seconds"]]
    wrong = {
        row["wrong"] for row in theirs if row["wrong"]
    }  # on this machine; they are said not to be ranked
    assert measured or wrong
    print(facts["version"], wrong, {(row["dtype"], row["form"]): row["amx"] for row in measured})


# ---- reports ---------------------------------------------------------------------------------------------


def test_the_json_holds_every_row(emulated, small):
    report = records.as_json(report_of("8x9x10", "3x8x9x10", "512x512x512"))
    report = json.loads(json.dumps(report))
    assert report["schema"] == records.SCHEMA
    assert list(report) == [
        "schema", "version", "conditions", "ceiling", "kernels", "calls", "goals", "recorded", "peers",
        "interrupted", "left_out", "differences",
    ]  # fmt: skip
    assert report["conditions"]["rounds"] == session.QUICK.rounds
    assert report["conditions"]["seed"] == 7
    rows = report["kernels"]
    assert [row["case"] for row in rows] == ["8x9x10:int8", "3x8x9x10:int8"]
    assert rows[0]["seconds"]["low"] <= rows[0]["seconds"]["median"] <= rows[0]["seconds"]["high"]
    assert rows[0]["gops"] == pytest.approx(2 * 8 * 9 * 10 / rows[0]["seconds"]["median"] / 1e9)
    assert rows[0]["scaling"] is None
    assert [(row["library"], row["form"]) for row in report["calls"][:3]] == [
        ("amx", "plain"), ("amx", "packed"), ("fake", "plain"),
    ]  # fmt: skip
    assert [left["case"] for left in report["left_out"]] == ["512x512x512:int8"]
    assert report["interrupted"] is False
    beside = [row for row in report["goals"] if row["figure"] == "of_neighbour"]
    assert [(row["case"], row["of"], row["against"]) for row in beside] == [
        (text, of, against)
        for text, against in (("8x9x10:int8", "16x16x64"), ("3x8x9x10:int8", "3x16x16x64"))
        for of in ("kernel", "plain", "packed")
    ]
    assert beside[0]["goal"] == pytest.approx(0.85 * 8 * 9 * 10 / (16 * 16 * 64))
    assert beside[0]["measured"] == rows[0]["of_neighbour"]
    assert beside[1]["measured"] == report["calls"][0]["of_neighbour"]
    assert beside[0]["measured"]["count"] == session.QUICK.rounds
    assert not beside[0]["native"]
    of_peers = [
        (row["of"], row["goal"], row["against"]) for row in report["goals"] if row["figure"] == "ratio"
    ]
    assert of_peers[:2] == [("plain", 1.0, "fake"), ("packed", 1.0, "")]


EMULATED = """
import sys, amx
from amx.cli import main
with amx.emulate("spr"):
    sys.exit(main(["bench", "--quick", *sys.argv[1:]]))
"""


def bench_where_amx_is_emulated(*words):
    """What `amx bench` prints in a process whose tile instructions are all emulated."""
    done = children.run_python("-c", EMULATED, *words, AMX_TEST_LANE="", AMX_BACKEND="auto")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_report_takes_an_emulated_rate_for_one_of_amx():
    """Tile instructions run and are timed there, and no word says that they are the CPU's."""
    words = ("64x64x64", "100x100x100", "--dtype", "int8", "--peers", "none")
    report = json.loads(bench_where_amx_is_emulated(*words, "--json"))
    assert report["conditions"]["emulated"] == "spr, by amx.emulate()"
    assert report["conditions"]["native"] == []
    assert all(row["of_ceiling"] for row in report["kernels"])  # by tile instructions
    assert not any(row["native"] for row in (*report["kernels"], *report["goals"]))
    assert {row["figure"] for row in report["goals"]} == {"ratio", "of_neighbour"}  # those of every backend

    lines = list(csv.DictReader(io.StringIO(bench_where_amx_is_emulated(*words, "--csv"))))
    assert {line["amx"] for line in lines if line["table"] in ("kernels", "goals")} == {"no"}

    text = bench_where_amx_is_emulated(*words)
    assert "native: nothing" in text
    assert "AMX is emulated here (spr, by amx.emulate()): no rate measured here is one of AMX." in text
    rows = [line.split() for line in text.splitlines()]
    assert {row[2] for row in rows if row[1:2] == ["int8"] and row[2:3] in (["yes"], ["emulated"])} == {
        "emulated"
    }


def test_emulated_costs_are_none_of_hardware():
    report = json.loads(bench_where_amx_is_emulated("--emulation", "--json"))
    assert {row["how"] for row in report["costs"]} == {"call"}
    reasons = {entry["how"]: entry["reason"] for entry in report["missing"]}
    assert "AMX is emulated here (spr, by amx.emulate())" in reasons["hardware"]


def test_a_library_that_used_emulated_amx_used_none(emulated, small, capsys):
    report = report_of("8x9x10")
    use = AmxUse(Verdict.YES, "419 instructions")
    theirs = [dataclasses.replace(row, amx=use) for row in report.calls if row.library == "fake"]
    for name, said in (("", "yes"), ("spr, by amx emulate", "emulated")):
        seen = dataclasses.replace(report, calls=tuple(theirs), emulated=name)
        assert [row["amx"]["verdict"] for row in records.as_json(seen)["calls"]] == [said] * len(theirs)
        text = io.StringIO()
        records.write_csv(seen, text)
        text.seek(0)
        assert {row["amx"] for row in csv.DictReader(text) if row["table"] == "calls"} == {said}
        tables.show(seen, Console(width=240))
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "419 instructions" in line)
        assert line.split()[:3] == ["fake", "int8", said]
    no = dataclasses.replace(report, emulated="spr, by amx emulate")
    assert no.said_of(AmxUse(Verdict.NO, "")) == "no"
    assert no.said_of(AmxUse(Verdict.UNKNOWN, "")) == "unknown"


def test_json_and_csv_quote_what_was_recorded(emulated, small):
    report = dataclasses.replace(report_of("8x9x10"), kernels=(kernel_row("64x64x64"),), calls=())
    (quoted,) = records.as_json(report)["recorded"]
    assert (quoted["case"], quoted["libxsmm"], quoted["onednn_packed"]) == ("64x64x64:int8", 1968, 769)
    (of_ceiling,) = (row for row in records.as_json(report)["goals"] if row["figure"] == "of_ceiling")
    assert (of_ceiling["goal"], of_ceiling["of"], of_ceiling["native"]) == (0.45, "kernel", True)
    text = io.StringIO()
    records.write_csv(report, text)
    text.seek(0)
    lines = [line for line in csv.DictReader(text) if line["table"] == "recorded"]
    assert [(line["library"], line["form"], line["rate"]) for line in lines] == [
        ("libxsmm", "packed", "1968"), ("oneDNN", "plain", "656"), ("oneDNN", "packed", "769"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "quick", "reasons"),
    [
        ("512x512x512", True, []),
        ("513x512x512", True, ["too large for --quick"]),
        ("1024x1024x1025", False, ["too large for the emulated backend"]),
    ],
)
def test_large_products_are_left_out_with_the_reason(emulated, text, quick, reasons):
    _, left_out = session._choose(session.Options((case(text),), (), quick=quick))
    assert [left.reason for left in left_out] == reasons


def test_what_memory_does_not_hold_is_left_out(emulated):
    """Before anything is allocated: a row of 10^12 elements."""
    _, (left,) = session._choose(session.Options((case("8x8x8@1000000000000"),), ()))
    assert left.reason.startswith("needs some ")
    assert memory.needed(case("7x8x9x10")) == 7 * memory.needed(case("8x9x10")) == 7 * 12 * (80 + 90 + 4 * 72)


def test_what_cannot_be_measured_is_a_row_with_the_reason(emulated, small):
    rows = report_of("8x9x10").ceiling.rows
    tiles = [row for row in rows if "tileload" in row.name or row.dtype]
    assert tiles
    assert all(row.rate is None and row.reason for row in tiles)
    assert all(row.rate.low > 0 for row in rows if row not in tiles)


def test_the_csv_has_one_line_for_each_row(emulated, small):
    report = report_of("8x9x10")
    text = io.StringIO()
    records.write_csv(report, text)
    text.seek(0)
    lines = list(csv.DictReader(text))
    standings = goals.standings(report.kernels, report.calls)
    rows = len(report.ceiling.rows) + len(report.kernels) + len(report.calls) + len(standings)
    assert len(lines) == rows
    assert {line["table"] for line in lines} == {"ceiling", "kernels", "calls", "goals"}
    of_goals = [line for line in lines if line["table"] == "goals"]
    assert [(line["figure"], line["form"]) for line in of_goals] == [
        ("ratio", "plain"), ("ratio", "packed"),
        *(("of_neighbour", of) for of in ("kernel", "plain", "packed")),
    ]  # fmt: skip
    assert float(of_goals[2]["measured"]) == report.kernels[0].of_neighbour.median
    assert float(of_goals[2]["goal"]) == pytest.approx(0.85 * 8 * 9 * 10 / (16 * 16 * 64))
    ours = next(line for line in lines if line["table"] == "calls")
    assert (ours["m"], ours["n"], ours["k"], ours["library"]) == ("8", "9", "10", "amx")
    assert float(ours["seconds_low"]) > 0


def test_the_plot_is_a_picture(emulated, small, tmp_path, monkeypatch):
    """A point for each kernel, and a bar for each library's call of each form."""
    figure = pytest.importorskip("matplotlib.figure")
    from amx.bench.plot import draw

    pictures = []
    save = figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure,
        "savefig",
        lambda self, *given, **how: (pictures.append(self), save(self, *given, **how)),
    )
    report = report_of("8x9x10", "16x16x16", "3x8x9x10")
    draw(report, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    roofline, *bars = pictures[0].axes
    points = roofline.collections[0].get_offsets()
    assert [rate for _, rate in points] == pytest.approx([row.gops for row in report.kernels])
    for form, axes in zip((Form.PACKED, Form.PLAIN), bars, strict=True):
        assert form.value in axes.get_title()
        drawn = [bar.get_height() for bar in axes.patches]
        assert drawn == pytest.approx([r.gops for r in by_library(report) if r.form is form and r.gops])


def test_names_in_the_plot_cover_nothing(emulated, small, tmp_path, monkeypatch):
    """Not each other, nor a point, though six products are almost the same."""
    figure = pytest.importorskip("matplotlib.figure")
    from amx.bench.plot import draw

    pictures = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: pictures.append(self))
    texts = [f"{m}x64x64" for m in range(64, 70)]
    report = dataclasses.replace(report_of("8x9x10"), kernels=tuple(map(kernel_row, texts)))
    draw(report, tmp_path / "bench.png")
    roofline = pictures[0].axes[0]
    assert sorted(name.get_text() for name in roofline.texts) == texts
    boxes = [name.get_window_extent() for name in roofline.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    points = [roofline.transData.transform(name.xy) for name in roofline.texts]
    assert not any(box.contains(*point) for box in boxes for point in points)


def by_library(report):
    """Calls in the order of the bars: ours for all products, then the next library's."""
    libraries = list(dict.fromkeys(row.library for row in report.calls))
    return sorted(report.calls, key=lambda row: libraries.index(row.library))


def kernel_row(text, threads=1, of_stream=None, scaling=None, of_neighbour=None):
    one = Summary(0.5, 0.4, 0.6, 7)
    return KernelRow(case(text), True, threads, one, 1000.0, one, 1.0, of_stream, scaling, of_neighbour, "")


def our_row(text, form, of_neighbour):
    one = Summary(0.5, 0.4, 0.6, 7)
    return CallRow(case(text), calls.OURS, form, 1, one, 1.0, None, of_neighbour, "", "", None)


def test_every_product_of_the_preset_has_a_goal():
    for each in parse_preset("goals", (Dtype.INT8, Dtype.BF16)):
        assert goals.goal_of(each, 1) is not None
    assert goals.goal_of(case("64x64x64:fp16"), 1) is None
    assert goals.goal_of(case("192x192x192"), 1) is None


def test_goals_of_one_thread_and_two():
    assert goals.goal_of(case("64x64x64"), 1) == goals.Goal(1.3, 0.45)
    assert goals.goal_of(case("64x64x64"), 2) is None
    assert goals.goal_of(case("4096x4096x4096:bf16"), 1) == goals.Goal(1.4, 0.65)
    assert goals.goal_of(case("512x512x512"), 2) == goals.Goal(1.3)
    assert goals.goal_of(case("4096x4096x4096"), 2) == goals.Goal(1.5, scaling=1.9)
    assert goals.goal_of(case("16x4096x4096"), 2) == goals.Goal(of_stream=0.95)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        # 67^3 / (80 80 128), 100^3 / (112 112 128), 131^3 / (144 144 192), 333^3 / (336 336 384)
        ("67x67x67", 300763 / 819200),
        ("100x100x100", 1000000 / 1605632),
        ("131x131x131", 2248091 / 3981312),
        ("333x333x333", 36926037 / 43352064),
        # a tile of 16-bit numbers has 32 of K: 67^3 / (80 80 96)
        ("67x67x67:bf16", 300763 / 614400),
        # whole tiles, but of a larger array
        ("1024x1024x1024@2048", 1.0),
        ("5x128x64x100", 100 / 128),
    ],
)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_odd_sizes_keep_085_of_what_tile_rounding_leaves_and_lose_to_nobody(text, share, threads):
    goal = goals.goal_of(case(text), threads)
    assert goal == goals.Goal(ratio=1.0, of_neighbour=pytest.approx(0.85 * share, rel=1e-12))


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ("67x67x67", "64x64x64"),
        ("100x100x100", "128x128x128"),
        ("333x333x333", "320x320x320"),
        ("1537x1537x1537", "1536x1536x1536"),
        ("127x509x251:bf16", "128x512x256:bf16"),
        ("3x100x64x64", "3x128x64x64"),
        ("1024x1024x1024@2048", "1024x1024x1024"),
        # nearer to nothing than to 64: whole tiles
        ("7x1024x20", "16x1024x64"),
        ("7x1024x20:bf16", "16x1024x32:bf16"),
        ("17x31x33", "32x32x64"),
    ],
)
def test_the_neighbour_is_the_nearest_round_size(text, beside):
    assert neighbour(case(text)) == case(beside)
    assert neighbour(case(beside)) is None


def test_the_odd_preset_has_what_it_says():
    """Sizes that were named, primes, three different dimensions, and leading dimensions of both kinds."""
    shapes = PRESETS["odd"]

    def is_prime(number):
        return all(number % divisor for divisor in range(2, number))

    assert {100, 333, 1000, 1537} <= {shape.m for shape in shapes if shape.m == shape.n == shape.k}
    assert any(
        is_prime(s.m) and is_prime(s.n) and is_prime(s.k) and len({s.m, s.n, s.k}) == 3 for s in shapes
    )
    strided = [shape for shape in shapes if shape.ld]
    assert {shape.ld.bit_count() == 1 for shape in strided} == {True, False}
    assert all(neighbour(Case(shape, dtype)) for shape in shapes for dtype in Dtype)


def test_goals_stand_beside_what_was_measured():
    ratio = Summary(1.25, 1.0, 1.5, 7)
    theirs = CallRow(case("64x64x64"), "fake", Form.PACKED, 1, ratio, 1.0, ratio, None, "", "", None)
    found = goals.standings([kernel_row("64x64x64"), kernel_row("192x192x192")], [theirs])
    assert [(row.figure, row.form, row.goal, row.against, row.measured) for row in found] == [
        (goals.Figure.RATIO, Form.PLAIN, 1.3, "", None),
        (goals.Figure.RATIO, Form.PACKED, 1.3, "fake", ratio),
        (goals.Figure.OF_CEILING, None, 0.45, "", Summary(0.5, 0.4, 0.6, 7)),
    ]
    emulated = dataclasses.replace(kernel_row("64x64x64"), native=False)
    assert goals.standings([emulated], []) == []


def test_odd_sizes_stand_beside_their_floor_on_every_backend():
    kernel, plain, packed = (Summary(median, 0.1, 0.9, 7) for median in (0.3, 0.4, 0.5))
    row = dataclasses.replace(kernel_row("67x67x67", of_neighbour=kernel), native=False)
    ours = [our_row("67x67x67", Form.PLAIN, plain), our_row("67x67x67", Form.PACKED, packed)]
    found = [each for each in goals.standings([row], ours) if each.figure is goals.Figure.OF_NEIGHBOUR]
    assert [(each.form, each.measured, each.against, each.native) for each in found] == [
        (None, kernel, "64x64x64", False),
        (Form.PLAIN, plain, "64x64x64", False),
        (Form.PACKED, packed, "64x64x64", False),
    ]
    assert [each.goal for each in found] == pytest.approx([0.85 * 300763 / 819200] * 3)


def test_goals_are_printed_without_a_verdict(emulated, small, capsys):
    report = report_of("8x9x10")
    half = Summary(0.5, 0.25, 0.75, 7)
    rows = (
        kernel_row("64x64x64"),
        kernel_row("16x4096x4096", of_stream=Summary(0.97, 0.9, 1.0, 7)),
        kernel_row("1024x1024x1024", threads=2, scaling=Summary(1.87, 1.8, 1.9, 7)),
        kernel_row("100x100x100", of_neighbour=Summary(0.61, 0.6, 0.62, 7)),
    )
    ours = (our_row("100x100x100", Form.PLAIN, half),)
    tables.show(dataclasses.replace(report, kernels=rows, calls=ours), Console(width=240))
    text = capsys.readouterr().out
    assert "Goals of this project" in text
    of_kernels, of_goals = (line.split() for line in text.splitlines() if line.startswith("64x64x64"))
    # on one thread: no peer measured, 1.3 wanted; the kernel's GOP/s; recorded of libxsmm and oneDNN
    assert of_goals[2:] == ["1.3", "50%", "45%", "1000", "1968", "656", "769"]
    assert text.count("97%") == 2  # of the stream: among the kernels, and beside its goal
    of_kernels, of_goals = (line.split() for line in text.splitlines() if line.startswith("1024x1024x1024"))
    assert of_kernels[-1] == "1.87"
    assert of_goals[3:5] == ["1.87", "1.9"]
    *_, odd = (line.split() for line in text.splitlines() if line.startswith("100x100x100"))
    # beside 128 x 128 x 128: kernel 61 %, the plain call 50 %; the floor is 0.85 x 0.623
    assert odd == [
        "100x100x100", "int8", "yes", "128x128x128", "61%", "60%-62%", "50%", "25%-75%", "53%", "1.0",
    ]  # fmt: skip


def test_recorded_figures_are_those_of_the_goals():
    """Each product of the preset has one, on one thread and on two; libxsmm on one, up to 512."""
    for each in parse_preset("goals", (Dtype.INT8, Dtype.BF16)):
        one, two = recorded.recorded(each, 1), recorded.recorded(each, 2)
        assert one.onednn_packed > 0
        assert two.onednn_packed > 0
        small_square = each.shape.m == each.shape.n == each.shape.k <= 512
        assert (one.libxsmm is not None, two.libxsmm) == (small_square, None)
    assert len(recorded.RECORDED) == len({(row.case, row.threads) for row in recorded.RECORDED}) == 56
    assert recorded.recorded(case("100x100x100"), 1) is None


def test_a_rate_is_compared_with_the_neighbours_pair_by_pair(emulated, monkeypatch):
    """The kernel, and our calls of each form, in turns with the same of the round size."""
    clock = FakeClock()
    seconds = {8: 0.001, 16: 0.004}  # by M

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


def test_a_ratio_is_how_many_times_faster_ours_was(emulated, small, monkeypatch):
    """Packed to packed and plain to plain: 1 and 2 ms of ours beside 3 and 8 of theirs, and in the table."""
    clock, report = FakeClock(), report_of("8x9x10")

    def timed(seconds, result):
        def call():
            clock.time += seconds
            return result

        return call

    class Timed(FakePeer):
        def prepare(self, operands, form, threads):
            call = timed(0.003 if form is Form.PACKED else 0.008, want)
            return Product(call, lambda result: result, None)

    operands = make_operands(case("8x9x10"), 1)
    want = call_of(operands, Form.PLAIN)()
    monkeypatch.setattr(
        calls, "call_of", lambda _, form: timed(0.001 if form is Form.PACKED else 0.002, want)
    )
    rows = calls.prepare(operands, [Timed()], 1).measure(Pace(4, 0.02), clock)
    assert [(row.library, row.form) for row in rows[2:]] == [("fake", Form.PLAIN), ("fake", Form.PACKED)]
    assert [dataclasses.astuple(row.ratio) for row in rows[2:]] == [
        pytest.approx((4.0, 4.0, 4.0, 4)),
        pytest.approx((3.0, 3.0, 3.0, 4)),
    ]
    console = Console(width=240, file=io.StringIO())
    tables.show(dataclasses.replace(report, kernels=(), calls=tuple(rows)), console)
    printed = [line.split() for line in console.file.getvalue().splitlines() if line.startswith("8x9x10")]
    # ours, theirs, the best library, the ratio and its range
    assert [line[-3:] for line in printed] == [["fake", "4.00", "4.00-4.00"], ["fake", "3.00", "3.00-3.00"]]


def test_a_kernel_is_a_share_of_the_ceiling_and_of_the_faster_stream(emulated, monkeypatch):
    """The block and the loads do their known work in known seconds."""
    clock = FakeClock()

    def taking(seconds):
        def run(*given):
            clock.time += given[-1] * seconds

        return run

    def run(kernel, repetitions):
        kernel.result[...] = call_of(kernel.operands, Form.PLAIN)()
        clock.time += repetitions * 0.004

    monkeypatch.setattr(kernels, "is_native", lambda dtype: True)
    monkeypatch.setattr(Kernel, "run", run)
    monkeypatch.setattr(ceiling.Block, "run", taking(0.001))
    monkeypatch.setattr(kernels, "tileload_side", lambda *_, t1: taking(0.002 if t1 else 0.003))
    operands = make_operands(case("16x96x192"), 1)
    row = kernels.measure(operands, 1, Pace(4, 0.02), clock, 1)
    of_block = ceiling.Block.of(Dtype.INT8, 1, seed=1).operations / 0.001
    assert row.of_ceiling.median == pytest.approx(2 * 16 * 96 * 192 / 0.004 / of_block)
    # B has 96 x 192 bytes; the stream is that in whole turns of 8 KiB
    loaded = Kernel.of(operands, 1).packed.nbytes // 8192 * 8192
    assert row.of_stream.median == pytest.approx(96 * 192 / 0.004 / (loaded / 0.002))
    assert row.b_gbs == pytest.approx(96 * 192 / 0.004 / 1e9)
    assert kernels.measure(make_operands(case("33x96x192"), 1), 1, BLINK, clock, 1).of_stream is None


def test_kernels_on_several_threads_are_compared_with_one(emulated, monkeypatch):
    """Pair by pair with the same product on one thread, which comes with a pause and a warm-up of its own."""
    seen, clock = [], FakeClock()

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


# ---- the command -----------------------------------------------------------------------------------------


def test_quick_square_prints_the_tables(emulated, small, capsys):
    assert cli.main(["bench", "--quick", "square", "--peers", "numpy,numpy-int"]) == 0
    text = capsys.readouterr().out
    for words in ("Ceiling of this machine", "Kernels", "second operand plain", "second operand packed"):
        assert words in text
    assert "64x64x64" in text
    assert "left out: 4096x4096x4096:bf16" in text


def test_csv_and_json_print_nothing_else(emulated, small, capsys):
    words = ["bench", "--quick", "8x8x8:int8", "--peers", "none"]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["peers"] == []
    assert cli.main([*words, "--csv"]) == 0
    assert capsys.readouterr().out.startswith("table,dtype,")


def test_a_different_result_is_exit_status_1(emulated, small, capsys, monkeypatch):
    monkeypatch.setattr(peers, "load", lambda name: FakePeer("wrong"))
    assert cli.main(["bench", "--quick", "8x9x10:int8", "--peers", "numpy"]) == 1
    assert "8x9x10:int8 fake plain: 1 of 72 integers differ" in capsys.readouterr().err


class Interrupted(FakePeer):
    """Ctrl-C comes at its product of 9x9x9."""

    def prepare(self, operands, form, threads):
        if str(operands.case.shape) == "9x9x9":
            raise KeyboardInterrupt
        return super().prepare(operands, form, threads)


def test_an_interrupt_leaves_what_was_measured(emulated, small, capsys, monkeypatch):
    monkeypatch.setattr(peers, "load", lambda name: Interrupted())
    words = ["bench", "--quick", "--json", "--peers", "numpy", "8x9x10:int8", "9x9x9:int8", "8x8x8:bf16"]
    assert cli.main(words) == 130
    text = capsys.readouterr()
    report = json.loads(text.out)
    assert [row["case"] for row in report["kernels"]] == ["8x9x10:int8"]
    assert {row["case"] for row in report["calls"]} == {"8x9x10:int8"}
    left = [(row["case"], row["reason"]) for row in report["left_out"]]
    assert left == [("9x9x9:int8", "interrupted"), ("8x8x8:bf16", "interrupted")]
    assert report["interrupted"] is True
    assert "interrupted" in text.err


def test_an_interrupt_before_any_product_is_said(emulated, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run", interrupt)
    assert cli.main(["bench", "--quick", "8x8x8", "--peers", "none"]) == 130
    assert "interrupted before" in capsys.readouterr().err


def test_costs_of_emulation():
    """In a child, whose signal handlers change: a figure for each instruction and way, right products."""
    script = "import sys; from amx.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ("bench", "--emulation", "--quick", "--json")
    result = children.run_python("-c", script, *words, AMX_TEST_LANE="")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    missing = {entry["how"] for entry in report["missing"]}
    expected = {
        (what, how.value)
        for what in (*emulation.INSTRUCTIONS, emulation.PRODUCT)
        for how in emulation.How
        if how.value not in missing
    }
    assert {(row["what"], row["how"]) for row in report["costs"]} == expected
    assert "call" not in missing
    assert not {"patched", "trapped"} & missing
    assert all(row["seconds"]["low"] > 0 for row in report["costs"])
    assert report["wrong"] == []


def test_a_wrong_emulated_product_is_exit_status_1(capsys, monkeypatch):
    how = emulation.How.PATCHED
    row = emulation.Cost("tilezero", how, Summary(4.3e-8, 4e-8, 5e-8, 3))
    missing = ((emulation.How.HARDWARE, "no tiles here"),)
    costs = emulation.Costs("1", "a processor", "6", BLINK, (row,), missing, (how,))
    monkeypatch.setattr(emulation, "measure", lambda **_: costs)
    assert cli.main(["bench", "--emulation"]) == 1
    text = capsys.readouterr()
    assert "43 ns" in text.out
    assert "no tiles here" in text.out
    assert "patched: the product is wrong" in text.err


@pytest.mark.parametrize(
    "words",
    [
        ["--emulation", "--csv"],
        ["--emulation", "8x8x8"],
        ["cube"],
        ["8x8"],
        ["8x8x8@7"],
        ["--dtype", "int4"],
        ["--peers", "abacus"],
        ["--threads", "0"],
        ["--threads", "100000"],
        ["--seed", "-1"],
        ["--seed", "-1", "--emulation"],
        ["--plot", "/no/such/directory/x.png"],
        ["--plot", "-", "--json"],
    ],
)
def test_wrong_usage_is_exit_status_2(capsys, words):
    assert cli.main(["bench", "--quick", *words]) == 2
    assert capsys.readouterr().err.startswith("amx bench: ")


@pytest.mark.parametrize("name", ["x", "x.txt", "directory.png", "file.png/x.png"])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, capsys, name):
    pytest.importorskip("matplotlib")
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "file.png").touch()
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["bench", "--quick", "8x8x8", "--peers", "none", "--plot", str(tmp_path / name)]) == 2
    text = capsys.readouterr()
    assert text.out == ""
    assert f"--plot {tmp_path / name}: " in text.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_draws(emulated, small, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "x.PNG"
    assert cli.main(["bench", "--quick", "8x8x8:int8", "--peers", "none", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_on_the_standard_output_stands_there_alone(emulated, small, capsysbinary):
    pytest.importorskip("matplotlib")
    assert cli.main(["bench", "--quick", "8x8x8:int8", "--peers", "none", "--plot", "-"]) == 0
    output, errors = capsysbinary.readouterr()
    assert output.startswith(b"\x89PNG")
    assert b"GOP/s" in errors


def test_a_peer_that_is_named_twice_is_measured_once(emulated, small, capsys):
    words = ["bench", "--quick", "8x8x8:int8", "--peers", "numpy-int,numpy-int", "--json"]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert [peer["name"] for peer in report["peers"]] == ["numpy-int"]
