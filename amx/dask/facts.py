"""What each worker of a cluster has, asked there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from amx.printable import printable
from amx.version import __version__

__all__ = ["Worker", "Workers", "here", "workers"]


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker.

    Attributes
    ----------
    address: as the scheduler knows it.
    version: of this package; empty where it is missing, and then `problem` says so.
    cpu: the brand string.
    permission: "granted", "not requested" or "not to be had".
    int8, bf16, fp16: what multiplies: "native", "emulated", or "vector" with the name of the kernels.
    threads: that a large product would use now.
    tasks: that run at the same time, Dask's own threads.
    problem: why one of these is not known.
    """

    address: str
    version: str = ""
    cpu: str = ""
    permission: str = ""
    int8: str = ""
    bf16: str = ""
    fp16: str = ""
    threads: int = 0
    tasks: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Workers:
    """All of them, in the order of their addresses; print it to read it as a table."""

    workers: tuple[Worker, ...]

    def __iter__(self) -> Iterator[Worker]:
        return iter(self.workers)

    def __len__(self) -> int:
        return len(self.workers)

    def __str__(self) -> str:
        names = [field.name for field in fields(Worker)]
        rows = [[printable(str(getattr(each, name) or "")) for name in names] for each in self.workers]
        shown = [
            index for index, name in enumerate(names) if name == "address" or any(row[index] for row in rows)
        ]
        table = [[(names, *rows)[line][index] for index in shown] for line in range(len(rows) + 1)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        )


def workers(client: Any) -> Workers:
    """What each worker of a `distributed.Client` has. Nothing is changed, and no permission requested.

    A worker without this package has a row that says so.

    Raises
    ------
    TypeError: the client is asynchronous.
    """
    if client.asynchronous:
        raise TypeError("amx.dask.workers() waits, and this client is asynchronous: pass Client(address)")

    # cloudpickle sends this with its code, so that it arrives where the package is missing.
    def ask(dask_worker: Any) -> Any:
        try:
            from amx.dask.facts import here
        except ImportError as error:
            import sys

            return f"{error}: install linux-amx[dask] for {sys.executable}"
        return here(dask_worker.address, dask_worker.state.nthreads)

    answers = client.run(ask, on_error="return")
    return Workers(tuple(_as_worker(address, answers[address]) for address in sorted(answers)))


def _as_worker(address: str, answer: object) -> Worker:
    return answer if isinstance(answer, Worker) else Worker(address, problem=str(answer).partition("\n")[0])


def here(address: str, tasks: int) -> Worker:
    """What this process has."""
    from amx import cpu
    from amx.threads import get_num_threads

    return Worker(
        address,
        __version__,
        cpu.brand(),
        _permission(),
        _engine("int8"),
        _engine("bf16"),
        _engine("fp16"),
        get_num_threads(),
        tasks,
    )


def _permission() -> str:
    """What the kernel says now, for who cannot ask it here."""
    from amx import permission
    from amx.diagnosis import available

    if permission.granted():
        return "granted"
    return "not requested" if available() else "not to be had"


def _engine(group: str) -> str:
    """What multiplies, as it is decided, or would be."""
    from amx import errors
    from amx.backend import Backend, get_backend, vector_families

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.AmxWarning)
            engine = get_backend(group, request=False)
    except errors.AmxPermissionError:
        return "native, once permitted"
    except errors.AmxError as error:
        return f"none: {error.what}"
    if engine is not Backend.VECTOR:
        return str(engine.value)
    return f"vector {vector_families(group)[0]}"
