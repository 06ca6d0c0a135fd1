#include "trap/code/insn_length.h"

/* What follows an opcode, by opcode:
 *   .  nothing               m  ModRM, and what it asks for     c  ModRM of registers, whatever its mod says
 *   i  8 bits                I  ModRM and 8 bits                e  16 and 8 bits
 *   w  16 bits               Z  ModRM and z                     f  ModRM, and 8 bits if its reg is 0 or 1
 *   z  16 or 32 bits         r  32 bits, of a branch            F  ModRM, and z if its reg is 0 or 1
 *   v  16, 32 or 64 bits     a  an address                      p  prefix   x  not in 64-bit mode
 */
static const char one_byte[] = "mmmmizxxmmmmizxx" /* 00 */
                               "mmmmizxxmmmmizxx"
                               "mmmmizpxmmmmizpx"
                               "mmmmizpxmmmmizpx"
                               "pppppppppppppppp" /* 40: REX */
                               "................"
                               "xxxmppppzZiI...."
                               "iiiiiiiiiiiiiiii"
                               "IZxImmmmmmmmmmmm" /* 80 */
                               "..........x....."
                               "aaaa....iz......"
                               "iiiiiiiivvvvvvvv"
                               "IIw.xxIZe.w..ix." /* C0 */
                               "mmmmxxx.mmmmmmmm"
                               "iiiiiiiirrxi...."
                               "p.pp..fF......mm";

static const char two_byte[] = "mmmmx.....x.xm.I" /* 0F 00 */
                               "mmmmmmmmmmmmmmmm"
                               "ccccxxxxmmmmmmmm"
                               "......x.xxxxxxxx" /* 38 and 3A lead to other maps */
                               "mmmmmmmmmmmmmmmm" /* 0F 40 */
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "IIIImmm.mmxxmmmm"
                               "rrrrrrrrrrrrrrrr" /* 0F 80 */
                               "mmmmmmmmmmmmmmmm"
                               "...mImmm...mImmm"
                               "mmmmmmmmmmImmmmm"
                               "mmImIIIm........" /* 0F C0 */
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm";

struct cursor {
    const uint8_t *code;
    size_t size, at;
    uint8_t operand16, address32, wide; /* prefix 66, prefix 67, REX.W or its like */
    uint8_t f2f3;                       /* the last of these prefixes, else 0 */
};

static int peek(const struct cursor *c, uint8_t *byte) {
    if (c->at >= c->size)
        return 0;
    *byte = c->code[c->at];
    return 1;
}

static int next(struct cursor *c, uint8_t *byte) {
    const int got = peek(c, byte);
    c->at += (size_t)got;
    return got;
}

static unsigned size_z(const struct cursor *c) {
    return c->operand16 && !c->wide ? 2 : 4;
}

/* Passes ModRM, SIB and displacement (SDM vol. 2, 2.1.3 and 2.2.1); returns ModRM.reg, -1 past the end. */
static int pass_modrm(struct cursor *c, int registers_only) {
    enum { DISP8 = 1, DISP32, REGISTER, HAS_SIB = 4, NO_BASE = 5 };
    uint8_t modrm, sib;
    if (!next(c, &modrm))
        return -1;
    const unsigned mod = modrm >> 6, rm = modrm & 7;
    unsigned base = rm;
    if (mod == REGISTER || registers_only)
        return modrm >> 3 & 7;
    if (rm == HAS_SIB) {
        if (!next(c, &sib))
            return -1;
        base = sib & 7;
    }
    if (mod == DISP8)
        c->at += 1;
    else if (mod == DISP32 || base == NO_BASE) /* without SIB it means RIP-relative: as long */
        c->at += 4;
    return modrm >> 3 & 7;
}

/* The length once everything up to the opcode is passed; 0 for none. */
static unsigned finish(struct cursor *c, char follows) {
    int reg = 0;
    switch (follows) {
    case 'm':
    case 'c':
    case 'I':
    case 'Z':
    case 'f':
    case 'F':
        reg = pass_modrm(c, follows == 'c');
        if (reg < 0)
            return 0;
        break;
    default:
        break;
    }
    switch (follows) {
    case '.':
    case 'm':
    case 'c':
        break;
    case 'i':
    case 'I':
        c->at += 1;
        break;
    case 'w':
        c->at += 2;
        break;
    case 'e':
        c->at += 3;
        break;
    case 'z':
    case 'Z':
        c->at += size_z(c);
        break;
    case 'v':
        c->at += c->wide ? 8 : size_z(c);
        break;
    case 'r': /* Intel: 32 bits always; AMD: 16 with prefix 66 */
        if (c->operand16 && !c->wide)
            return 0;
        c->at += 4;
        break;
    case 'a':
        c->at += c->address32 ? 4 : 8;
        break;
    case 'f':
        c->at += reg < 2;
        break;
    case 'F':
        c->at += reg < 2 ? size_z(c) : 0;
        break;
    default:
        return 0;
    }
    return c->at <= c->size ? (unsigned)c->at : 0;
}

/* ---- legacy encodings, REX and REX2 ----------------------------------------------------------------------
 */

static unsigned legacy_0f(struct cursor *c) {
    uint8_t opcode, third;
    if (!next(c, &opcode))
        return 0;
    switch (opcode) {
    case 0x38:
        return next(c, &third) ? finish(c, 'm') : 0;
    case 0x3A:
        return next(c, &third) ? finish(c, 'I') : 0;
    case 0x78: /* EXTRQ and INSERTQ of SSE4a have two bytes of immediates, VMREAD none */
        if (c->operand16 || c->f2f3 == 0xF2) {
            if (pass_modrm(c, 0) < 0)
                return 0;
            return finish(c, 'w');
        }
        return finish(c, 'm');
    default:
        return finish(c, two_byte[opcode]);
    }
}

static unsigned rex2(struct cursor *c) {
    enum { M0 = 1 << 7, W = 1 << 3, JMPABS = 0xA1 };
    uint8_t payload, opcode;
    if (!next(c, &payload))
        return 0;
    c->wide = (payload & W) != 0;
    if (payload & M0)
        return peek(c, &opcode) && opcode != 0x38 && opcode != 0x3A ? legacy_0f(c) : 0;
    if (!next(c, &opcode))
        return 0;
    if (opcode == JMPABS) {
        c->address32 = 0;
        return finish(c, 'a');
    }
    return finish(c, one_byte[opcode]);
}

/* ---- VEX, EVEX, XOP -------------------------------------------------------------------------------------
 */

/* VEX and EVEX share their maps but for one instruction without operands. */
static char in_vector_map(unsigned map, uint8_t opcode, int evex) {
    enum { VZEROUPPER = 0x77, URDMSR = 0xF8 };
    switch (map) {
    case 1:
        if (opcode == VZEROUPPER && !evex)
            return '.';
        return two_byte[opcode] == 'I' && opcode != 0xA4 && opcode != 0xAC && opcode != 0xBA ? 'I' : 'm';
    case 2:
    case 5:
    case 6:
        return 'm';
    case 3:
        return 'I';
    case 7:
        return opcode == URDMSR ? 'Z' : 'm';
    default:
        return 'x';
    }
}

/* EVEX map 4: the general-purpose instructions as APX promotes them, their immediates included. */
static char in_map_4(uint8_t opcode) {
    switch (opcode) {
    case 0x24: /* SHLD */
    case 0x2C: /* SHRD */
        return 'I';
    case 0x69:
    case 0x6B:
    case 0x80:
    case 0x81:
    case 0x83:
    case 0xC0:
    case 0xC1:
    case 0xF6:
    case 0xF7:
        return one_byte[opcode];
    default:
        return 'm';
    }
}

static unsigned vex(struct cursor *c, int bytes) {
    enum { MAP = 0x1F, W = 1 << 7 };
    uint8_t p0, p1, opcode;
    unsigned map = 1;
    if (!next(c, &p0))
        return 0;
    if (bytes == 2) {
        map = p0 & MAP;
        if (!next(c, &p1))
            return 0;
        c->wide = (p1 & W) != 0;
    }
    return next(c, &opcode) ? finish(c, in_vector_map(map, opcode, 0)) : 0;
}

static unsigned evex(struct cursor *c) {
    enum { MAP = 7, W = 1 << 7, PP = 3, PP_66 = 1 };
    uint8_t p0, p1, p2, opcode;
    if (!next(c, &p0) || !next(c, &p1) || !next(c, &p2) || !next(c, &opcode))
        return 0;
    c->wide = (p1 & W) != 0;
    if ((p0 & MAP) == 4) {
        c->operand16 = (p1 & PP) == PP_66;
        return finish(c, in_map_4(opcode));
    }
    return finish(c, in_vector_map(p0 & MAP, opcode, 1));
}

/* 8F is XOP where ModRM.reg of POP, which must be 0, would not be: the map number is 8 or more. */
static unsigned xop_or_pop(struct cursor *c) {
    enum { MAP = 0x1F, XOP_8 = 8, XOP_9, XOP_A };
    uint8_t p0, p1, opcode;
    if (!peek(c, &p0))
        return 0;
    if ((p0 & MAP) < XOP_8)
        return finish(c, 'm');
    if (!next(c, &p0) || !next(c, &p1) || !next(c, &opcode))
        return 0;
    switch (p0 & MAP) {
    case XOP_8:
        return finish(c, 'I');
    case XOP_9:
        return finish(c, 'm');
    case XOP_A:
        return finish(c, 'Z');
    default:
        return 0;
    }
}

int insn_is_prefix(uint8_t byte) {
    return one_byte[byte] == 'p';
}

unsigned insn_length(const uint8_t *code, size_t size) {
    enum { REX_W = 1 << 3 };
    struct cursor c = {code, size < INSN_MAX_LENGTH ? size : INSN_MAX_LENGTH, 0, 0, 0, 0, 0};
    int has_rex = 0, has_lock = 0;
    uint8_t byte = 0;
    for (;;) {
        if (!next(&c, &byte))
            return 0;
        if (!insn_is_prefix(byte))
            break;
        has_rex = byte >> 4 == 4; /* counts only directly before the opcode */
        c.wide = has_rex && byte & REX_W;
        c.operand16 |= byte == 0x66;
        c.address32 |= byte == 0x67;
        has_lock |= byte == 0xF0;
        if (byte == 0xF2 || byte == 0xF3)
            c.f2f3 = byte;
    }
    const int only_legacy = has_rex || has_lock || c.operand16 || c.f2f3; /* #UD before VEX and its like */
    switch (byte) {
    case 0x0F:
        return legacy_0f(&c);
    case 0xD5:
        return has_rex ? 0 : rex2(&c);
    case 0xC5:
        return only_legacy ? 0 : vex(&c, 1);
    case 0xC4:
        return only_legacy ? 0 : vex(&c, 2);
    case 0x62:
        return only_legacy ? 0 : evex(&c);
    case 0x8F:
        return xop_or_pop(&c);
    default:
        return finish(&c, one_byte[byte]);
    }
}
