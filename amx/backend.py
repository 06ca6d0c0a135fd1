"""Which engine runs tiles: the CPU, or the software tile machine with the same results bit for bit.

The start value comes from the environment variable `AMX_BACKEND`: `auto` (default), `native` or `emulated`.
Nothing is decided, and no permission requested, before the first use.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from amx import errors

if TYPE_CHECKING:
    from amx import cpu

__all__ = ["Backend", "Group", "announced", "decided_anew", "engine_for", "get_backend", "set_backend"]


class Backend(enum.Enum):
    """An engine that runs tiles."""

    NATIVE = "native"
    EMULATED = "emulated"


class Group(enum.Enum):
    """Instructions that a CPU announces together."""

    TILE = "tile"
    INT8 = "int8"
    BF16 = "bf16"
    FP16 = "fp16"


# The group of each product, by its number in csrc/amx.h: AMX_TDPBSSD, BSUD, BUSD, BUUD, BF16PS, FP16PS; and
# of what only moves tiles.
_GROUPS = (Group.INT8, Group.INT8, Group.INT8, Group.INT8, Group.BF16, Group.FP16, Group.TILE)
_MODES = ("auto", "native", "emulated")
_BACKENDS = (Backend.NATIVE, Backend.EMULATED)  # by AMX_NATIVE and AMX_EMULATED in csrc/amx.h
_NATIVE = _BACKENDS.index(Backend.NATIVE)
_WAIT = 1e-3  # seconds between two looks at what is running

_lock = threading.RLock()
_mode: str | None = None  # None until first needed: then AMX_BACKEND's value
# The engine of each of _GROUPS, None while it is not decided: what a product looks up on every call.
_engines: list[int | None] = [None] * len(_GROUPS)
_announced: dict[Group, bool] = {}


def set_backend(mode: str) -> None:
    """Choose the engine for all later work of this process.

    Parameters
    ----------
    mode: `"native"` (raise where AMX cannot be used), `"emulated"`, or `"auto"` (native where it can be used,
        else emulated with one `EmulatedWarning`).

    Raises
    ------
    BackendError: `mode` is none of the three.
    """
    global _mode
    checked = _check(mode, "set_backend()")
    with _lock:
        _mode = checked
        _engines[:] = [None] * len(_GROUPS)
        _announced.clear()


def get_backend(group: Group | str = Group.TILE, *, request: bool = True) -> Backend:
    """The engine that runs tiles, or a group of their instructions (`"int8"`, `"bf16"` or `"fp16"`).

    Deciding this for the first time requests permission from the kernel, as any first use does, unless
    `request` is False; `amx.available()` asks without side effect.

    Raises
    ------
    AmxPermissionError: `request` is False, and AMX could be used if permission were requested.
    AmxUnavailableError: the mode is `"native"` and AMX cannot be used; the error is the diagnosis.
    FeatureError: the mode is `"native"` and the CPU does not announce this group.
    BackendError: there is no such group, or AMX_BACKEND names no mode.
    """
    return _BACKENDS[engine_for(_GROUPS.index(_parse(group)), request=request)]


def engine_for(index: int, *, request: bool = True, settled: bool = False) -> int:
    """The engine by its number in csrc/amx.h, for an instruction by its number; raises as `get_backend`.

    `settled`: wait for a thread that is about to decide anew, while native products may not begin. Where
    that is this thread, in a signal handler, what was decided before holds again, and they may.
    """
    if settled:
        with _lock:
            decided = engine_for(index, request=request)
            if decided == _NATIVE:
                _allow_native(True)
            return decided
    engine = _engines[index]
    if engine is None:
        with _lock:
            engine = _BACKENDS.index(_decide(_GROUPS[index], request))
            if engine == _NATIVE:
                _allow_native(True)
            _engines[index] = engine
    return engine


@contextlib.contextmanager
def decided_anew() -> Iterator[None]:
    """Decide for another machine while the context is open, then go back to what was decided before.

    The mode stays, but for `"emulated"`, which becomes `"auto"`: to ask for another machine is to ask for
    its tiles. At the end it waits for products of other threads that are running on those; what they
    multiply next is decided by then.

    Raises
    ------
    ContextError: this thread is in the handler of a signal that interrupts a product, whose end it would
        wait for.
    """
    from amx._lib import lib

    global _mode
    if lib.amx_gemm_asking():
        raise errors.ContextError(
            "This is the handler of a signal that interrupts a product",
            cause="Emulated tiles would come and go under the product, which ends only after the handler",
            remedy="Set a flag here, and act on it after the product",
        )
    with _lock:
        before = _mode, _engines.copy(), _announced.copy()
        _mode = _start_mode() if _mode is None else _mode
        if _mode == "emulated":
            _mode = "auto"
        _engines[:] = [None] * len(_GROUPS)
        _announced.clear()
    try:
        yield
    finally:
        with _lock:
            _mode, _engines[:] = before[0], before[1]
            _announced.clear()
            _announced.update(before[2])
            # Not by _allow_native: at the interpreter's end nothing can be imported any more.
            while lib.amx_gemm_native(False):
                time.sleep(_WAIT)
            if _NATIVE in _engines:
                lib.amx_gemm_native(True)


def _allow_native(may_begin: bool) -> int:
    """Let products begin on the CPU's tiles, or not; how many are running there."""
    from amx._lib import lib

    return lib.amx_gemm_native(may_begin)


def announced(group: Group) -> bool:
    """Whether the CPU announces a group, so that its instructions may execute natively."""
    from amx import cpu

    known = _announced.get(group)
    if known is None:
        known = _announced[group] = _feature(group) in cpu.features()
    return known


def _parse(group: Group | str) -> Group:
    try:
        return Group(group)
    except ValueError:
        raise errors.BackendError(
            f"Instruction group {group!r}",
            cause="There is no such group",
            remedy=f"Use one of {', '.join(each.value for each in Group)}",
        ) from None


def _check(mode: str, source: str) -> str:
    if mode not in _MODES:
        raise errors.BackendError(
            f"{source} says {mode!r}",
            cause="There is no such backend",
            remedy=f"Use one of {', '.join(_MODES)}",
        )
    return mode


def _start_mode() -> str:
    return _check(os.environ.get("AMX_BACKEND") or "auto", "the environment variable AMX_BACKEND")


def _decide(group: Group, request: bool) -> Backend:
    """Tiles first; then, where they are native, the group. So the lack of AMX is warned about once."""
    global _mode
    if _mode is None:
        _mode = _start_mode()
    if _mode == "emulated":
        return Backend.EMULATED
    if group is not Group.TILE and get_backend(Group.TILE, request=request) is Backend.EMULATED:
        return Backend.EMULATED
    try:
        if group is Group.TILE:
            _make_tiles_usable(request)
        elif not announced(group):
            raise missing(group)
    except errors.AmxUnavailableError as reason:
        if _mode == "native" or (not request and isinstance(reason, errors.AmxPermissionError)):
            raise
        what = "AMX" if group is Group.TILE else f"AMX's {group.value} group"
        warnings.warn(
            f"{what} runs on the software tile machine, slowly: {reason} "
            "Set AMX_BACKEND=emulated to say that this is wanted.",
            errors.EmulatedWarning,
            stacklevel=_stacklevel(),
        )
        return Backend.EMULATED
    return Backend.NATIVE


def _make_tiles_usable(request: bool) -> None:
    from amx import diagnosis, permission

    if not diagnosis.available():
        raise diagnosis.explain().error()
    if request:
        permission.request()
    elif not permission.granted():
        raise errors.AmxPermissionError(
            "This process has no permission for tile data",
            cause="Nobody has requested it, and request=False forbids to do it here",
            remedy="Call amx.request() first",
            operation="arch_prctl(ARCH_GET_XCOMP_PERM)",
        )


def missing(group: Group) -> errors.FeatureError:
    """The error for instructions that the CPU does not announce."""
    feature = _feature(group)
    return errors.FeatureError(
        f"The CPU does not announce {feature} ({feature.where})",
        cause="It lacks the instructions, or a hypervisor hides them",
        remedy="Use the emulated backend for it, or expose the bit to this guest",
    )


def _feature(group: Group) -> cpu.Feature:
    from amx.cpu import Feature

    return {
        Group.TILE: Feature.AMX_TILE,
        Group.INT8: Feature.AMX_INT8,
        Group.BF16: Feature.AMX_BF16,
        Group.FP16: Feature.AMX_FP16,
    }[group]


def _stacklevel() -> int:
    """Which frame, counted from the function that warns, is the first outside this package."""
    package = os.path.dirname(__file__) + os.sep
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    return level


def _renew_lock() -> None:
    """In a forked child: the thread that held the lock, if any, is not there to release it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)
