"""amx.emulate(): AMX in this process, on any x86-64 machine, for the time of a block."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from amx import backend, machine, tile_scope
from amx._lib import CData, ffi, lib
from amx.causes import Cause
from amx.emulation.counts import Counts
from amx.emulation.machine import Emulated
from amx.errors import ContextError, EmulatedCpuError, EmulationError
from amx.machine import Step
from amx.permission import ARCH_GET_XCOMP_PERM
from amx.printable import printable_lines
from amx.xstate import XFEATURE_MASK_XTILEDATA

if TYPE_CHECKING:
    from contextlib import AbstractContextManager, _GeneratorContextManager

    from amx.emulation.trace import Trace

__all__ = ["Emulation", "emulate"]

NEEDED = {signal.SIGILL, signal.SIGTRAP}  # of instructions, and of sites while they are patched
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

_lock = threading.Lock()
_active: Emulation | None = None


class Emulation:
    """An emulated AMX, while its block is open and afterwards.

    `trace` is what was executed, once the block has ended, and None where nothing was recorded.
    """

    def __init__(self, cpu: str) -> None:
        self.cpu = cpu
        self.trace: Trace | None = None
        self._counts: Counts | None = None  # once it has ended

    @property
    def counts(self) -> Counts:
        """What was executed since the block was entered; of forked children only in those."""
        return self._counts or _counts()

    def __str__(self) -> str:
        return f"{self.cpu}: {self.counts}"


def emulate(
    cpu: str = "spr", *, patch: bool = True, trace: str | os.PathLike[str] | None = None
) -> _GeneratorContextManager[Emulation]:
    """Emulate AMX in this process while the block is open: the CPU's instructions, the kernel's permission.

    Inside, AMX instructions of any code in this process run on the software tile machine, `amx.available()`
    is True, permission can be requested, and `amx.matmul` and `amx.TileContext` execute native instructions
    (unless `amx.set_backend` says otherwise). It concerns all threads. What asks CPUID, XGETBV or arch_prctl
    itself, as other libraries do, still sees the real machine: run such a program by `amx emulate`.

    Each block is a machine of its own: permission is not granted at its beginning, and cannot be taken back
    in it. When it ends, products of `amx.matmul` in other threads are waited for, and what they multiply next
    runs as outside; AMX code of others may not be executing then. A forked child that leaves the block ends
    it for itself alone. Handlers for SIGILL, SIGSEGV, SIGBUS and SIGTRAP from before are called as ever; do
    not install any inside, by `signal.signal` or `faulthandler.enable` either: they would take the traps.

    Parameters
    ----------
    cpu: `"spr"`, `"gnr"`, `"gnr-d"` or `"dmr"`; `amx.emulation.features()` lists what each has. Row
        moves to ZMM registers (`amx_avx512`) need these of the real machine, and are undefined without.
    patch: replace an instruction by a call of the emulator after it has trapped once; False: every one traps.
    trace: a file for what was executed, site by site (docs/json.md), written when the process that entered
        the block leaves it; it is `Emulation.trace` there then.

    Raises
    ------
    EmulatedCpuError: there is no such CPU to be emulated.
    EmulationError: `trace` is a directory, or in none. When entered: AMX is emulated in this process
        already, by another block or `amx emulate`; or the real kernel has granted this process permission,
        so that nothing would trap; or a `TileContext` is open; or this build has no machine layer; or there
        is no room in TMPDIR for what `trace` records.
    EmulationError (when left): other code requested permission of the real kernel, and was granted it; or
        what `trace` recorded was removed meanwhile.
    ContextError (when left): a `TileContext` was still open; it is closed then.
    OSError (when left): `trace` cannot be written.

    A block that an exception ends goes on ending by that one. What becomes of `trace` is added to it as a
    note, to SystemExit as a RuntimeWarning.

    Examples
    --------
    >>> import numpy as np, amx
    >>> with amx.emulate("gnr") as emulation:
    ...     amx.request()
    ...     c = amx.matmul(np.ones((3, 4), np.int8), np.ones((4, 2), np.int8))
    ...     str(amx.get_backend())
    'Backend.NATIVE'
    >>> emulation.counts.instructions > 0
    True
    """
    names = [ffi.string(model.name).decode() for model in _models()]
    if cpu not in names:
        raise EmulatedCpuError(
            f"amx.emulate({cpu!r})",
            cause="There is no such CPU to be emulated",
            remedy=f"Use one of {', '.join(names)}",
        )
    file = None if trace is None else Path(trace)
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise EmulationError(
            f"amx.emulate(trace={str(file)!r})",
            cause="It is a directory" if file.is_dir() else "There is no such directory",
            remedy="Name a file in a directory that exists",
        )
    return _emulate(cpu, patch, file)


@contextlib.contextmanager
def _emulate(cpu: str, patch: bool, trace: Path | None) -> Iterator[Emulation]:
    emulation = Emulation(cpu)
    with _one_at_a_time(emulation), _place_for(trace) as directory:
        _start(cpu, patch, directory)
        with _recorded(emulation, directory, trace):
            try:
                with backend.decided_anew(Emulated(cpu)):
                    yield emulation
            finally:
                left_open = tile_scope.close_native()
                emulation._counts = _counts()
                lib.amx_trap_stop()
    if _granted_for_real():
        raise EmulationError(
            "The kernel granted permission for AMX while it was emulated",
            cause="Other code asked the kernel itself; from then on instructions executed on the CPU",
            remedy="Run the whole program by amx emulate, which answers such requests",
        )
    if left_open:
        raise ContextError(
            f"amx.emulate() ended with {left_open} TileContext open",
            cause="Its tiles were emulated ones, which are gone",
            remedy="Leave every TileContext before the block ends; this one is closed now",
        )


def _models() -> Iterator[CData]:
    i = 0
    while model := lib.amxemu_cpu_model(i):
        yield model
        i += 1


@contextlib.contextmanager
def _one_at_a_time(emulation: Emulation) -> Iterator[None]:
    global _active
    with _lock:
        active = _active  # which another thread may be leaving
        if active is not None:
            raise EmulationError(
                f"amx.emulate({emulation.cpu!r}) while {active.cpu} is emulated",
                cause="Emulation concerns the whole process, so that one block can be open at a time",
                remedy="Leave the other block first, also if another thread has opened it",
            )
        _active = emulation
    try:
        yield
    finally:
        _active = None


def _place_for(trace: Path | None) -> AbstractContextManager[str]:
    """A directory for what is recorded; its name is empty where nothing is."""
    if trace is None:
        return contextlib.nullcontext("")
    from amx.emulation import scratch

    return scratch.directory(f"amx.emulate(trace={str(trace)!r})")


@contextlib.contextmanager
def _recorded(emulation: Emulation, directory: str, file: Path | None) -> Iterator[None]:
    """What was recorded goes to the file in the end. An exception of the block stays what it is for all that.

    It may be the program's exit status.
    """
    owner = os.getpid()
    try:
        yield
    except BaseException as ended:
        if file is not None and os.getpid() == owner:  # else it is a forked child that leaves the block, too
            try:
                _keep(emulation, directory, file)
            except Exception as error:
                _tell(ended, f"amx.emulate(trace={str(file)!r}): nothing is written. {error}")
        raise
    if file is not None and os.getpid() == owner:
        _keep(emulation, directory, file)


def _keep(emulation: Emulation, directory: str, file: Path) -> None:
    from amx.emulation import scratch, trace

    scratch.require(directory)
    emulation.trace = trace.read(directory)
    emulation.trace.write(file)


def _tell(ended: BaseException, text: str) -> None:
    """Along with an exception; as a warning where that is none that people are shown."""
    ended.add_note(printable_lines(text))
    if isinstance(ended, SystemExit):
        with contextlib.suppress(RuntimeWarning):  # raised where warnings are errors
            warnings.warn(printable_lines(text), RuntimeWarning, stacklevel=6)  # at the block


def _granted_for_real() -> bool:
    """Whether AMX instructions of this process execute on the CPU. Without tiles in XCR0 nobody is asked."""
    real = machine.Real()
    if (real.xgetbv(0) or 0) & XFEATURE_MASK_XTILEDATA == 0:
        return False
    read = real.arch_prctl_get(ARCH_GET_XCOMP_PERM)
    if read.result != 0:  # a filter denies it
        return real.probe_tilezero().step is Step.DONE
    return bool(read.value & XFEATURE_MASK_XTILEDATA)


def _start(cpu: str, patch: bool, directory: str) -> None:
    current = machine.current()
    if current.stub:
        raise EmulationError(
            "amx.emulate() is not available",
            cause=Cause.NO_MACHINE_LAYER.words,
            remedy=Cause.NO_MACHINE_LAYER.remedy,
        )
    if current.emulated:
        raise _already(current.emulated)
    if tile_scope.open_contexts():
        raise EmulationError(
            f"amx.emulate() with {tile_scope.open_contexts()} TileContext open",
            cause="Its tiles are the CPU's, and the emulated ones are others",
            remedy="Leave every TileContext first",
        )
    blocked = sorted(NEEDED & signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    if blocked:
        raise EmulationError(
            f"amx.emulate() in a thread that blocks {' and '.join(each.name for each in blocked)}",
            cause="AMX instructions raise it, and the kernel kills a process that blocks what it raises",
            remedy="Unblock it: signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGILL, signal.SIGTRAP])",
        )
    name, where = ffi.new("char[]", cpu.encode()), ffi.new("char[]", os.fsencode(directory))
    options = ffi.new("struct amx_trap_options *", {"cpu": name, "patch": patch, "hybrid": -1})
    options.trace = where if directory else ffi.NULL
    result = lib.amx_trap_start(options)
    if result == -errno.EPERM:
        raise EmulationError(
            "amx.emulate() in a process with permission for AMX",
            cause="The kernel has granted it, for good: AMX instructions execute on the CPU, and none traps",
            remedy="Use amx.emulate() in a fresh process that does not request permission before; "
            "or leave it away: AMX itself can be used here",
        )
    if result == -errno.EALREADY:
        raise _already("another CPU")
    if directory and -result in NO_ROOM:
        raise EmulationError(
            "amx.emulate(trace=...) cannot record",
            cause=f"{directory}: {os.strerror(-result)}",
            remedy="Set TMPDIR to a directory with room; ulimit -f has to allow 2 MiB",
            errno=-result,
        )
    if result != 0:
        raise EmulationError(
            "amx.emulate() failed",
            cause=os.strerror(-result),
            remedy="See amx emulate --probe: it says what this machine lacks",
            errno=-result,
        )


def _already(by: str) -> EmulationError:
    return EmulationError(
        "amx.emulate() in a process where AMX is emulated",
        cause=f"It is emulated already: {by}",
        remedy="Leave amx.emulate() away: everything in this process has an emulated AMX",
    )


def _counts() -> Counts:
    counts = ffi.new("struct amx_trap_counts *")
    lib.amx_trap_count(counts)
    return Counts.of(counts)


def _renew_lock() -> None:
    """In a forked child: the thread that held the lock, if any, is not there to release it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
