"""Calls of ours beside those of peers: whose result agrees, who fails, and how many times faster ours was."""

import dataclasses
import io

import benching
import numpy as np
import pytest
from benching import BLINK, FakeAdvance, FakeClock, FakePeer, case, report_of
from rich.console import Console

from amx.bench import calls, tables
from amx.bench.grid import Dtype
from amx.bench.operands import make_operands
from amx.bench.ours import Kernel, call_of
from amx.bench.peers.peer import Form, Product
from amx.bench.timing import Pace

emulated, small = benching.emulated, benching.small  # fixtures


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


@pytest.mark.parametrize(
    ("behaviour", "words"), [("wrong", "1 of 72 integers differ"), ("transposed", "has shape (9, 8)")]
)
def test_a_wrong_result_is_said_and_never_the_best(emulated, behaviour, words):
    operands = make_operands(case("8x9x10"), 1)
    rows = calls.prepare(operands, [FakePeer(behaviour)], 1).measure(BLINK, FakeAdvance())
    assert words in rows[2].difference
    assert calls.best(rows, operands.case, Form.PLAIN) is None


def test_float32_is_ranked_apart(emulated):
    """The fastest of those that take bytes, and of those that hold them as float32."""
    clock = FakeClock()

    class Timed(FakePeer):
        def __init__(self, name, seconds, float32):
            super().__init__()
            self.name, self.seconds, self.float32 = name, seconds, float32

        def prepare(self, operands, form, threads):
            product = super().prepare(operands, form, threads)

            def call():
                clock.time += self.seconds
                return product.call()

            return dataclasses.replace(product, call=call)

    their = [Timed("bytes", 4.0, False), Timed("slow", 5.0, False), Timed("fast floats", 1.0, True)]
    their.append(Timed("floats", 2.0, True))
    product = case("8x9x10")
    contest = calls.prepare(make_operands(product, 1), their, 1)

    def call():
        clock.time += 3.0

    ours = tuple(dataclasses.replace(own, call=call) for own in contest.ours)
    rows = dataclasses.replace(contest, ours=ours).measure(BLINK, clock)
    best, floats = (calls.best(rows, product, Form.PLAIN, float32=float32) for float32 in (False, True))
    assert (best.library, best.ratio.median) == ("bytes", pytest.approx(4 / 3))
    assert (floats.library, floats.ratio.median) == ("fast floats", pytest.approx(1 / 3))
    assert [row.library for row in rows if row.float32] == ["fast floats", "floats"]


def test_copies_of_b_take_turns_on_each_side(emulated, monkeypatch):
    """As many arrays, of the same values, each in its turn."""
    called = []

    class Recording(FakePeer):
        def prepare(self, operands, form, threads):
            product = super().prepare(operands, form, threads)

            def call():
                called.append(operands.b.ctypes.data)
                return product.call()

            return dataclasses.replace(product, call=call)

    ours = []

    def recorded(operands, form):
        call = call_of(operands, form)

        def timed():
            ours.append((form, operands.b.ctypes.data))
            return call()

        return timed

    monkeypatch.setattr(calls, "call_of", recorded)
    operands = make_operands(case("8x9x10"), 1)
    contest = calls.prepare(operands, [Recording()], 1, copies=3)
    ours.clear()
    called.clear()
    (entry,) = contest.entries
    results = [entry.call() for _ in range(6)]
    results += [own.call() for own in contest.ours for _ in range(6)]
    assert all((result == results[0]).all() for result in results)
    for form in Form:
        seen = [address for which, address in ours if which is form]
        assert len(set(seen)) == 3
        assert seen[:3] == seen[3:]
    assert called[:3] == called[3:]
    assert set(called) == {address for _, address in ours}


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
        theirs = dataclasses.replace(theirs, call=call)
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
