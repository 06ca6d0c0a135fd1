"""What a worker is given before it multiplies: permission, a backend, and its share of the cores."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from dask.system import CPU_COUNT
from distributed import WorkerPlugin
from distributed.comm import get_address_host
from distributed.protocol.pickle import dumps

from amx import backend, errors

if TYPE_CHECKING:
    from amx.diagnosis import Diagnosis

__all__ = ["AmxPlugin"]

_NAME = "amx"
_WAIT = 10.0  # seconds for what neighbours answer


class AmxPlugin(WorkerPlugin):  # type: ignore[misc]
    """Prepares each worker of a cluster, those that come later too: `client.register_plugin(AmxPlugin())`.

    It asks the kernel for permission to use AMX, decides the backend, and lets products use the worker's
    share of cores: those of its machine by the threads of all workers that the scheduler knows on it, at
    least 1. A worker that comes tells the others on its machine. Registered again, it replaces the first.

    Parameters
    ----------
    require: a mode of `amx.set_backend`, which is set. "native": a worker without AMX fails. Where it is
        there already, `register_plugin` raises the diagnosis; where it comes later, Dask logs it, and every
        product on that worker raises it. None: the worker's mode, AMX_BACKEND at first.
    threads: of a product; None: the share.

    Attributes
    ----------
    diagnosis: on a worker, what `amx.explain()` said after the request.
    share: on a worker, how many threads a product may use.

    Raises
    ------
    BackendError: `require` is no mode.
    ShapeError: `threads` is below 1.
    By `register_plugin`, the diagnosis of a worker without AMX, and what Dask makes of the
        ModuleNotFoundError of one without this package. One without it that comes later does not start.

    Notes
    -----
    Products read OMP_NUM_THREADS when they are loaded, and Dask's nannies set it to 1. The plugin sets it to
    the share, unless this package has been used on the worker before; `amx.dask.workers` shows what holds.
    """

    name = _NAME

    def __init__(self, require: str | None = None, threads: int | None = None) -> None:
        self.require = None if require is None else backend.check_mode(require, "AmxPlugin()")
        self.threads = None if threads is None else operator.index(threads)
        if self.threads is not None and self.threads < 1:
            raise errors.ShapeError(
                f"AmxPlugin(threads={threads})",
                cause="A product needs a thread",
                remedy="Pass a number from 1 on, or None",
            )
        self.share: int | None = None
        self.diagnosis: Diagnosis | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # cloudpickle sends this with its code, so that it arrives where the package is missing.
        def arrive(require: str | None, threads: int | None) -> Any:
            import os
            import socket
            import sys

            try:
                from amx.dask.plugin import AmxPlugin
            except ImportError as error:
                raise ModuleNotFoundError(
                    f"The worker of process {os.getpid()} on {socket.gethostname()} cannot import amx.dask: "
                    f"{error}. Install linux-amx[dask] for its Python, {sys.executable}."
                ) from None
            return AmxPlugin(require, threads)

        return arrive, (self.require, self.threads)

    async def setup(self, worker: Any) -> None:
        """On a worker, as Dask calls it."""
        neighbours = await _on_this_machine(worker)
        total = sum(neighbours.values())
        share = self.threads or max(1, CPU_COUNT // max(total, 1))
        if "amx._native" not in sys.modules:  # which reads it
            os.environ["OMP_NUM_THREADS"] = str(share)
        self.take(share if self.share is None else min(share, self.share))  # a later worker may have told it
        await _tell(worker, [each for each in neighbours if each != worker.address], share)
        self._decide(worker.address)

    def take(self, share: int) -> None:
        """Let products use so many threads, unless the caller of the plugin said how many."""
        from amx.threads import set_num_threads

        self.share = self.threads or share
        set_num_threads(self.share)

    def _decide(self, address: str) -> None:
        """The backend, with permission asked for where that is its part."""
        from amx.diagnosis import explain

        if self.require is not None:
            backend.set_backend(self.require)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", errors.AmxWarning)  # the table of workers says it
                backend.get_backend("int8")
        except errors.AmxError as error:
            error.what = f"worker {address}: {error.what}"
            raise
        finally:
            self.diagnosis = explain()


async def _on_this_machine(worker: Any) -> dict[str, int]:
    """Threads of the workers that the scheduler knows on this one's machine, this one among them."""
    threads: dict[str, int] = await worker.scheduler.ncores()
    host = get_address_host(worker.address)
    found = {address: count for address, count in threads.items() if get_address_host(address) == host}
    return {**found, worker.address: worker.state.nthreads}


async def _tell(worker: Any, neighbours: list[str], share: int) -> None:
    """Those that have the plugin take the same share. Who is just leaving or coming need not answer."""

    def hear(share: int, dask_worker: Any) -> None:
        plugin = dask_worker.plugins.get("amx")
        if plugin is not None:
            plugin.take(share)

    if neighbours:
        message = {"op": "run", "function": dumps(hear), "kwargs": dumps({"share": share})}
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(
                worker.scheduler.broadcast(msg=message, workers=neighbours, on_error="ignore"), _WAIT
            )
