"""What a session of `amx bench` leaves out, and the reason that it says."""

import benching
import pytest
from benching import case, report_of

from amx.bench import memory, session

emulated, small = benching.emulated, benching.small  # fixtures


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
