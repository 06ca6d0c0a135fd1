"""Statistics of `amx bench`: what is timed in which order, and what is said of the samples."""

import numpy as np
import pytest
from benching import FakeClock

from amx.bench.timing import MOST_PAUSES, Pace, Side, Summary, calibrate, interleave, ratios, summarise


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


def test_an_interruption_is_not_taken_for_a_long_product():
    """Another process had the CPU in the first run, or in the third."""
    for interrupted in (1, 3):
        clock, runs = FakeClock(), []

        def run(count, clock=clock, runs=runs, interrupted=interrupted):
            runs.append(count)
            clock.time += count * 1e-6 + (0.05 if len(runs) == interrupted else 0)

        assert calibrate(run, 0.02, clock) * 1e-6 >= 0.02


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
    # two runs each to calibrate, after a pause for each library; then "amx" comes in with a warm-up and stays
    # for two samples, and so on; the second round begins one side later
    assert events[6:] == [
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
    assert "".join(first[6:]) == "a" + "abc" + "bca" + "cab"  # after the calibration, one warm-up
