"""Random products on all engines beside each other: the software tile machine, every family, and AMX."""

import contextlib
import os
import time

import numpy as np
import operands
import pytest
import vector_family
from small_caches import TINY, assumed

import amx

ENGINES = ["emulated", "vector", *(f"vector-{name}" for name in vector_family.others())]

# M, N and K below these: small ones, tails of blocks, few rows and columns against much of B, and a long K.
LARGEST = [(20, 20, 20), (70, 70, 70), (200, 150, 300), (4, 300, 2000), (18, 200, 900), (100, 5, 900)]


@pytest.fixture
def seed():
    """AMX_SEED repeats a run. Afterwards products run as AMX_BACKEND says."""
    seed = int(os.environ.get("AMX_SEED", time.time_ns()))
    print("seed", seed)
    yield seed
    amx.set_num_threads(None)
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


def result_on(engine, first, second, out):
    """The bits of the product, and of all of the memory that it was written into."""
    name, _, family = engine.partition("-")
    with vector_family.selected(family):
        amx.set_backend(name)
        assert amx.get_backend("int8").value == name
        result = amx.matmul(first, second, out=None if out is None else out[..., 1:-1])
    return operands.as_bits(np.ascontiguousarray(result)), None if out is None else operands.as_bits(
        out
    ).copy()


def run(engines, count, seed):
    """`count` products of awkward values, shapes and strides; the failing case is in the message."""
    rng = np.random.default_rng(seed)
    pairs = operands.pairs_of("native" if "native" in engines else "emulated")
    for number in range(count):
        pair = pairs[rng.integers(len(pairs))]
        m, n, k = (int(x) for x in rng.integers(0, LARGEST[rng.integers(len(LARGEST))]))
        batch_a, batch_b = operands.BATCHES[rng.integers(len(operands.BATCHES))]
        special = [0.0, 0.02, 0.3][rng.integers(3)]
        a = operands.random_array(rng, (*batch_a, m, k), pair[0], special)
        b = operands.random_array(rng, (*batch_b, k, n), pair[1], special)
        first, second = operands.random_strides(rng, a), operands.random_strides(rng, b)
        if rng.random() < 0.4:
            second = amx.pack(second)
        out = None
        if rng.random() < 0.4:
            shape = (*np.broadcast_shapes(batch_a, batch_b), m, n + 2)
            out = np.full(shape, 7, np.int32 if a.dtype.itemsize == 1 else np.float32)
        amx.set_num_threads(int(rng.integers(1, 3)))
        with assumed(TINY[rng.integers(len(TINY))]) if rng.random() < 0.3 else contextlib.nullcontext():
            want = result_on(engines[0], first, second, out)
            for engine in engines[1:]:
                found = result_on(engine, first, second, out)
                assert all(map(np.array_equal, found, want)), (
                    f"seed {seed}, product {number} on {engine}: {pair}, {a.shape} {first.strides}, {b.shape}"
                )


def test_all_engines_without_amx_have_the_same_bits(seed):
    """300 products with NaN, infinities, denormals, strides and tails, on small caches too."""
    run(ENGINES, 300, seed)


@pytest.mark.in_lane
def test_amx_has_the_same_bits(seed):
    """The same on native tiles."""
    run([*ENGINES, "native"], 60, seed)


SOME, ALL = (pytest.mark.matrix, 400), (pytest.mark.long, 2500)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("part", "count"),
    [pytest.param(part, count, marks=mark) for mark, count in (SOME, ALL) for part in range(4)],
)
def test_many_products_have_the_same_bits(seed, part, count):
    """Of all engines without AMX."""
    run(ENGINES, count, seed + part)
