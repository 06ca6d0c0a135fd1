"""Nearest neighbours over Dask: of each question the ten closest of two million int8 embeddings, exact.

$ pip install "linux-amx[dask,zarr]"
$ python examples/neighbours.py                           # 2,000,000 of 384 dimensions: 768 MB on disk
$ python examples/neighbours.py --count 100000 --compare  # fewer; and Dask's own product of float32

The embeddings lie in a Zarr store that is larger than the memory of both workers together. Workers load a
chunk of rows, multiply it by all questions, which each has packed once, and keep the best of the chunk.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr
from dask.utils import format_bytes
from distributed import Client, LocalCluster, wait
from numpy.typing import NDArray

import amx
import amx.dask

Integers = NDArray[np.int64]

ROWS = 8192  # of a chunk, and of a file of the store
TOGETHER = 8  # chunks whose best are compared at a time
GROUP = 16  # rows of which the best one is looked for first
SEED = 1
LOWEST = np.iinfo(np.int32).min


def write_embeddings(path: str, count: int, dimensions: int) -> Any:
    """A Zarr store of random int8, a chunk at a time; one that is there already is taken as it is."""
    shape = (count, dimensions)
    if Path(path).exists():
        store = zarr.open_array(path, mode="r")
        if store.shape != shape or store.dtype != np.int8:
            sys.exit(f"{path} holds {store.dtype} of shape {store.shape}: remove it, or name another --store")
        return store
    # Random numbers do not get smaller by compression.
    store = zarr.create_array(
        path, shape=shape, chunks=(min(ROWS, count), dimensions), dtype="int8", compressors=None
    )
    rng = np.random.default_rng(SEED)
    for begin in range(0, count, ROWS):
        end = min(begin + ROWS, count)
        store[begin:end] = rng.integers(-128, 128, (end - begin, dimensions), np.int8)
    return store


def best_of_chunk(scores: NDArray[Any], top: int, rows_each: int, block_id: Any = None) -> Integers:
    """The best rows of scores (rows, questions): (1, 2, top, questions), their scores and their numbers.

    Among equal scores the lower number is better. Whatever is among the best is in a group of rows whose best
    one is, so most scores are looked at once.

    rows_each, block_id: rows of the chunks before, and which chunk this is, as Dask counts them.
    """
    rows, questions = scores.shape
    if rows % GROUP or rows // GROUP < top:
        padded = np.full((max(-(-rows // GROUP), top) * GROUP, questions), LOWEST, scores.dtype)
        padded[:rows] = scores
    else:
        padded = scores
    groups = padded.reshape(-1, GROUP, questions)
    of_group = groups.max(axis=1)
    bound = np.partition(of_group.T.copy(), -top, axis=1)[:, -top]
    group, question = np.nonzero(of_group >= bound)
    candidates = groups[group, :, question]  # (candidates, GROUP)
    place, within = np.nonzero(candidates >= bound[question][:, np.newaxis])
    number = group[place] * GROUP + within
    found = candidates[place, within].astype(np.int64)
    question = question[place]
    is_row = number < rows
    return best_of(found[is_row], number[is_row] + block_id[0] * rows_each, question[is_row], top, questions)


def best_of(score: Integers, number: Integers, question: Integers, top: int, questions: int) -> Integers:
    """The best of a list, of each question: (1, 2, top, questions), in order, padded with number -1."""
    order = np.lexsort((number, -score, question))
    score, number, question = score[order], number[order], question[order]
    place = np.arange(len(question)) - np.searchsorted(question, question)
    kept = place < top
    best = np.empty((1, 2, top, questions), np.int64)
    best[0, 0], best[0, 1] = LOWEST, -1
    best[0, 0, place[kept], question[kept]] = score[kept]
    best[0, 1, place[kept], question[kept]] = number[kept]
    return best


def best_of_several(several: NDArray[Any]) -> Integers:
    """The best of the best of chunks: (chunks, 2, top, questions) to (1, 2, top, questions)."""
    _, _, top, questions = several.shape
    question = np.broadcast_to(np.arange(questions), several[:, 0].shape)
    is_row = several[:, 1] >= 0
    return best_of(several[:, 0][is_row], several[:, 1][is_row], question[is_row], top, questions)


def nearest(embeddings: Any, questions: NDArray[np.int8], top: int) -> Any:
    """Lazy: (1, 2, top, questions), the best scores and their rows.

    embeddings: a dask array (N, dimensions) of int8; questions: (questions, dimensions).
    """
    scores = amx.dask.matmul(embeddings, questions.T)
    meta = np.empty((0,) * 4, np.int64)
    best = da.map_blocks(
        best_of_chunk,
        scores,
        top,
        embeddings.chunks[0][0],
        dtype=np.int64,
        new_axis=[1, 2],
        chunks=((1,) * embeddings.numblocks[0], (2,), (top,), (len(questions),)),
        meta=meta,
    )
    while best.numblocks[0] > 1:
        best = best.rechunk({0: TOGETHER})
        chunks = ((1,) * best.numblocks[0], *best.chunks[1:])
        best = best.map_blocks(best_of_several, chunks=chunks, dtype=np.int64, meta=meta)
    return best


@contextmanager
def workers(count: int, memory: int, directory: str) -> Iterator[Client]:
    """A cluster of processes of one thread each, with one core each, on this machine."""
    settings = {
        "distributed.worker.profile.enabled": False,
        # Else each chunk's memory goes back to the kernel, and the next one's comes page by page.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 100 << 20,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=memory,
            dashboard_address=None,
            host="127.0.0.1",
            local_directory=directory,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(amx.dask.AmxPlugin(threads=1))
        yield client


def peak_memory(client: Client) -> tuple[int, int]:
    """Of the workers with most, in bytes: measured by Dask twice a second, and as the kernel remembers."""

    def peaks(dask_worker: Any) -> tuple[int, int]:
        with open("/proc/self/status") as status:
            kibibytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return max(dask_worker.monitor.quantities["memory"]), kibibytes * 1024

    by_dask, by_kernel = zip(*client.run(peaks).values(), strict=True)
    return max(by_dask), max(by_kernel)


def reference(store: Any, questions: NDArray[np.int8], top: int) -> tuple[Integers, Integers]:
    """Scores and rows, (top, questions), by NumPy in int64."""
    wide = questions.astype(np.int64).T
    parts = (store[begin : begin + ROWS].astype(np.int64) for begin in range(0, store.shape[0], ROWS))
    scores = np.concatenate([rows @ wide for rows in parts])
    number = np.stack([np.lexsort((np.arange(len(scores)), -column))[:top] for column in scores.T], axis=1)
    return np.take_along_axis(scores, number, axis=0), number


def measured(
    arguments: argparse.Namespace, store: Any, questions: NDArray[np.int8], count: int
) -> tuple[Integers, float]:
    """The best by so many workers, and in how many seconds; these and memory are printed."""
    memory = dask.utils.parse_bytes(arguments.memory)
    with tempfile.TemporaryDirectory() as directory, workers(count, memory, directory) as client:
        print(amx.dask.workers(client))
        rows = da.from_zarr(store)
        nearest(rows[: count * ROWS], questions, arguments.top).compute()  # what is loaded once
        best: Integers
        best, seconds = timed(nearest(rows, questions, arguments.top))
        peak, highest = peak_memory(client)
        print(
            f"{count} workers: {seconds:.1f} s, each of them at most {format_bytes(peak)} of "
            f"{format_bytes(memory)} by Dask's report, {format_bytes(highest)} at any time"
        )
        if max(peak, highest) > memory:
            sys.exit("a worker took more memory than it was allowed")
        if arguments.compare:
            compare(rows[: arguments.compare], questions)
    return best[0], seconds


def compare(rows: Any, questions: NDArray[np.int8]) -> None:
    """The product alone, beside Dask's own of float32, of operands in the workers' memory."""
    seconds: list[list[float]] = [[], []]
    floats = rows.astype(np.float32)
    second = da.from_array(questions.T.astype(np.float32), chunks=-1)
    rows, floats, second = dask.persist(rows, floats, second)
    wait([rows, floats, second])
    products = [
        amx.dask.matmul(rows, questions.T).max(axis=0),
        da.matmul(floats, second).max(axis=0),
    ]
    for _ in range(5):
        for which, product in enumerate(products):
            seconds[which].append(timed(product)[1])
    for which, name in enumerate(("amx.dask int8", "Dask float32")):
        size = format_bytes((rows, floats)[which].nbytes)
        print(f"{name:14}{min(seconds[which]):8.3f} s for {len(rows)} rows in {size}")


def timed(lazy: Any) -> tuple[Any, float]:
    """What it is, and seconds."""
    start = time.perf_counter()
    found = lazy.compute()
    return found, time.perf_counter() - start


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Find the nearest of many embeddings, exactly.")
    parser.add_argument("--count", type=int, default=2_000_000, help="embeddings (default: %(default)s)")
    parser.add_argument("--dimensions", type=int, default=384, help="of each (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--top", type=int, default=10, help="how many of each (default: %(default)s)")
    parser.add_argument("--store", help="directory to keep the embeddings in (default: a temporary one)")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="numbers to measure (default: 1 2)"
    )
    parser.add_argument("--memory", default="300 MiB", help="that a worker may take (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=5, help="questions that NumPy answers, too")
    parser.add_argument(
        "--compare",
        type=int,
        nargs="?",
        const=8 * ROWS,
        default=0,
        metavar="ROWS",
        help="measure the product of so many rows, and Dask's own of float32",
    )
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        path = arguments.store or os.path.join(directory, "embeddings.zarr")
        store = write_embeddings(path, arguments.count, arguments.dimensions)
        rng = np.random.default_rng(SEED + 1)
        questions = rng.integers(-128, 128, (arguments.questions, arguments.dimensions), np.int8)
        print(f"{arguments.count} embeddings, {format_bytes(store.nbytes)}; {arguments.questions} questions")
        right = np.stack(reference(store, questions[: arguments.sample], arguments.top))
        seconds = []
        for count in arguments.workers:
            best, once = measured(arguments, store, questions, count)
            seconds.append(once)
            if not np.array_equal(best[..., : arguments.sample], right):
                sys.exit("NumPy's int64 product has others")
        print(f"The first {right.shape[-1]} questions have the neighbours that NumPy finds in int64.")
        if len(seconds) > 1:
            first, last = arguments.workers[0], arguments.workers[-1]
            print(f"With {last} workers it is {seconds[0] / seconds[-1]:.2f} times as fast as with {first}.")


if __name__ == "__main__":
    main()
