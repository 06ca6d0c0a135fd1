"""Tile registers from Python: a scope that owns them, loads, multiplies and stores."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from amx import cpu, errors
from amx._lib import ffi, lib
from amx.backend import _GROUPS, Backend, announced, get_backend, missing
from amx.buffers import region_of
from amx.dtypes import Element, accumulator, tdp
from amx.tile_config import MAX_NAMES, TileConfig, TileShape, bad_config

__all__ = ["TileContext"]

_WAIT = 1e-4  # seconds between two looks at what another thread is doing
_MADE_ONCE = "the configuration of a TileContext stays: leave it, and enter TileContext(config)"
_ESTALE = 116  # the C side's word for a tile configuration that is not the expected one


class _Thread(threading.local):
    """What this thread has open."""

    context: TileContext | None = None


_thread = _Thread()
_native: set[TileContext] = set()  # those that are open on the CPU's tiles, in all threads
_generation = 0  # counts forks, so that a context knows when it is in a child


def _forget_after_fork() -> None:
    global _generation
    _generation += 1
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


class TileContext:
    """A scope that owns the tile registers of its thread.

    Entering asks the kernel for permission if this process has none yet, and loads the configuration.
    Leaving restores the configuration that was found (not its data: by the psABI tile registers belong to
    the caller only), or releases the tiles. One context a thread can be open at a time. `amx.matmul` inside
    it leaves its tiles as they are; other libraries that use AMX on this thread do not, and the next use
    then raises `ConfigurationChangedError` if the configuration differs. (A
    library that loads the very same configuration goes unnoticed: nothing marks a tile as ours.)

    Parameters
    ----------
    config: the shapes of the tiles; start_row 0.
    request: False forbids to ask for permission: without it entering raises `AmxPermissionError`.

    Raises
    ------
    ContextNestedError: this thread has a context open (when entered).
    AmxUnavailableError: the backend is `"native"` and AMX cannot be used (when entered).

    Examples
    --------
    >>> import numpy as np, amx
    >>> a = np.arange(16 * 64, dtype=np.int8).reshape(16, 64)
    >>> b = np.ones((64, 16), np.int8)
    >>> with amx.TileContext(amx.TileConfig.for_product("int8")) as tiles:
    ...     tiles.load(1, a)
    ...     tiles.load(2, b.reshape(16, 4, 16).transpose(0, 2, 1).reshape(16, 64))
    ...     tiles.zero(0)
    ...     tiles.dpbssd(0, 1, 2)
    ...     c = tiles.store(0)
    >>> bool((c == a.astype(int) @ b.astype(int)).all())
    True
    """

    def __init__(self, config: TileConfig, *, request: bool = True) -> None:
        if not isinstance(config, TileConfig):
            raise TypeError(f"TileContext takes a TileConfig, not a {type(config).__name__}")
        if hasattr(self, "_image"):
            raise AttributeError(_MADE_ONCE)
        if (
            type(config) is not TileConfig
        ):  # what it says once, checked: it may answer otherwise the next time
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
        self._owner = 0
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

    def __enter__(self) -> TileContext:
        if self._open and self._generation == _generation and self._owner != threading.get_ident():
            raise _wrong_thread()
        if _thread.context is not None and _thread.context._abandoned:
            _thread.context._give_back()
        if _thread.context is not None and not _thread.context._open:  # closed by close_native()
            lib.amx_tile_owner(_thread.context._engine, 0)
            _thread.context = None
        if _thread.context is not None:
            raise errors.ContextNestedError(
                "This thread has a TileContext open",
                cause="A thread has one set of tile registers",
                remedy="Leave the other context first, or use one configuration for both",
            )
        self._owner = threading.get_ident()
        self._busy = True
        _native.add(self)  # before the engine is known: who takes it away either waits or was there before
        try:
            self._take()
        finally:
            if not self._open or self._backend is Backend.EMULATED:
                _native.discard(self)
            self._busy = False
        return self

    def _take(self) -> None:
        """Find out whose tiles, and configure them."""
        self._backend = get_backend(request=self._request)
        if self._backend is Backend.NATIVE:
            for palette in cpu.palettes()[:1]:
                self._config.validate(palette)
        self._engine = lib.AMX_NATIVE if self._backend is Backend.NATIVE else lib.AMX_EMULATED
        lib.amx_sttilecfg(self._engine, self._found)
        lib.amx_ldtilecfg(self._engine, self._image)
        lib.amx_tile_owner(self._engine, 1)
        self._held = [None] * MAX_NAMES
        self._generation = _generation
        self._open = True
        _thread.context = self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._open:
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

    # moving data

    def load(
        self, tile: int, source: object, *, offset: int = 0, stride: int | None = None, dtype: object = None
    ) -> None:
        """TILELOADD: fill a tile from memory.

        Parameters
        ----------
        tile: 0-7.
        source: an array whose first dimension is the tile's rows and whose other dimensions are the tile's
            bytes of a row, adjacent in memory; rows may lie anywhere (slices, negative or zero steps). Or a
            flat buffer (bytes, memoryview, 1-D array), read from byte `offset` on with rows `stride` bytes
            apart (default: the tile's colsb). Without a mask.
        dtype: what the bytes of a flat buffer are, or `"bfloat16"` for uint16; None: as the array says, a
            flat buffer of bytes is anything.

        Raises
        ------
        TileIndexError, TileShapeError: a tile that is not configured, or of another shape than the source.
        BufferLayoutError: bytes of a row that are not adjacent, such as an array in Fortran order.
        BufferTooShortError: a flat buffer that ends before the tile does.
        TileDtypeError, DtypeError: what is no memory of numbers, or has a mask.
        ContextError: see the subclasses.
        """
        self._load(lib.amx_tileloadd, "tileloadd", tile, source, offset, stride, dtype)

    def loadt1(
        self, tile: int, source: object, *, offset: int = 0, stride: int | None = None, dtype: object = None
    ) -> None:
        """TILELOADDT1: as `load`, with the hint that the data will not be used again soon."""
        self._load(lib.amx_tileloaddt1, "tileloaddt1", tile, source, offset, stride, dtype)

    def _load(
        self, insn: Any, name: str, tile: int, source: object, offset: int, stride: int | None, dtype: object
    ) -> None:
        region = region_of(source, self._movable_shape(tile, name), offset, stride, dtype)
        self._execute(insn, name, tile, region.pointer, region.stride)
        self._held[tile] = region.dtype

    def store(self, tile: int, out: object = None, *, offset: int = 0, stride: int | None = None) -> Any:
        """TILESTORED: write a tile to memory.

        Parameters
        ----------
        tile: 0-7.
        out: where to, a NumPy array or a buffer, as `source` of `load`; writable. None: a new array (rows,
            colsb / itemsize) of what the tile holds: int32 or float32 after a product, int32 after `zero`,
            else what was loaded (bfloat16 as uint16).

        Returns
        -------
        `out`, or the new array.

        Raises
        ------
        BufferReadOnlyError: `out` cannot be written.
        TileDtypeError: `out` is of another dtype than the tile's contents.
        Otherwise as `load`.
        """
        shape = self._movable_shape(tile, "tilestored")
        held = self._held[tile]
        if out is None:
            carrier = np.dtype({None: "int32", "bfloat16": "uint16"}.get(held, held))
            out = np.empty((shape.rows, shape.colsb // carrier.itemsize), carrier)
        region = region_of(out, shape, offset, stride, None, writable=True)
        if held is not None and region.dtype is not None and _carrier(held) != _carrier(region.dtype):
            raise errors.TileDtypeError(
                f"out is {region.dtype}",
                cause=f"TMM{tile} holds {held}",
                remedy=f"pass an array of {_carrier(held)}",
                operation="tilestored",
            )
        self._execute(lib.amx_tilestored, "tilestored", tile, region.pointer, region.stride)
        return out

    def zero(self, tile: int) -> None:
        """TILEZERO: all bytes of a tile become 0; it may then accumulate any product."""
        self._shape(tile)
        self._execute(lib.amx_tilezero, "tilezero", tile)
        self._held[tile] = None

    # products

    def dpbssd(self, d: int, a: int, b: int) -> None:
        """TDPBSSD: d += a * b; int8 by int8 into int32, modulo 2**32. d, a, b: three distinct tiles."""
        self._product("tdpbssd", Element.INT8, Element.INT8, d, a, b)

    def dpbsud(self, d: int, a: int, b: int) -> None:
        """TDPBSUD: d += a * b; int8 by uint8 into int32, modulo 2**32."""
        self._product("tdpbsud", Element.INT8, Element.UINT8, d, a, b)

    def dpbusd(self, d: int, a: int, b: int) -> None:
        """TDPBUSD: d += a * b; uint8 by int8 into int32, modulo 2**32."""
        self._product("tdpbusd", Element.UINT8, Element.INT8, d, a, b)

    def dpbuud(self, d: int, a: int, b: int) -> None:
        """TDPBUUD: d += a * b; uint8 by uint8 into int32, modulo 2**32."""
        self._product("tdpbuud", Element.UINT8, Element.UINT8, d, a, b)

    def dpbf16ps(self, d: int, a: int, b: int) -> None:
        """TDPBF16PS: d += a * b; bfloat16 pairs into float32, denormals as zero (docs/numerics.md)."""
        self._product("tdpbf16ps", Element.BFLOAT16, Element.BFLOAT16, d, a, b)

    def dpfp16ps(self, d: int, a: int, b: int) -> None:
        """TDPFP16PS: d += a * b; float16 pairs into float32 (docs/numerics.md).

        `FeatureError` on tiles of a CPU that does not announce AMX-FP16.
        """
        self._product("tdpfp16ps", Element.FLOAT16, Element.FLOAT16, d, a, b)

    def _product(self, insn: str, a_element: Element, b_element: Element, d: int, a: int, b: int) -> None:
        d_shape, a_shape, b_shape = self._shape(d), self._shape(a), self._shape(b)
        if len({d, a, b}) < 3:
            raise errors.TileOperandError(
                f"{insn} of TMM{d}, TMM{a}, TMM{b}",
                cause="the three tiles of a product must be distinct; the CPU raises #UD",
                remedy="load the operand into another tile",
                operation=insn,
            )
        _check_product_shapes(insn, (d, d_shape), (a, a_shape), (b, b_shape))
        for tile, wanted in ((d, accumulator(a_element).name), (a, a_element.value), (b, b_element.value)):
            held = self._held[tile]
            if held not in (None, wanted):
                raise errors.TileDtypeError(
                    f"{insn} with {held} in TMM{tile}",
                    cause=f"it reads {wanted} there",
                    remedy=f"load {wanted}, or use the instruction for {held}",
                    operation=insn,
                )
        op = tdp(a_element, b_element)
        assert op is not None, "the callers name pairs that have an instruction"
        group = _GROUPS[op]
        self._check_usable()
        if self._backend is Backend.NATIVE and not announced(group):
            self._check_usable()  # as long as this CPU was there
            raise missing(group)
        self._execute(lib.amx_tdp, insn, op, d, a, b)
        self._held[d] = accumulator(a_element).name

    # checks

    def _shape(self, tile: int) -> TileShape:
        shape = self._shapes[tile] if type(tile) is int and 0 <= tile < MAX_NAMES else None
        if shape is None:
            known = [str(number) for number, each in enumerate(self._shapes) if each is not None]
            raise errors.TileIndexError(
                f"tile {tile!r}",
                cause=f"this configuration has the tiles {', '.join(known)}"
                if known
                else "this configuration has no tiles",
                remedy="name one of them, or configure it",
            )
        return shape

    def _movable_shape(self, tile: int, insn: str) -> TileShape:
        shape = self._shape(tile)
        if shape.colsb % 4:
            raise errors.TileShapeError(
                f"{insn} of TMM{tile} with {shape}",
                cause="rows that are no multiple of 4 bytes cannot be moved; the CPU raises #UD",
                remedy="configure a multiple of 4",
                operation=insn,
            )
        return shape

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


def _check_product_shapes(
    insn: str, d: tuple[int, TileShape], a: tuple[int, TileShape], b: tuple[int, TileShape]
) -> None:
    def refuse(cause: str) -> errors.TileShapeError:
        tiles = ", ".join(f"TMM{number} ({shape})" for number, shape in (d, a, b))
        return errors.TileShapeError(
            f"{insn} of {tiles}", cause=cause, remedy="use another configuration", operation=insn
        )

    for number, shape in (d, a, b):
        if shape.colsb % 4:
            raise refuse(f"rows of TMM{number} are no multiple of 4 bytes")
    if d[1].rows != a[1].rows:
        raise refuse("d and a have different numbers of rows (M)")
    if d[1].colsb != b[1].colsb:
        raise refuse("d and b have rows of different length (N)")
    if a[1].colsb != 4 * b[1].rows:
        raise refuse("a row of a is not 4 bytes for each row of b (K)")


def _carrier(dtype: str) -> str:
    return "uint16" if dtype == "bfloat16" else dtype


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
