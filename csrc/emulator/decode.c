/* Which AMX instruction the bytes at an address are: the VEX and EVEX encodings, 64-bit mode.
 *
 * A combination of opcode, map and pp that no instruction of AMX uses is AMXEMU_NOT_AMX, even where it is
 * unassigned today: it may become another instruction. What silicon was seen to ignore is ignored; of EVEX
 * nothing was seen, so whatever the specification leaves open there is judged as in VEX, or else refused.
 */
#include "emulator.h"

#include <string.h>

enum { MAX_LENGTH = 15, VEX3 = 0xC4, EVEX = 0x62, REGISTER = 3, SIB = 4, NO_INDEX = 4 };
enum { PP_NONE = 0, PP_66 = 1, PP_F3 = 2, PP_F2 = 3 };
enum { MAP_0F38 = 2, MAP_0F3A = 3, MAP_5 = 5 };
enum { LENGTH_128 = 0, LENGTH_512 = 2 };

/* What may stand in ModRM, and what its fields mean. */
enum form {
    CONFIGURE,    /* LDTILECFG and STTILECFG: memory, reg = 000 */
    RELEASE,      /* C0 exactly */
    ZERO,         /* register, rm = 000, reg is the tile */
    MOVE,         /* memory with SIB, reg is the tile */
    PRODUCT,      /* register; tiles in reg, rm and vvvv */
    TRANSPOSE,    /* register; tiles in reg and rm */
    ROW,          /* register; ZMM in reg, tile in rm, the row's number in GPR vvvv */
    ROW_CONSTANT, /* the same with an 8-bit immediate */
};

/* Where an encoding exists. APX's EVEX encodings have the vector length of VEX. */
enum spaces { IN_VEX = 1, IN_EVEX = 2, IN_BOTH = IN_VEX | IN_EVEX };

static const struct encoding {
    uint8_t spaces, map, pp, opcode, form, op;
} encodings[] = {
    {IN_BOTH, MAP_0F38, PP_NONE, 0x49, CONFIGURE, AMXEMU_LDTILECFG},
    {IN_BOTH, MAP_0F38, PP_66, 0x49, CONFIGURE, AMXEMU_STTILECFG},
    {IN_VEX, MAP_0F38, PP_NONE, 0x49, RELEASE, AMXEMU_TILERELEASE},
    {IN_VEX, MAP_0F38, PP_F2, 0x49, ZERO, AMXEMU_TILEZERO},
    {IN_BOTH, MAP_0F38, PP_F2, 0x4B, MOVE, AMXEMU_TILELOADD},
    {IN_BOTH, MAP_0F38, PP_66, 0x4B, MOVE, AMXEMU_TILELOADDT1},
    {IN_BOTH, MAP_0F38, PP_F3, 0x4B, MOVE, AMXEMU_TILESTORED},
    {IN_VEX, MAP_0F38, PP_F2, 0x5E, PRODUCT, AMXEMU_TDPBSSD},
    {IN_VEX, MAP_0F38, PP_F3, 0x5E, PRODUCT, AMXEMU_TDPBSUD},
    {IN_VEX, MAP_0F38, PP_66, 0x5E, PRODUCT, AMXEMU_TDPBUSD},
    {IN_VEX, MAP_0F38, PP_NONE, 0x5E, PRODUCT, AMXEMU_TDPBUUD},
    {IN_VEX, MAP_0F38, PP_F3, 0x5C, PRODUCT, AMXEMU_TDPBF16PS},
    {IN_VEX, MAP_0F38, PP_F2, 0x5C, PRODUCT, AMXEMU_TDPFP16PS},
    {IN_VEX, MAP_0F38, PP_NONE, 0x6C, PRODUCT, AMXEMU_TCMMRLFP16PS},
    {IN_VEX, MAP_0F38, PP_66, 0x6C, PRODUCT, AMXEMU_TCMMIMFP16PS},
    {IN_VEX, MAP_5, PP_NONE, 0xFD, PRODUCT, AMXEMU_TDPBF8PS},
    {IN_VEX, MAP_5, PP_F2, 0xFD, PRODUCT, AMXEMU_TDPBHF8PS},
    {IN_VEX, MAP_5, PP_F3, 0xFD, PRODUCT, AMXEMU_TDPHBF8PS},
    {IN_VEX, MAP_5, PP_66, 0xFD, PRODUCT, AMXEMU_TDPHF8PS},
    {IN_BOTH, MAP_0F38, PP_F2, 0x4A, MOVE, AMXEMU_TILELOADDRS},
    {IN_BOTH, MAP_0F38, PP_66, 0x4A, MOVE, AMXEMU_TILELOADDRST1},
    {IN_EVEX, MAP_0F38, PP_66, 0x4A, ROW, AMXEMU_TILEMOVROW},
    {IN_EVEX, MAP_0F3A, PP_66, 0x07, ROW_CONSTANT, AMXEMU_TILEMOVROW},
    {IN_EVEX, MAP_0F38, PP_F3, 0x4A, ROW, AMXEMU_TCVTROWD2PS},
    {IN_EVEX, MAP_0F3A, PP_F3, 0x07, ROW_CONSTANT, AMXEMU_TCVTROWD2PS},
    {IN_EVEX, MAP_0F38, PP_F2, 0x6D, ROW, AMXEMU_TCVTROWPS2BF16H},
    {IN_EVEX, MAP_0F3A, PP_F2, 0x07, ROW_CONSTANT, AMXEMU_TCVTROWPS2BF16H},
    {IN_EVEX, MAP_0F38, PP_F3, 0x6D, ROW, AMXEMU_TCVTROWPS2BF16L},
    {IN_EVEX, MAP_0F3A, PP_F3, 0x77, ROW_CONSTANT, AMXEMU_TCVTROWPS2BF16L},
    {IN_EVEX, MAP_0F38, PP_NONE, 0x6D, ROW, AMXEMU_TCVTROWPS2PHH},
    {IN_EVEX, MAP_0F3A, PP_NONE, 0x07, ROW_CONSTANT, AMXEMU_TCVTROWPS2PHH},
    {IN_EVEX, MAP_0F38, PP_66, 0x6D, ROW, AMXEMU_TCVTROWPS2PHL},
    {IN_EVEX, MAP_0F3A, PP_F2, 0x77, ROW_CONSTANT, AMXEMU_TCVTROWPS2PHL},
    {IN_VEX, MAP_0F38, PP_66, 0x48, PRODUCT, AMXEMU_TMMULTF32PS},
    {IN_VEX, MAP_0F38, PP_NONE, 0x48, PRODUCT, AMXEMU_TTMMULTF32PS},
    {IN_VEX, MAP_0F38, PP_F3, 0x6C, PRODUCT, AMXEMU_TTDPBF16PS},
    {IN_VEX, MAP_0F38, PP_F2, 0x6C, PRODUCT, AMXEMU_TTDPFP16PS},
    {IN_VEX, MAP_0F38, PP_F3, 0x6B, PRODUCT, AMXEMU_TTCMMRLFP16PS},
    {IN_VEX, MAP_0F38, PP_F2, 0x6B, PRODUCT, AMXEMU_TTCMMIMFP16PS},
    {IN_VEX, MAP_0F38, PP_NONE, 0x6B, PRODUCT, AMXEMU_TCONJTCMMIMFP16PS},
    {IN_VEX, MAP_0F38, PP_66, 0x6B, TRANSPOSE, AMXEMU_TCONJTFP16},
    {IN_VEX, MAP_0F38, PP_F3, 0x5F, TRANSPOSE, AMXEMU_TTRANSPOSED},
    {IN_BOTH, MAP_0F38, PP_NONE, 0x6E, MOVE, AMXEMU_T2RPNTLVWZ0},
    {IN_BOTH, MAP_0F38, PP_NONE, 0x6F, MOVE, AMXEMU_T2RPNTLVWZ0T1},
    {IN_BOTH, MAP_0F38, PP_66, 0x6E, MOVE, AMXEMU_T2RPNTLVWZ1},
    {IN_BOTH, MAP_0F38, PP_66, 0x6F, MOVE, AMXEMU_T2RPNTLVWZ1T1},
    {IN_BOTH, MAP_5, PP_NONE, 0xF8, MOVE, AMXEMU_T2RPNTLVWZ0RS},
    {IN_BOTH, MAP_5, PP_NONE, 0xF9, MOVE, AMXEMU_T2RPNTLVWZ0RST1},
    {IN_BOTH, MAP_5, PP_66, 0xF8, MOVE, AMXEMU_T2RPNTLVWZ1RS},
    {IN_BOTH, MAP_5, PP_66, 0xF9, MOVE, AMXEMU_T2RPNTLVWZ1RST1},
};

struct code {
    const uint8_t *bytes;
    size_t size, at;
    int short_of_bytes;
};

static uint8_t next(struct code *code) {
    if (code->at >= code->size || code->at >= MAX_LENGTH) {
        code->short_of_bytes = 1;
        return 0;
    }
    return code->bytes[code->at++];
}

struct prefixes {
    int forbidden; /* with VEX: 66, F2, F3, LOCK; REX only directly before it, else it has no effect at all */
    int8_t segment;
    uint8_t address32;
};

/* Consumes everything up to and including the byte VEX or EVEX begins with, and returns it; 0 when another
 * opcode follows. */
static uint8_t read_prefixes(struct code *code, struct prefixes *prefixes) {
    int legacy = 0, rex = 0;
    *prefixes = (struct prefixes){.segment = -1};
    for (;;) {
        const uint8_t byte = next(code);
        if (code->short_of_bytes)
            return 0;
        if (byte == VEX3 || byte == EVEX) {
            prefixes->forbidden = legacy || rex;
            return byte;
        }
        rex = (byte & 0xF0) == 0x40;
        switch (byte) {
        case 0x66:
        case 0xF2:
        case 0xF3:
        case 0xF0:
            legacy = 1;
            break;
        case 0x64:
        case 0x65:
            prefixes->segment = (int8_t)(byte - 0x60);
            break;
        case 0x67:
            prefixes->address32 = 1;
            break;
        case 0x26: /* ES, CS, SS, DS: without effect in 64-bit mode */
        case 0x2E:
        case 0x36:
        case 0x3E:
            break;
        default:
            if (!rex)
                return 0;
        }
    }
}

/* What VEX and EVEX say, bits as they count, not inverted. In EVEX register numbers have five bits. */
struct payload {
    enum spaces space;
    unsigned r, x, b; /* what comes before the three bits of ModRM.reg, SIB.index, and ModRM.rm or SIB.base */
    unsigned map, w, vvvv, length, pp;
    unsigned masking; /* EVEX.z, b and aaa, where APX has its NF: not for AMX */
};

static struct payload read_vex(struct code *code) {
    const unsigned p0 = next(code), p1 = next(code);
    return (struct payload){
        .space = IN_VEX,
        .r = ~p0 >> 7 & 1,
        .x = ~p0 >> 6 & 1,
        .b = ~p0 >> 5 & 1,
        .map = p0 & 31,
        .w = p1 >> 7,
        .vvvv = ~p1 >> 3 & 15,
        .length = p1 >> 2 & 1,
        .pp = p1 & 3,
    };
}

/* With APX's fourth bits of B (not inverted) and X (the bit that was fixed to 1). */
static struct payload read_evex(struct code *code) {
    const unsigned p0 = next(code), p1 = next(code), p2 = next(code);
    return (struct payload){
        .space = IN_EVEX,
        .r = (~p0 >> 7 & 1) | (~p0 >> 4 & 1) << 1,
        .x = (~p0 >> 6 & 1) | (~p1 >> 2 & 1) << 1,
        .b = (~p0 >> 5 & 1) | (p0 >> 3 & 1) << 1,
        .map = p0 & 7,
        .w = p1 >> 7,
        .vvvv = (~p1 >> 3 & 15) | (~p2 >> 3 & 1) << 4,
        .length = p2 >> 5 & 3,
        .pp = p1 & 3,
        .masking = p2 & 0x97,
    };
}

static int is_row(enum form form) {
    return form == ROW || form == ROW_CONSTANT;
}
static int is_in_memory(enum form form) {
    return form == CONFIGURE || form == MOVE;
}

/* Instructions share opcodes where one takes memory and the other registers. NULL where there is none. */
static const struct encoding *find(const struct payload *payload, uint8_t opcode, int in_memory) {
    const struct encoding *found = NULL;
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        const struct encoding *e = &encodings[i];
        if (!(e->spaces & payload->space) || e->map != payload->map || e->pp != payload->pp ||
            e->opcode != opcode)
            continue;
        if (is_in_memory(e->form) == in_memory)
            return e;
        found = e;
    }
    return found;
}

static int is_valid_form(enum form form, const struct payload *p, unsigned mod, unsigned reg, unsigned rm) {
    switch (form) {
    case CONFIGURE: /* R is ignored */
        return mod != REGISTER && reg == 0 && p->vvvv == 0;
    case RELEASE:
        return mod == REGISTER && reg == 0 && rm == 0 && p->vvvv == 0;
    case ZERO: /* X and B are ignored */
        return mod == REGISTER && rm == 0 && p->r == 0 && p->vvvv == 0;
    case MOVE:
        return mod != REGISTER && rm == SIB && p->r == 0 && p->vvvv == 0;
    case PRODUCT: /* X is ignored */
        return mod == REGISTER && p->r == 0 && p->b == 0 && p->vvvv < AMXEMU_TILES && reg != rm &&
               reg != p->vvvv && rm != p->vvvv;
    case TRANSPOSE:
        return mod == REGISTER && p->r == 0 && p->b == 0 && p->vvvv == 0;
    case ROW: /* X is ignored, APX's fourth bit of it must be 0 */
        return mod == REGISTER && p->b == 0 && p->x < 2;
    case ROW_CONSTANT:
        return mod == REGISTER && p->b == 0 && p->x < 2 && p->vvvv == 0;
    }
    return 0;
}

static int is_valid(enum form form, const struct payload *p, unsigned mod, unsigned reg, unsigned rm) {
    return p->w == 0 && p->masking == 0 && p->length == (is_row(form) ? LENGTH_512 : LENGTH_128) &&
           is_valid_form(form, p, mod, reg, rm);
}

/* EVEX does not scale the 8-bit displacement of these (XED and LLVM agree). */
static void read_memory_operand(struct code *code, const struct payload *payload, unsigned mod, unsigned rm,
                                struct amxemu_insn *insn) {
    unsigned displacement_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;

    insn->has_memory = 1;
    if (rm == SIB) {
        const unsigned sib = next(code);
        const unsigned index = (sib >> 3 & 7) | payload->x << 3;
        insn->scale = (uint8_t)(sib >> 6);
        insn->index = index == NO_INDEX ? -1 : (int8_t)index;
        insn->base = (int8_t)((sib & 7) | payload->b << 3);
        if (mod == 0 && (sib & 7) == 5) {
            insn->base = -1;
            displacement_bytes = 4;
        }
    } else if (mod == 0 && rm == 5) {
        insn->base = AMXEMU_RIP;
        displacement_bytes = 4;
    } else {
        insn->base = (int8_t)(rm | payload->b << 3);
    }
    uint32_t displacement = 0;
    for (unsigned i = 0; i < displacement_bytes; i++)
        displacement |= (uint32_t)next(code) << 8 * i;
    insn->displacement = displacement_bytes == 1 ? (int8_t)displacement : (int32_t)displacement;
}

static void read_operands(struct code *code, enum form form, const struct payload *payload, unsigned mod,
                          unsigned reg, unsigned rm, struct amxemu_insn *insn) {
    if (is_row(form))
        insn->d = (uint8_t)(reg | payload->r << 3);
    else if (form != CONFIGURE && form != RELEASE)
        insn->d = (uint8_t)reg;
    if (form == PRODUCT || form == TRANSPOSE || is_row(form))
        insn->a = (uint8_t)rm;
    if (form == PRODUCT)
        insn->b = (uint8_t)payload->vvvv;
    if (form == ROW)
        insn->row_register = (int8_t)payload->vvvv;
    if (form == ROW_CONSTANT)
        insn->row = next(code);
    if (is_in_memory(form))
        read_memory_operand(code, payload, mod, rm, insn);
    insn->apx = payload->space == IN_EVEX && (!is_row(form) || insn->row_register >= 16);
}

enum amxemu_verdict amxemu_decode(const uint8_t *bytes, size_t size, struct amxemu_insn *insn) {
    struct code code = {.bytes = bytes, .size = size};
    struct prefixes prefixes;
    const uint8_t escape = read_prefixes(&code, &prefixes);
    if (!escape)
        return AMXEMU_NOT_AMX;
    const struct payload payload = escape == EVEX ? read_evex(&code) : read_vex(&code);
    const uint8_t opcode = next(&code);
    const uint8_t modrm = next(&code);
    if (code.short_of_bytes)
        return AMXEMU_NOT_AMX;

    const unsigned mod = modrm >> 6, reg = modrm >> 3 & 7, rm = modrm & 7;
    const struct encoding *encoding = find(&payload, opcode, mod != REGISTER);
    if (encoding == NULL)
        return AMXEMU_NOT_AMX;
    if (prefixes.forbidden || !is_valid((enum form)encoding->form, &payload, mod, reg, rm))
        return AMXEMU_INVALID;

    struct amxemu_insn decoded = {
        .op = (enum amxemu_op)encoding->op,
        .base = -1,
        .index = -1,
        .segment = prefixes.segment,
        .address32 = prefixes.address32,
        .row_register = -1,
    };
    read_operands(&code, (enum form)encoding->form, &payload, mod, reg, rm, &decoded);
    if (code.short_of_bytes)
        return AMXEMU_NOT_AMX;
    decoded.length = (uint8_t)code.at;
    *insn = decoded;
    return decoded.op < AMXEMU_OPS ? AMXEMU_VALID : AMXEMU_WITHDRAWN;
}
