"""Tile registers from Python: what a context loads, multiplies and stores."""

from __future__ import annotations

from typing import Any

import numpy as np

from amx import errors
from amx._lib import lib
from amx.backend import _GROUPS, missing
from amx.buffers import region_of
from amx.dtypes import Element, accumulator, tdp
from amx.tensors import written
from amx.tile_config import MAX_NAMES, TileShape, check_product_shapes
from amx.tile_scope import TileScope

__all__ = ["TileContext"]


class TileContext(TileScope):
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

    # moving data

    def load(
        self, tile: int, source: object, *, offset: int = 0, stride: int | None = None, dtype: object = None
    ) -> None:
        """TILELOADD: fill a tile from memory.

        Parameters
        ----------
        tile: 0-7.
        source: an array or tensor on the CPU, whose first dimension is the tile's rows and whose other
            dimensions are the tile's bytes of a row, adjacent in memory; rows may lie anywhere (slices,
            negative or zero steps). Or a flat buffer (bytes, memoryview, 1-D array), read from byte `offset`
            on with rows `stride` bytes apart (default: the tile's colsb). Without a mask.
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
        out: where to, an array, a torch tensor or a buffer, as `source` of `load`; writable. None: a new
            NumPy array (rows, colsb / itemsize) of what the tile holds: int32 or float32 after a product,
            int32 after `zero`, else what was loaded (bfloat16 as uint16).

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
        written(out)
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
        check_product_shapes(insn, (d, d_shape), (a, a_shape), (b, b_shape))
        for tile, wanted in ((d, accumulator(a_element).name), (a, a_element.value), (b, b_element.value)):
            held = self._held[tile]
            if held not in (None, wanted):
                remedy = f"load {wanted}, or use the instruction for {held}"
                if (held, wanted) == ("uint16", "bfloat16"):
                    remedy = 'say dtype="bfloat16" when you load it'
                raise errors.TileDtypeError(
                    f"{insn} with {held} in TMM{tile}",
                    cause=f"it reads {wanted} there",
                    remedy=remedy,
                    operation=insn,
                )
        op = tdp(a_element, b_element)
        assert op is not None, "the callers name pairs that have an instruction"
        group = _GROUPS[op]
        self._check_usable()
        if group not in self._groups:
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


def _carrier(dtype: str) -> str:
    return "uint16" if dtype == "bfloat16" else dtype
