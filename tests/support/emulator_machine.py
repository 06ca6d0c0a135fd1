"""The software tile machine (csrc/emulator/) as the tests see it: one object, its tiles as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amx._lib import ffi, lib

OK, UD, GP, SS, PF = lib.AMXEMU_OK, lib.AMXEMU_UD, lib.AMXEMU_GP, lib.AMXEMU_SS, lib.AMXEMU_PF
NOT_AMX, VALID, INVALID = lib.AMXEMU_NOT_AMX, lib.AMXEMU_VALID, lib.AMXEMU_INVALID
WITHDRAWN = lib.AMXEMU_WITHDRAWN
PATHS = {
    "scalar": lib.AMXEMU_SCALAR,
    "avx2": lib.AMXEMU_AVX2,
    "avx512": lib.AMXEMU_AVX512,
    "avx512_vnni": lib.AMXEMU_AVX512_VNNI,
}


def _name(op):
    mnemonic = lib.amxemu_mnemonic(op)
    assert mnemonic != ffi.NULL, f"csrc/emulator/features.c has no name for number {op} of enum amxemu_op"
    return ffi.string(mnemonic).decode()


OPS = {_name(op): op for op in range(lib.AMXEMU_OPS)}
PRODUCTS = tuple(OPS)[lib.AMXEMU_TDPBSSD : lib.AMXEMU_TILELOADDRS]
ROW_MOVES = tuple(name for name in OPS if name.startswith(("tilemovrow", "tcvtrow")))


def image(shapes, *, palette=1, start_row=0):
    """The 64 bytes of a configuration; `shapes`: (rows, colsb) of tile 0, 1, ..."""
    bytes_ = bytearray(64)
    bytes_[0], bytes_[1] = palette, start_row
    for tile, (rows, colsb) in enumerate(shapes):
        bytes_[16 + 2 * tile : 18 + 2 * tile] = colsb.to_bytes(2, "little")
        bytes_[48 + tile] = rows
    return bytes(bytes_)


def product_shapes(m, n, k):
    """Shapes of d, a and b in the tiles 0, 1 and 2; n and k count 32-bit words."""
    return [(m, 4 * n), (m, 4 * k), (k, 4 * n)]


@dataclass
class Window:
    """Memory of which only these bytes, from `address` up, are accessible."""

    bytes: bytearray
    address: int = 0x10000
    writable: bool = True
    handle: object = field(init=False)

    def __post_init__(self):
        self._kept = ffi.from_buffer("uint8_t[]", self.bytes, require_writable=True)
        self.handle = ffi.new(
            "struct amx_emu_window *",
            {
                "address": self.address,
                "size": len(self.bytes),
                "bytes": self._kept,
                "writable": self.writable,
            },
        )


class Machine:
    """Tile registers in the INIT state. Methods give the outcome, one of OK, UD, GP, SS and PF."""

    def __init__(self):
        self.state = ffi.gc(lib.amx_emu_new(), lib.amx_emu_free)
        tiles = [ffi.buffer(lib.amx_emu_tile(self.state, tile), 1024) for tile in range(8)]
        self.tiles = [np.frombuffer(tile, np.uint8).reshape(16, 64) for tile in tiles]
        self._fault = ffi.new("uint64_t *")

    @property
    def fault(self):
        """The address of the last page fault."""
        return self._fault[0]

    @property
    def config(self):
        """What STTILECFG writes."""
        buffer = ffi.new("uint8_t[64]")
        lib.amxemu_sttilecfg(self.state, buffer)
        return bytes(ffi.buffer(buffer))

    @property
    def start_row(self):
        """Of the configuration."""
        return self.config[1]

    def words(self, tile):
        """A tile as 16 x 16 words, for reading and writing."""
        return self.tiles[tile].view(np.uint32)

    def ldtilecfg(self, image_):
        """Load 64 bytes."""
        return lib.amxemu_ldtilecfg(self.state, ffi.new("uint8_t[64]", image_))

    def tilerelease(self):
        """Back to INIT."""
        lib.amxemu_tilerelease(self.state)

    def tilezero(self, tile):
        """Zero a tile."""
        return lib.amxemu_tilezero(self.state, tile)

    def load(self, tile, window, base, stride):
        """TILELOADD; row r is at base + r * stride."""
        return lib.amx_emu_load(self.state, tile, base, stride, window.handle, self._fault)

    def store(self, tile, window, base, stride):
        """TILESTORED; row r is at base + r * stride."""
        return lib.amx_emu_store(self.state, tile, base, stride, window.handle, self._fault)

    def tdp(self, name, d=0, a=1, b=2):
        """Execute d += a * b."""
        return lib.amxemu_tdp(self.state, OPS[name], d, a, b)

    def product(self, name, d, a, b):
        """The new d from word arrays (M, N), (M, K), (K, N); the tiles hold rubbish outside their shapes."""
        (m, n), k = d.shape, a.shape[1]
        assert self.ldtilecfg(image(product_shapes(m, n, k))) == OK
        for tile, words in enumerate((d, a, b)):
            self.words(tile)[:] = 0x7FC1A5A5
            self.words(tile)[: words.shape[0], : words.shape[1]] = words
        assert self.tdp(name) == OK
        assert not self.words(0)[m:].any()
        assert not self.words(0)[:, n:].any()
        return self.words(0)[:m, :n].copy()

    def step(
        self, code, window, *, rip=0x400000, gpr=None, fs_base=0, gs_base=0, egpr=None, zmm=None, la57=False
    ):
        """Decode and execute; the outcome and the new RIP. `zmm`: 32 rows of 64 bytes, None without."""
        insn = ffi.new("struct amxemu_insn *")
        assert lib.amxemu_decode(ffi.from_buffer("uint8_t[]", code), len(code), insn) == VALID
        registers = ffi.new(
            "struct amxemu_registers *", {"rip": rip, "fs_base": fs_base, "gs_base": gs_base, "la57": la57}
        )
        for number, content in (gpr or {}).items():
            registers.gpr[number] = content % 2**64
        if egpr is not None:
            upper = ffi.new("uint64_t[16]")
            for number, content in egpr.items():
                upper[number - 16] = content % 2**64
            registers.egpr = upper
        if zmm is not None:
            registers.zmm = ffi.from_buffer("uint8_t[32][64]", zmm)
        outcome = lib.amx_emu_step(self.state, registers, insn, window.handle, self._fault)
        return outcome, registers.rip


def decode(code):
    """The verdict, and the instruction where it is VALID or WITHDRAWN."""
    insn = ffi.new("struct amxemu_insn *")
    verdict = lib.amxemu_decode(ffi.from_buffer("uint8_t[]", bytes(code)), len(code), insn)
    return verdict, insn if verdict in (VALID, WITHDRAWN) else None
