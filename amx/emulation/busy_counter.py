"""Cycles in which the AMX unit was busy, counted by the processor for every thread of this process.

The event is EXE.AMX_BUSY, code 0xB7, mask 0x02, on Sapphire and Granite Rapids (Linux
tools/perf/pmu-events/arch/x86/{sapphirerapids/other,graniterapids/pipeline}.json; intel/perfmon marks it as
speculative). AMX_OPS_RETIRED (0xCE) was withdrawn from those files in 2024 (Sapphire Rapids' version 1.20).
That the event means the same on other processors, and that a hypervisor lets it count, is not taken for
granted: `is_trustworthy` tries it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from amx._lib import ffi, lib
from amx.errors import errno_name

__all__ = ["AMX_BUSY", "Counter", "Event", "Reading", "count", "is_trustworthy"]

PERF_TYPE_RAW = 4  # uapi/linux/perf_event.h
READING = struct.Struct("=3Q")
TDPBSSD = 0
PRODUCTS = 100


@dataclass(frozen=True, slots=True)
class Event:
    """What is counted, as perf_event_open(2) names it."""

    name: str
    type: int
    config: int


AMX_BUSY = Event("EXE.AMX_BUSY", PERF_TYPE_RAW, 0x02B7)


@dataclass(frozen=True, slots=True)
class Reading:
    """A count, and whether the counter ran all the time: others may share it."""

    count: int
    is_complete: bool


class Counter:
    """Counters of all threads that there were when it began, and of what those have created since."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}
        self.refusal = ""  # why nothing is counted, empty where it is

    def read(self) -> Reading | None:
        """What was counted so far; None where nothing is."""
        if self.refusal or not self._files:
            return None
        readings = [READING.unpack(os.read(file, READING.size)) for file in self._files.values()]
        return Reading(
            count=sum(counted for counted, _, _ in readings),
            is_complete=all(wanted == ran for _, wanted, ran in readings),
        )

    def _open(self, event: Event, threads: frozenset[int]) -> None:
        for thread in threads - self._files.keys():
            file = lib.amx_perf_open(event.type, event.config, thread)
            if file >= 0:
                self._files[thread] = file
            elif file != -errno.ESRCH:  # it has ended meanwhile
                self.refusal = _why(-file)
                return

    def _close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files.clear()


@contextlib.contextmanager
def count(event: Event = AMX_BUSY, threads: frozenset[int] | None = None) -> Iterator[Counter]:
    """Count while the block is open: in these threads (as gettid), or in all of this process."""
    counter = Counter()
    try:
        wanted = threads or _threads()
        while not counter.refusal and not wanted <= counter._files.keys():
            counter._open(event, wanted)
            # A thread that began meanwhile inherits the counter of its creator, unless that had none yet.
            wanted = threads or _threads()
            if threads:
                break
        yield counter
    finally:
        counter._close()


@functools.cache
def is_trustworthy() -> bool:
    """Whether the counter counts products, and only those. Executes some on a thread of its own.

    Only where this process has permission for tile data.
    """
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(_try()))
    thread.start()
    thread.join()
    return seen == [True]


def _try() -> bool:
    with count(threads=frozenset({threading.get_native_id()})) as counter:
        before = counter.read()
        for _ in range(PRODUCTS):
            pass
        idle = counter.read()
        _multiply()
        after = counter.read()
    if before is None or idle is None or after is None:
        return False
    return before.count == idle.count == 0 and after.count > 0 and after.is_complete


def _multiply() -> None:
    config = ffi.new("uint8_t[64]")
    config[0] = 1
    for tile in range(3):
        config[16 + 2 * tile], config[48 + tile] = 64, 16
    lib.amx_ldtilecfg(lib.AMX_NATIVE, config)
    for _ in range(PRODUCTS):
        lib.amx_tdp(lib.AMX_NATIVE, ffi.NULL, TDPBSSD, 0, 1, 2)
    lib.amx_tilerelease(lib.AMX_NATIVE)


def _threads() -> frozenset[int]:
    return frozenset(map(int, os.listdir("/proc/self/task")))


def _why(number: int) -> str:
    refused = f"perf_event_open failed ({errno_name(number)}): "
    if number in (errno.EACCES, errno.EPERM):
        return refused + f"perf_event_paranoid is {_paranoid()} (2 or less would do), or a sandbox forbids it"
    if number in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV):
        return refused + "the kernel has no counters of the processor's, as in most virtual machines"
    return refused + os.strerror(number)


def _paranoid() -> str:
    try:
        with open("/proc/sys/kernel/perf_event_paranoid", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "not readable"
