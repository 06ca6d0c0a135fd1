"""Machine code of the EVEX encodings, written from the ISE reference's tables."""

# EVEX.512.<pp>.<map>.W0 <opcode>: with the row's number in a register, and as an immediate
ROW = {
    "tilemovrow": ((1, 2, 0x4A), (1, 3, 0x07)),
    "tcvtrowd2ps": ((2, 2, 0x4A), (2, 3, 0x07)),
    "tcvtrowps2bf16h": ((3, 2, 0x6D), (3, 3, 0x07)),
    "tcvtrowps2bf16l": ((2, 2, 0x6D), (2, 3, 0x77)),
    "tcvtrowps2phh": ((0, 2, 0x6D), (0, 3, 0x07)),
    "tcvtrowps2phl": ((1, 2, 0x6D), (3, 3, 0x77)),
}


def evex(map_, pp, opcode, modrm, *rest, reg=0, rm=0, index=0, vvvv=0, w=0, length=0, z=0, b=0, aaa=0):
    """Bits 3 and 4 of the registers come from reg, rm and index, all of vvvv's from vvvv."""
    p0 = (~reg >> 3 & 1) << 7 | (~index >> 3 & 1) << 6 | (~rm >> 3 & 1) << 5 | (~reg >> 4 & 1) << 4
    p0 |= (rm >> 4 & 1) << 3 | map_
    p1 = w << 7 | (~vvvv & 15) << 3 | (~index >> 4 & 1) << 2 | pp
    p2 = z << 7 | length << 5 | b << 4 | (~vvvv >> 4 & 1) << 3 | aaa
    return bytes([0x62, p0, p1, p2, opcode, modrm, *rest])


def row_code(name, zmm, tile, *, register=0, row=None, **fields):
    """A row move; the row's number is in a register, unless `row` is given."""
    pp, map_, opcode = ROW[name][row is not None]
    rest = [] if row is None else [row]
    fields = {"reg": zmm, "length": 2, "vvvv": register} | fields
    return evex(map_, pp, opcode, 0xC0 | (zmm & 7) << 3 | tile, *rest, **fields)
