"""The streams over memory that kernels are compared with, and the caches that they are sized by."""

import errno

import numpy as np
import pytest

from amx._lib import lib
from amx.bench.operands import aligned, pointer
from amx.caches import own_caches


def test_caches_have_the_order_of_their_levels():
    caches = own_caches()
    assert 4 << 10 <= caches.l1 < caches.l2 <= 64 << 20


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
