"""Clusters of Dask for tests. Each function is run in a child by a test: `dask_cluster.py NAME DIRECTORY`."""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import dask
import dask.array as da
import dask_cases
import numpy as np
import pytest
from distributed import Client, LocalCluster, wait
from product_model import integer_product

import amx
import amx.dask
from amx import errors


@contextmanager
def cluster(directory, count=2, **options):
    options = {"threads_per_worker": 1, "processes": True, **options}
    with (
        LocalCluster(
            n_workers=count,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=directory,
            **options,
        ) as local,
        Client(local) as client,
    ):
        yield local, client


@contextmanager
def scheduler_alone(directory):
    """A cluster without workers: these are started by hand."""
    with cluster(directory, 0) as (local, client):
        yield local.scheduler_address, client


@contextmanager
def by_hand(address, directory, *before):
    """A process as `dask worker` is one, which first executes `before`."""
    start = "; ".join(["import sys", *before, "from distributed.cli.dask_worker import main", "main()"])
    command = [sys.executable, "-c", start, address, "--no-dashboard", "--no-nanny", "--nthreads", "1"]
    child = subprocess.Popen([*command, "--local-directory", directory], stderr=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def eventually(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("never")


def count_packings():
    """On a worker: from now on, how often each matrix is packed there, however that comes about."""
    from amx import gemm, packing

    counts, real = {}, packing.packed_as

    @functools.wraps(real)
    def packed_as(kind, b, dtype):
        key = hash(np.ascontiguousarray(b).tobytes())
        counts[key] = counts.get(key, 0) + 1
        return real(kind, b, dtype)

    gemm.packed_as = packing.packed_as = packed_as
    packing.counts = counts


def packings():
    from amx import packing

    return list(packing.counts.values())


def products_in_processes(_):
    """Dask's own pool of processes."""
    rng = np.random.default_rng(int(os.environ["AMX_SEED"]))
    for _ in range(4):
        lazy, a, b, of_k, dtype = dask_cases.product(rng)
        found = lazy.compute(scheduler="processes", num_workers=2)
        dask_cases.check(found, dask_cases.expected(a, b, of_k, dtype), lazy)


def products_on_a_cluster(directory):
    rng = np.random.default_rng(int(os.environ["AMX_SEED"]))
    with cluster(directory) as (_, client):
        client.register_plugin(amx.dask.AmxPlugin())
        cases = [dask_cases.product(rng) for _ in range(60)]
        found = dask.compute(*(case[0] for case in cases))
        for (lazy, *case), each in zip(cases, found, strict=True):
            dask_cases.check(each, dask_cases.expected(*case), lazy)
        x, weight = rng.standard_normal((50, 64), np.float32), rng.standard_normal((9, 64), np.float32)
        layer = amx.Linear(weight)
        lazy = amx.dask.linear(da.from_array(x, chunks=(7, 64)), layer)
        assert lazy.compute().tobytes() == layer(x).tobytes()


def packed_once_on_each_worker(directory):
    rng = np.random.default_rng(int(os.environ["AMX_SEED"]))
    a, b = rng.integers(-128, 128, (400, 64), np.int8), rng.integers(-128, 128, (64, 48), np.int8)
    with cluster(directory) as (_, client):
        client.run(count_packings)
        array = da.from_array(a, chunks=(10, 32))
        assert np.array_equal(
            amx.dask.matmul(array, da.from_array(b, chunks=(32, 16))), integer_product(a, b)
        )
        counts = client.run(packings)
        print("of an array:", counts)
        assert all(set(each) <= {1} for each in counts.values())
        assert max(map(len, counts.values())) <= 6
        client.run(count_packings)
        array = da.from_array(a, chunks=(10, 64))
        assert np.array_equal(amx.dask.matmul(array, amx.pack(b)), integer_product(a, b))
        counts = client.run(packings)
        print("of a PackedMatrix:", counts)
        assert all(each in ([], [1]) for each in counts.values())


def layer_made_once_on_each_worker(directory):
    rng = np.random.default_rng(int(os.environ["AMX_SEED"]))
    layer, x = (
        amx.Linear(rng.standard_normal((9, 64), np.float32)),
        rng.standard_normal((400, 64), np.float32),
    )
    with cluster(directory) as (_, client):
        client.run(count_layers)
        rows = da.from_array(x, chunks=(10, 64))
        first, second = amx.dask.linear(rows, layer), amx.dask.linear(rows + 1, layer)
        found = dask.compute(first, second)
        assert found[0].tobytes() == layer(x).tobytes()
        assert found[1].tobytes() == layer(x + 1).tobytes()
        counts = client.run(lambda: sys.modules["amx.layer"].count)
        print(counts)
        assert max(counts.values()) == 1


def count_layers():
    from amx import layer

    real, layer.count = layer._made, 0

    @functools.wraps(real)
    def made(*arguments):
        layer.count += 1
        return real(*arguments)

    layer._made = made


def plugin_prepares_workers(directory):
    with cluster(directory, 1) as (local, client):
        client.register_plugin(amx.dask.AmxPlugin(require="vector"))
        client.register_plugin(amx.dask.AmxPlugin(require="vector"))  # which is as good
        (first,) = amx.dask.workers(client)
        cores = dask.system.CPU_COUNT
        assert first.version == amx.__version__
        assert first.int8.startswith("vector ")
        assert (first.threads, first.tasks, first.problem) == (cores, 1, "")
        local.scale(2)
        client.wait_for_workers(2)
        share = max(1, cores // 2)
        eventually(lambda: [each.threads for each in amx.dask.workers(client)] == [share, share])
        assert all(each.int8.startswith("vector ") for each in amx.dask.workers(client))
        said = client.run(lambda dask_worker: str(dask_worker.plugins["amx"].diagnosis))
        assert set(said.values()) == {str(amx.explain())}
        client.register_plugin(amx.dask.AmxPlugin(threads=1))
        assert {each.threads for each in amx.dask.workers(client)} == {1}
        table = str(amx.dask.workers(client)).splitlines()
        assert table[0].split()[:2] == ["address", "version"]
        assert len(table) == 3


def adaptive_workers_get_it(directory):
    with cluster(directory, 0) as (local, client):
        client.register_plugin(amx.dask.AmxPlugin(require="vector"))
        local.adapt(minimum=1, maximum=1)
        client.wait_for_workers(1)
        eventually(lambda: [each.int8.split()[0] for each in amx.dask.workers(client)] == ["vector"])


def native_is_required(directory):
    """Where there is none: at once where the worker is there, else in each product."""
    with cluster(directory, 1, silence_logs=logging.CRITICAL) as (local, client):
        with pytest.raises(errors.AmxUnavailableError, match=r"^worker tcp://127\.0\.0\.1:") as raised:
            client.register_plugin(amx.dask.AmxPlugin(require="native"))
        assert raised.value.evidence == tuple(map(str, amx.explain().rungs))
        local.scale(2)
        client.wait_for_workers(2)
        eventually(lambda: all(each.int8.startswith("none: ") for each in amx.dask.workers(client)))
        with pytest.raises(errors.AmxUnavailableError):
            amx.dask.matmul(da.ones((4, 4), dtype="int8", chunks=2), np.ones((4, 4), np.int8)).compute()


def worker_started_by_hand(directory):
    with scheduler_alone(directory) as (address, client), by_hand(address, directory):
        client.register_plugin(amx.dask.AmxPlugin(require="vector"))
        client.wait_for_workers(1)
        eventually(lambda: [each.int8.split()[0] for each in amx.dask.workers(client)] == ["vector"])
        ones = da.ones((40, 30), dtype="int8", chunks=10)
        assert (amx.dask.matmul(ones, ones.T) == 30).all().compute()


MISSING = "sys.modules['amx'] = None"


def worker_without_the_package(directory):
    with scheduler_alone(directory) as (address, client), by_hand(address, directory, MISSING):
        client.wait_for_workers(1)
        (row,) = amx.dask.workers(client)
        assert "install linux-amx[dask] for" in row.problem
        assert row.problem in str(amx.dask.workers(client))
        with pytest.raises(
            Exception, match=r"ModuleNotFoundError.*cannot import amx\.dask.*Install linux-amx\[dask\]"
        ):
            client.register_plugin(amx.dask.AmxPlugin())
        with pytest.raises(ModuleNotFoundError, match="amx"):
            amx.dask.matmul(da.ones((4, 4), dtype="int8", chunks=2), np.ones((4, 4), np.int8)).compute()
        with by_hand(address, directory, MISSING) as later:  # there is a plugin now
            assert later.wait(60) != 0


def slowly(chunk):
    time.sleep(0.05)
    return chunk


def killed_in_the_middle(directory):
    """What a worker had is computed again by the other."""
    rng = np.random.default_rng(int(os.environ["AMX_SEED"]))
    a, b = rng.integers(-128, 128, (600, 64), np.int8), rng.integers(-128, 128, (64, 48), np.int8)
    with cluster(directory, silence_logs=logging.CRITICAL) as (_, client):
        slow = da.from_array(a, chunks=(10, 32)).map_blocks(
            slowly, dtype=np.int8, meta=np.empty((0, 0), np.int8)
        )
        future = client.compute(amx.dask.matmul(slow, da.from_array(b, chunks=(32, 16))))
        eventually(lambda: sum(map(len, client.has_what().values())) > 20)
        victims = client.run(os.getpid)
        assert not future.done()
        os.kill(next(iter(victims.values())), signal.SIGKILL)
        wait(future)
        assert np.array_equal(future.result(), integer_product(a, b))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    globals()[sys.argv[1]](sys.argv[2])
