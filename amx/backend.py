"""Which engine runs tiles: the CPU, or the software tile machine with the same results bit for bit.

The start value comes from the environment variable `AMX_BACKEND` (`auto`, `native` or `emulated`; default
`auto`). Nothing is decided, and no permission requested, before the first use.
"""

from __future__ import annotations

import enum
import os
import threading
import warnings

from amx import errors

__all__ = ["Backend", "Group", "engine_for", "get_backend", "set_backend"]


class Backend(enum.Enum):
    """An engine that runs tiles."""

    NATIVE = "native"
    EMULATED = "emulated"


class Group(enum.Enum):
    """Instructions that a CPU announces together."""

    INT8 = "int8"
    BF16 = "bf16"
    FP16 = "fp16"


# The group of each instruction, by its number in csrc/amx.h: AMX_TDPBSSD, BSUD, BUSD, BUUD, BF16PS, FP16PS.
_GROUPS = (Group.INT8, Group.INT8, Group.INT8, Group.INT8, Group.BF16, Group.FP16)
_MODES = ("auto", "native", "emulated")
_BACKENDS = (Backend.NATIVE, Backend.EMULATED)  # by AMX_NATIVE and AMX_EMULATED in csrc/amx.h

_lock = threading.RLock()
_mode: str | None = None  # None until first needed: then AMX_BACKEND's value
# The engine of each instruction, None while it is not decided: what a product looks up on every call.
_engines: list[int | None] = [None] * len(_GROUPS)


def set_backend(mode: str) -> None:
    """Choose the engine for all later work of this process.

    Parameters
    ----------
    mode: `"native"` (raise where AMX cannot be used), `"emulated"`, or `"auto"` (native where it can be
        used, else emulated with one `EmulatedWarning`).

    Raises
    ------
    BackendError: `mode` is none of the three.
    """
    global _mode
    checked = _check(mode, "set_backend()")
    with _lock:
        _mode = checked
        _engines[:] = [None] * len(_GROUPS)


def get_backend(group: Group | str = Group.INT8, *, request: bool = True) -> Backend:
    """The engine that runs a group of instructions (`"int8"`, `"bf16"` or `"fp16"`).

    Deciding this for the first time requests permission from the kernel, as any first use does, unless
    `request` is False; `amx.available()` asks without side effect.

    Raises
    ------
    AmxPermissionError: `request` is False, and AMX could be used if permission were requested.
    AmxUnavailableError: the mode is `"native"` and AMX cannot be used; the error is the diagnosis.
    BackendError: there is no such group, or AMX_BACKEND names no mode.
    FeatureError: the mode is `"native"` and the CPU does not announce this group.
    """
    return _BACKENDS[engine_for(_GROUPS.index(_parse(group)), request=request)]


def engine_for(op: int, *, request: bool = True) -> int:
    """The engine, by its number in csrc/amx.h, for an instruction by its number; raises as `get_backend`."""
    engine = _engines[op]
    if engine is None:
        with _lock:
            group = _GROUPS[op]
            engine = _BACKENDS.index(_decide(group, request))
            for each, its_group in enumerate(_GROUPS):
                if its_group is group:
                    _engines[each] = engine
    return engine


def _parse(group: Group | str) -> Group:
    try:
        return Group(group)
    except ValueError:
        raise errors.BackendError(
            f"instruction group {group!r}",
            cause="there is no such group",
            remedy=f"use one of {', '.join(each.value for each in Group)}",
        ) from None


def _check(mode: str, source: str) -> str:
    if mode not in _MODES:
        raise errors.BackendError(
            f"{source} says {mode!r}",
            cause="there is no such backend",
            remedy=f"use one of {', '.join(_MODES)}",
        )
    return mode


def _decide(group: Group, request: bool) -> Backend:
    global _mode
    if _mode is None:
        _mode = _check(os.environ.get("AMX_BACKEND") or "auto", "the environment variable AMX_BACKEND")
    if _mode == "emulated":
        return Backend.EMULATED
    from amx import permission

    if not request and _offered() and not permission.granted():
        raise errors.AmxPermissionError(
            "this process has no permission for tile data",
            cause="nobody has requested it, and request=False forbids to do it here",
            remedy="call amx.request() first",
            operation="arch_prctl(ARCH_GET_XCOMP_PERM)",
        )
    try:
        _make_native_usable(group)
    except errors.AmxUnavailableError as reason:
        if _mode == "native":
            raise
        warnings.warn(
            f"{group.value} runs on the software tile machine, slowly: {reason} "
            "Set AMX_BACKEND=emulated to say that this is wanted.",
            errors.EmulatedWarning,
            stacklevel=2,
        )
        return Backend.EMULATED
    return Backend.NATIVE


def _offered() -> bool:
    from amx import diagnosis

    return diagnosis.available()


def _make_native_usable(group: Group) -> None:
    from amx import cpu, diagnosis, permission

    if not _offered():
        raise diagnosis.explain().error()
    permission.request()
    feature = {
        Group.INT8: cpu.Feature.AMX_INT8,
        Group.BF16: cpu.Feature.AMX_BF16,
        Group.FP16: cpu.Feature.AMX_FP16,
    }[group]
    if feature not in cpu.features():
        raise errors.FeatureError(
            f"the CPU does not announce {feature.value} ({feature.where})",
            cause="it lacks the instructions, or a hypervisor hides them",
            remedy="use the emulated backend for it, or expose the bit to this guest",
        )
