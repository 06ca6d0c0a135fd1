"""Random products of all kinds against their oracle, exactly."""

import os
import time

import numpy as np
import operands
import pytest

import amx

pytestmark = pytest.mark.every_family


def run(count, seed, largest):
    """`count` random products on the backend that is set; the failing case is in the message."""
    rng = np.random.default_rng(seed)
    pairs = operands.pairs_of(amx.get_backend("int8").value)
    for number in range(count):
        pair = pairs[rng.integers(len(pairs))]
        m, n, k = (int(x) for x in rng.integers(0, largest + 1, 3))
        batch_a, batch_b = operands.BATCHES[rng.integers(len(operands.BATCHES))]
        special = [0.0, 0.0, 0.02, 0.3][rng.integers(4)]
        a = operands.random_array(rng, (*batch_a, m, k), pair[0], special)
        b = operands.random_array(rng, (*batch_b, k, n), pair[1], special)
        want = operands.expected(a, b, pair[0])
        first, second = operands.random_strides(rng, a), operands.random_strides(rng, b)
        amx.set_num_threads(int(rng.integers(1, 3)))
        operand = amx.pack(second) if rng.random() < 0.4 else second
        out = (
            np.empty(want.shape, np.int32 if want.dtype == np.int32 else np.float32)
            if rng.random() < 0.4
            else None
        )
        result = operands.as_bits(amx.matmul(first, operand, out=out))
        assert np.array_equal(result, want), (
            f"seed {seed}, product {number}: {pair}, {a.shape} {first.strides}, {b.shape} {second.strides}"
        )
    amx.set_num_threads(None)


def test_random_products(backend):
    """150 random products, shapes 0-150, all types, strides and batches; AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    run(150, seed, 150)


@pytest.mark.long
def test_many_random_products(backend):
    """2,000 of them with shapes 0-300; AMX_SEED repeats a run."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    run(2000, seed, 300)
