"""out= of a product: any layout, over an operand, and nothing else written."""

import numpy as np
import operands
import pytest
from operands import ones

import amx

OUTS = {
    "plain": lambda: np.empty((40, 50), np.int32),
    "rows apart": lambda: np.empty((40, 90), np.int32)[:, 20:70],
    "rows reversed": lambda: np.empty((40, 50), np.int32)[::-1],
    "Fortran": lambda: np.empty((40, 50), np.int32, order="F"),
    "columns apart": lambda: np.empty((40, 100), np.int32)[:, ::2],
    "unaligned": lambda: np.empty(40 * 50 * 4 + 1, np.uint8)[1:].view(np.int32).reshape(40, 50),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", OUTS)
def test_out_of_any_layout_is_filled_and_returned(backend, layout, packed):
    """out= takes any strides and comes back as the same object."""
    rng = np.random.default_rng(17)
    a, b = operands.random_array(rng, (40, 33), "int8"), operands.random_array(rng, (33, 50), "int8")
    out = OUTS[layout]()
    assert amx.matmul(a, amx.pack(b) if packed else b, out=out) is out
    np.testing.assert_array_equal(out, a.astype(np.int64) @ b.astype(np.int64))


def test_out_leaves_its_surroundings_alone(backend):
    """Nothing beside the output's own elements is written, at every tail."""
    for m, n in [(1, 1), (17, 5), (33, 47)]:
        frame = np.full((m + 2, n + 2), -7, np.int32)
        amx.matmul(ones((m, 9)), ones((9, n)), out=frame[1:-1, 1:-1])
        assert (frame[1:-1, 1:-1] == 9).all()
        frame[1:-1, 1:-1] = -7
        assert (frame == -7).all()


@pytest.mark.parametrize("packed", [False, True])
def test_out_may_overlap_an_operand(backend, packed):
    """An output in the operand's own memory is the product of the operand as it was."""
    memory = np.arange(64 * 64 * 4, dtype=np.uint8)
    a = memory.view(np.int8)[: 64 * 64].reshape(64, 64)
    want = a.astype(np.int64) @ a.astype(np.int64)
    out = memory.view(np.int32).reshape(64, 64)
    amx.matmul(a, amx.pack(a) if packed else a, out=out)
    np.testing.assert_array_equal(out, want)


def test_batched_out_with_vectors(backend):
    """out= of a product with a vector has the vector's dimension left out."""
    a, b = ones((3, 4, 5)), ones(5)
    out = np.empty((4, 6), np.int32)[:3, 1:5]
    assert amx.matmul(a, b, out=out) is out
    assert (out == 5).all()


def test_out_whose_elements_overlap(backend):
    """An output that holds an element in two places gets the product all the same, if the places agree."""
    memory = np.zeros(200, np.int32)
    out = np.lib.stride_tricks.as_strided(memory, (40, 40), (4, 4))
    amx.matmul(ones((40, 2000)), ones((2000, 40)), out=out)
    assert (out == 2000).all()


def test_empty_batches_in_one_arena(backend):
    """Operands and output of no items may lie in the same memory."""
    memory = np.zeros(10**5, np.uint8)
    a = memory[: 10**4].view(np.int8).reshape(1, 100, 100)[:0]
    out = memory[: 4 * 10**4].view(np.int32).reshape(1, 100, 100)[:0]
    assert amx.matmul(a, np.zeros((1, 100, 100), np.int8)[:0], out=out) is out
