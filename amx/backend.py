"""Which engine multiplies: the CPU's tiles, its vector registers, or the software tile machine.

All have the same results bit for bit. Vector registers have products of matrices alone: the tiles of
`amx.TileContext` are the CPU's or the software tile machine's.

The start value comes from the environment variable `AMX_BACKEND`: `auto` (default), `native`, `vector` or
`emulated`. Nothing is decided, and no permission requested, before the first use.
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
    from amx.machine import Machine

__all__ = [
    "BACKENDS",
    "Backend",
    "Group",
    "check_mode",
    "decided_anew",
    "engine_for",
    "get_backend",
    "set_backend",
    "tile_engine",
    "vector_families",
]


class Backend(enum.Enum):
    """An engine: `NATIVE` and `EMULATED` run tiles and products, `VECTOR` products alone."""

    NATIVE = "native"  # the CPU's tiles
    VECTOR = "vector"  # the CPU's vector registers: SSE2, AVX2 and beyond
    EMULATED = "emulated"  # the software tile machine


class Group(enum.Enum):
    """Instructions that a CPU announces together."""

    TILE = "tile"
    INT8 = "int8"
    BF16 = "bf16"
    FP16 = "fp16"


# The group of each product, by its number in csrc/amx.h: AMX_TDPBSSD, BSUD, BUSD, BUUD, BF16PS, FP16PS; and
# of what only moves tiles.
_GROUPS = (Group.INT8, Group.INT8, Group.INT8, Group.INT8, Group.BF16, Group.FP16, Group.TILE)
_MODES = ("auto", "native", "vector", "emulated")
# By AMX_NATIVE, AMX_EMULATED and AMX_VECTOR in csrc/amx.h.
BACKENDS = (Backend.NATIVE, Backend.EMULATED, Backend.VECTOR)
_NATIVE = BACKENDS.index(Backend.NATIVE)
_WAIT = 1e-3  # seconds between two looks at what is running

_lock = threading.RLock()
_mode: str | None = None  # None until first needed: then AMX_BACKEND's value
# The engine of each of _GROUPS, None while it is not decided: what a product looks up on every call.
_engines: list[int | None] = [None] * len(_GROUPS)
_announced: frozenset[Group] | None = None  # groups that may execute natively; None: not asked yet
_refusal: str | None = None  # why the CPU's tiles cannot be used, empty where they can; None: not asked yet
_warned: set[tuple[type[Warning], Group | None]] = set()


def set_backend(mode: str) -> None:
    """Choose the engine for all later work of this process.

    Parameters
    ----------
    mode: one of

        - `"auto"`: AMX where it can be used, for the groups that the CPU announces. Other products run in
          vector registers, with one `VectorWarning` that says why, and tiles without AMX on the software
          tile machine, with one `EmulatedWarning`.
        - `"native"`: AMX; where it cannot be used, that is an error.
        - `"vector"`: products in vector registers, tiles on the software tile machine, also where there is
          AMX, for which permission is never requested then. No warning, unless the CPU has no vector
          instructions for a product: 16-bit floats need AVX2, FMA and F16C.
        - `"emulated"`: all on the software tile machine, which is slow, and says nothing.

    Raises
    ------
    BackendError: `mode` is none of the four.
    """
    global _mode
    checked = check_mode(mode, "set_backend()")
    with _lock:
        _mode = checked
        _forget()


def get_backend(group: Group | str = Group.TILE, *, request: bool = True) -> Backend:
    """The engine of tiles, or of products of a group (`"int8"`, `"bf16"` or `"fp16"`).

    That of tiles, which `amx.TileContext` uses, is never `Backend.VECTOR`.

    Deciding this for the first time requests permission from the kernel, as any first use does, unless
    `request` is False; `amx.available()` asks without side effect.

    Raises
    ------
    AmxPermissionError: `request` is False, and AMX could be used if permission were requested.
    AmxUnavailableError: the mode is `"native"` and AMX cannot be used; the error is the diagnosis.
    FeatureError: the mode is `"native"` and the CPU does not announce this group.
    BackendError: there is no such group, or AMX_BACKEND names no mode.
    """
    return BACKENDS[engine_for(_GROUPS.index(_parse(group)), request=request)]


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
            engine = BACKENDS.index(_decide(index, request))
            if engine == _NATIVE:
                _allow_native(True)
            _engines[index] = engine
    return engine


def tile_engine(*, request: bool = True) -> tuple[Backend, frozenset[Group]]:
    """The engine of tiles, and the groups that it executes: both of one machine. Raises as `get_backend`."""
    with _lock:
        engine = get_backend(request=request)
        return engine, _announced_groups() if engine is Backend.NATIVE else frozenset(Group)


@contextlib.contextmanager
def decided_anew(another: Machine | None = None) -> Iterator[None]:
    """Decide for another machine while the context is open, then go back to what was decided before.

    `another` takes the place of the machine in the same moment, so that nobody decides for one by the other.

    The mode stays, but for `"vector"` and `"emulated"`, which become `"auto"`: to ask for another machine is
    to ask for its tiles. At the end it waits for products of other threads that are running on those; what
    they multiply next is decided by then.

    Raises
    ------
    ContextError: this thread is in the handler of a signal that interrupts a product, whose end it would
        wait for.
    """
    from amx import machine
    from amx._lib import lib

    global _mode, _refusal, _announced
    if lib.amx_gemm_asking():
        raise errors.ContextError(
            "This is the handler of a signal that interrupts a product",
            cause="Emulated tiles would come and go under the product, which ends only after the handler",
            remedy="Set a flag here, and act on it after the product",
        )
    with _lock:
        before = _mode, _refusal, _announced, _engines.copy(), _warned.copy()
        _mode = _start_mode() if _mode is None else _mode
        if _mode in ("vector", "emulated"):
            _mode = "auto"
        found = machine.put(another or machine.current())
        _forget()
    try:
        yield
    finally:
        with _lock:
            machine.put(found)
            _forget()
            _mode, _refusal, _announced, _engines[:], warned = before
            _warned.update(warned)
        # Not by _allow_native: at the interpreter's end nothing can be imported any more. Without the lock,
        # which the handler of a signal that interrupts one of these products may need.
        while lib.amx_gemm_native(False):
            time.sleep(_WAIT)
        with _lock:
            if _NATIVE in _engines:
                lib.amx_gemm_native(True)


def _forget() -> None:
    """What has been decided, and said of it."""
    global _refusal, _announced
    _refusal = _announced = None
    _engines[:] = [None] * len(_GROUPS)
    _warned.clear()


def _allow_native(may_begin: bool) -> int:
    """Let products begin on the CPU's tiles, or not; how many are running there."""
    from amx._lib import lib

    return lib.amx_gemm_native(may_begin)


def _announced_groups() -> frozenset[Group]:
    """Those that the CPU announces, so that their instructions may execute natively. Under the lock."""
    from amx import cpu

    global _announced
    if _announced is None:
        features = cpu.features()
        _announced = frozenset(group for group in Group if _feature(group) in features)
    return _announced


def _parse(group: Group | str) -> Group:
    try:
        return Group(group)
    except ValueError:
        raise errors.BackendError(
            f"Instruction group {group!r}",
            cause="There is no such group",
            remedy=f"Use one of {', '.join(each.value for each in Group)}",
        ) from None


def check_mode(mode: str, source: str) -> str:
    """The mode, or the `BackendError` that there is none of that name, which `source` says."""
    if mode not in _MODES:
        raise errors.BackendError(
            f"{source} says {mode!r}",
            cause="There is no such backend",
            remedy=f"Use one of {', '.join(_MODES)}",
        )
    return mode


def _start_mode() -> str:
    return check_mode(os.environ.get("AMX_BACKEND") or "auto", "the environment variable AMX_BACKEND")


def _decide(op: int, request: bool) -> Backend:
    global _mode
    if _mode is None:
        _mode = _start_mode()
    if _mode == "emulated":
        return Backend.EMULATED
    group = _GROUPS[op]
    # Empty: by nothing. None: these tiles are not wanted, of which nothing is to be said.
    refused = None if _mode == "vector" else _why_not_native(group, request)
    if refused == "":
        return Backend.NATIVE
    if group is Group.TILE:
        if refused:
            said = "Tiles run on the software tile machine, slowly"
            _warn(errors.EmulatedWarning, group, refused, said, "vector")
        return Backend.EMULATED
    if _is_in_vectors(op):
        if refused:
            said = "Products run in vector registers, with the same results"
            _warn(errors.VectorWarning, group, refused, said, "vector")
        return Backend.VECTOR
    lacking = f"This CPU lacks vector instructions for {group.value} products"
    said = "They run on the software tile machine, slowly"
    _warn(errors.EmulatedWarning, group, f"{refused}. {lacking}" if refused else lacking, said, "emulated")
    return Backend.EMULATED


def _why_not_native(group: Group, request: bool) -> str:
    """Empty where a group runs on the CPU's tiles; else why not, which under `"native"` is raised."""
    global _refusal
    try:
        if _refusal is None:
            _make_tiles_usable(request)
            _refusal = ""
        if not _refusal and group is not Group.TILE and group not in _announced_groups():
            raise missing(group)
    except errors.AmxUnavailableError as error:
        if _mode == "native" or (not request and isinstance(error, errors.AmxPermissionError)):
            raise
        if isinstance(error, errors.FeatureError):
            return error.what
        _refusal = f"AMX cannot be used. {error.cause}"
    return _refusal


def vector_families(group: Group | str) -> tuple[str, ...]:
    """Names of the kernels that multiply a group in this CPU's vector registers, best first."""
    from amx._lib import ffi, lib

    op, found = _GROUPS.index(_parse(group)), list[str]()
    while (name := lib.amx_vector_family(op, len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return tuple(found)


def _is_in_vectors(op: int) -> bool:
    from amx._lib import ffi, lib

    return bool(lib.amx_vector_selected(op) != ffi.NULL)


def _warn(category: type[errors.AmxWarning], group: Group, cause: str, what: str, mode: str) -> None:
    """Once, until it is decided anew; where one group alone is concerned, once for each."""
    about = None if _refusal else group
    if (category, about) not in _warned:
        warnings.warn(
            f"{cause}. {what}; amx.explain() says more. AMX_BACKEND={mode} says that this is wanted.",
            category,
            stacklevel=_stacklevel(),
        )
        _warned.add((category, about))


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
        remedy="Use another backend for it, or expose the bit to this guest",
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
