"""The opcode tables of SDM vol. 2 and the ISE reference, and what tests read of a decoded instruction."""

from amx._lib import ffi, lib

RAX, RCX, RDX, RSP, RBP, RDI, R8, R9, R12, R13 = 0, 1, 2, 4, 5, 7, 8, 9, 12, 13
RIP = 32
NONE = -1

# VEX.128.<pp>.<map>.W0 <opcode>: the whole set (SDM vol. 2 and ISE reference, opcode tables). Map 0F38, but 5
# where the opcode is above 0xF0.
CONFIGURE = {(0x49, 0): "ldtilecfg", (0x49, 1): "sttilecfg"}
MOVE = {
    (0x4B, 3): "tileloadd",
    (0x4B, 1): "tileloaddt1",
    (0x4B, 2): "tilestored",
    (0x4A, 3): "tileloaddrs",
    (0x4A, 1): "tileloaddrst1",
}
PRODUCT = {
    (0x5E, 3): "tdpbssd",
    (0x5E, 2): "tdpbsud",
    (0x5E, 1): "tdpbusd",
    (0x5E, 0): "tdpbuud",
    (0x5C, 2): "tdpbf16ps",
    (0x5C, 3): "tdpfp16ps",
    (0x6C, 0): "tcmmrlfp16ps",
    (0x6C, 1): "tcmmimfp16ps",
    (0xFD, 0): "tdpbf8ps",
    (0xFD, 3): "tdpbhf8ps",
    (0xFD, 2): "tdphbf8ps",
    (0xFD, 1): "tdphf8ps",
}
WITHDRAWN_PRODUCT = {
    (0x48, 1): "tmmultf32ps",
    (0x48, 0): "ttmmultf32ps",
    (0x6C, 2): "ttdpbf16ps",
    (0x6C, 3): "ttdpfp16ps",
    (0x6B, 2): "ttcmmrlfp16ps",
    (0x6B, 3): "ttcmmimfp16ps",
    (0x6B, 0): "tconjtcmmimfp16ps",
}
WITHDRAWN_TRANSPOSE = {(0x6B, 1): "tconjtfp16", (0x5F, 2): "ttransposed"}
WITHDRAWN_MOVE = {
    (0x6E, 0): "t2rpntlvwz0",
    (0x6F, 0): "t2rpntlvwz0t1",
    (0x6E, 1): "t2rpntlvwz1",
    (0x6F, 1): "t2rpntlvwz1t1",
    (0xF8, 0): "t2rpntlvwz0rs",
    (0xF9, 0): "t2rpntlvwz0rst1",
    (0xF8, 1): "t2rpntlvwz1rs",
    (0xF9, 1): "t2rpntlvwz1rst1",
}


def vex_map(opcode):
    """Of the instructions with VEX encodings."""
    return 5 if opcode >= 0xF0 else 2


def hexed(code):
    return bytes.fromhex(code)


def fields(insn):
    """(mnemonic, tiles, base, index, scale, displacement, segment, address32, length)."""
    return (
        ffi.string(lib.amxemu_mnemonic(insn.op)).decode(),
        (insn.d, insn.a, insn.b),
        insn.base,
        insn.index,
        insn.scale,
        insn.displacement,
        insn.segment,
        insn.address32,
        insn.length,
    )
