"""Who has the tile registers of a thread: contexts that are entered and left, or closed from outside."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Any, NoReturn, Self

from amx import cpu, errors
from amx._lib import ffi, lib
from amx.backend import Backend, Group, tile_engine
from amx.tile_config import MAX_NAMES, TileConfig, bad_config

__all__ = ["TileScope", "close_native", "open_contexts"]

_WAIT = 1e-4  # seconds between two looks at what another thread is doing
_MADE_ONCE = "the configuration of a TileContext stays: leave it, and enter TileContext(config)"
_ESTALE = 116  # the C side's word for a tile configuration that is not the expected one


class _Thread(threading.local):
    """What this thread has open."""

    context: TileScope | None = None


_thread = _Thread()
_native: set[TileScope] = set()  # those that are open on the CPU's tiles, in all threads
_generation = 0  # counts forks, so that a context knows when it is in a child
_claiming = threading.RLock()  # while a context gets an owner


def _forget_after_fork() -> None:
    global _generation, _claiming
    _generation += 1
    _claiming = threading.RLock()  # the thread that held it, if any, is not there to release it
    _thread.context = None
    _native.clear()


def open_contexts() -> int:
    """How many contexts are open on the CPU's tiles, in all threads, or on any in this one."""
    own = _thread.context
    return sum(context._open for context in {*_native, *([] if own is None else [own])})


def close_native() -> int:
    """Close every context on the CPU's tiles, without touching these; how many there were.

    Instructions of other threads that are executing are waited for.
    """
    return sum(context._close() for context in list(_native))


os.register_at_fork(after_in_child=_forget_after_fork)


class TileScope:
    """The scope of `amx.TileContext`, whose documentation says what it means, without its instructions."""

    def __init__(self, config: TileConfig, *, request: bool = True) -> None:
        if not isinstance(config, TileConfig):
            raise TypeError(f"TileContext takes a TileConfig, not a {type(config).__name__}")
        if hasattr(self, "_image"):
            raise AttributeError(_MADE_ONCE)
        # A subclass: what it says once, checked, since it may answer otherwise the next time.
        if type(config) is not TileConfig:
            config = TileConfig(config.tiles, start_row=config.start_row)
        if config.start_row != 0:
            raise bad_config(
                f"start_row={config.start_row}",
                "the first load would skip rows",
                "use start_row=0; amx.lowlevel takes any",
            )
        self._config = config
        self._shapes, image = config._layout
        self._request = request
        self._image = ffi.from_buffer("uint8_t[]", image)
        self._found = ffi.new("uint8_t[64]")
        self._held: list[str | None] = [None] * MAX_NAMES  # dtype in each tile; None: anything
        self._open = False
        self._busy = False  # its thread is executing something on the tiles
        self._abandoned = False  # left by another thread than its own, which must give the tiles back
        self._backend = Backend.EMULATED
        self._engine = lib.AMX_EMULATED
        self._groups = frozenset[Group]()  # that these tiles execute
        self._owner = 0  # thread that has entered and not left it, even if it was closed meanwhile; 0: none
        self._generation = 0

    def __reduce__(self) -> NoReturn:
        raise TypeError("a TileContext cannot be copied or pickled: its tiles are registers of a thread")

    @property
    def config(self) -> TileConfig:
        """The shapes of the tiles: another configuration needs another context."""
        return self._config

    @config.setter
    def config(self, config: object) -> NoReturn:
        raise AttributeError(_MADE_ONCE)

    @property
    def backend(self) -> Backend:
        """The engine that runs these tiles, once the context is open."""
        return self._backend

    def __enter__(self) -> Self:
        own = _thread.context
        if own is not None and own._abandoned:
            own._give_back()
        elif own is not None and not own._open:
            own._leave_closed()
        if _thread.context is not None:
            raise errors.ContextNestedError(
                "This thread has a TileContext open",
                cause="A thread has one set of tile registers",
                remedy="Leave the other context first, or use one configuration for both",
            )
        with _claiming:  # of threads that come at once, the first has it
            if self._owner not in (0, threading.get_ident()) and self._generation == _generation:
                raise _wrong_thread()
            self._owner, self._generation = threading.get_ident(), _generation
            self._open, self._busy = False, True  # open in a parent, perhaps
        _native.add(self)  # before the engine is known: who takes it away either waits or was there before
        try:
            self._take()
        finally:
            if not self._open or self._backend is Backend.EMULATED:
                _native.discard(self)
            self._busy = False
            if _thread.context is not self:
                self._owner = 0
        return self

    def _take(self) -> None:
        """Find out whose tiles, and configure them."""
        self._backend, self._groups = tile_engine(request=self._request)
        if self._backend is Backend.NATIVE:
            for palette in cpu.palettes()[:1]:
                self._config.validate(palette)
        self._engine = lib.AMX_NATIVE if self._backend is Backend.NATIVE else lib.AMX_EMULATED
        lib.amx_sttilecfg(self._engine, self._found)
        lib.amx_ldtilecfg(self._engine, self._image)
        lib.amx_tile_owner(self._engine, 1)
        self._held = [None] * MAX_NAMES
        self._open = True
        _thread.context = self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._open:
            if _thread.context is self:
                self._leave_closed()
            return
        if self._owner != threading.get_ident():
            self._abandoned = True  # say, the garbage collector ends a generator here that was begun there
            raise _wrong_thread()
        self._give_back()

    def _give_back(self) -> None:
        """Leave the tiles of this thread as they were found."""
        self._busy = True
        try:
            is_ours = self._open  # else closed meanwhile
            self._open = self._abandoned = False
            if self._generation == _generation:
                _thread.context = None
                lib.amx_tile_owner(self._engine, 0)
            if is_ours and self._found[0] != 0:
                lib.amx_ldtilecfg(self._engine, self._found)
            elif is_ours:
                lib.amx_tilerelease(self._engine)
        finally:
            _native.discard(self)
            self._busy = False
            self._owner = 0

    def _leave_closed(self) -> None:
        """What `close_native` has closed: its tiles are gone."""
        lib.amx_tile_owner(self._engine, 0)
        _thread.context = None
        self._owner = 0

    def _close(self) -> bool:
        """Without touching its tiles, once its thread does not either; whether it was open."""
        was_open, self._open = self._open, False  # whoever comes now finds it closed, or has said so before:
        while self._busy and self._owner != threading.get_ident():
            time.sleep(_WAIT)
        if self in _native:  # else it was left, or entered on other tiles
            was_open, self._open = was_open or self._open, False
            _native.discard(self)
        return was_open

    def _execute(self, insn: Any, name: str, *operands: Any) -> None:
        self._check_usable()
        self._busy = True
        try:
            self._check_usable()  # closed meanwhile
            self._raise_for(insn(self._engine, self._image, *operands), name)
        finally:
            self._busy = False

    def _check_usable(self) -> None:
        if not self._open:
            raise errors.ContextClosedError(
                "this TileContext is not open",
                cause="it was left, or never entered",
                remedy="use it inside its with statement",
            )
        if self._generation != _generation:
            raise errors.ContextForkedError(
                "this TileContext was opened before fork",
                cause="a forked child has its parent's tile configuration and none of its tile data",
                remedy="open a new context in the child, and load the tiles there",
            )
        if self._owner != threading.get_ident():
            raise _wrong_thread()

    def _raise_for(self, error: int, insn: str) -> None:
        if error == 0:
            return
        if error == -_ESTALE:
            current = ffi.new("uint8_t[64]")
            lib.amx_sttilecfg(self._engine, current)
            raise errors.ConfigurationChangedError(
                f"{insn} was not executed: the tile configuration is not this context's any more",
                cause="other code on this thread has used AMX; the tiles now are: "
                + _describe(bytes(current)),
                remedy="call such code outside the context; the data that was in the tiles is lost",
                operation=insn,
            )
        raise AssertionError(f"{insn} returned {error}, which the checks before it exclude")


def _describe(image: bytes) -> str:
    try:
        return str(TileConfig.from_bytes(image) or "released")
    except errors.TileConfigError as error:  # a hypervisor or emulator at fault, but say what is there
        return str(error)


def _wrong_thread() -> errors.ContextThreadError:
    return errors.ContextThreadError(
        "this TileContext belongs to another thread",
        cause="tile registers are a thread's own",
        remedy="open a context in each thread",
    )
