"""No access beyond an operand: products and tiles between forbidden pages, in a child process."""

import time

import children
import pytest

pytestmark = pytest.mark.every_family
SCRIPT = children.SUPPORT / "guard_pages.py"


def test_nothing_beyond_the_operands_is_touched(backend):
    """Every layout, tail, packed form and tile stays within its memory, on both sides."""
    seed = time.time_ns() % 2**32
    print("seed", seed)
    result = children.run_python(SCRIPT, backend, seed, 60)
    assert children.how_it_ended(result) == 0, result.stderr
    assert f"60 products and 120 tiles on {backend}" in result.stdout


def test_the_guard_would_notice():
    """One byte beyond a guarded operand ends the child with SIGSEGV: the test above can fail."""
    result = children.run_python(SCRIPT, "emulated", 1, 0, "too far")
    assert children.how_it_ended(result) == "SIGSEGV"
