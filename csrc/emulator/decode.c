/* Which AMX instruction the bytes at an address are: the VEX encodings of the base set and TDPFP16PS, 64-bit
 * mode.
 *
 * A combination of opcode and VEX.pp that no instruction of this set uses is AMXEMU_NOT_AMX, even where it is
 * unassigned today: it may become another instruction.
 */
#include "emulator.h"

#include <string.h>

enum { MAX_LENGTH = 15, VEX3 = 0xC4, VEX_MAP_0F38 = 2, NO_VVVV = 15, REGISTER = 3, SIB = 4 };
enum { PP_NONE = 0, PP_66 = 1, PP_F3 = 2, PP_F2 = 3 };
enum { NO_OP = -1 };

/* What may stand in ModRM. */
enum form {
    CONFIGURE, /* LDTILECFG and STTILECFG: memory, reg = 000 */
    RELEASE,   /* C0 exactly */
    ZERO,      /* register, rm = 000, reg is the tile */
    MOVE,      /* memory with SIB, reg is the tile */
    PRODUCT,   /* register; tiles in reg, rm and vvvv */
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

/* Consumes everything up to and including the VEX byte; 0 when another opcode follows. */
static int read_prefixes(struct code *code, struct prefixes *prefixes) {
    int legacy = 0, rex = 0;
    *prefixes = (struct prefixes){.segment = -1};
    for (;;) {
        const uint8_t byte = next(code);
        if (code->short_of_bytes)
            return 0;
        if (byte == VEX3) {
            prefixes->forbidden = legacy || rex;
            return 1;
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

struct vex {
    unsigned r, x, b; /* extension bits as they count, not inverted */
    unsigned map, w, vvvv, l, pp;
};

static struct vex read_vex(struct code *code) {
    const unsigned p0 = next(code), p1 = next(code);
    return (struct vex){
        .r = ~p0 >> 7 & 1,
        .x = ~p0 >> 6 & 1,
        .b = ~p0 >> 5 & 1,
        .map = p0 & 31,
        .w = p1 >> 7,
        .vvvv = ~p1 >> 3 & 15,
        .l = p1 >> 2 & 1,
        .pp = p1 & 3,
    };
}

static int op_of(uint8_t opcode, unsigned pp, int register_form, enum form *form) {
    switch (opcode) {
    case 0x49:
        *form = register_form ? RELEASE : CONFIGURE;
        if (pp == PP_NONE)
            return register_form ? AMXEMU_TILERELEASE : AMXEMU_LDTILECFG;
        if (pp == PP_66) {
            *form = CONFIGURE;
            return AMXEMU_STTILECFG;
        }
        *form = ZERO;
        return pp == PP_F2 ? AMXEMU_TILEZERO : NO_OP;
    case 0x4B: {
        static const int8_t ops[4] = {NO_OP, AMXEMU_TILELOADDT1, AMXEMU_TILESTORED, AMXEMU_TILELOADD};
        *form = MOVE;
        return ops[pp];
    }
    case 0x5C: {
        static const int8_t ops[4] = {NO_OP, NO_OP, AMXEMU_TDPBF16PS, AMXEMU_TDPFP16PS};
        *form = PRODUCT;
        return ops[pp];
    }
    case 0x5E: {
        static const int8_t ops[4] = {AMXEMU_TDPBUUD, AMXEMU_TDPBUSD, AMXEMU_TDPBSUD, AMXEMU_TDPBSSD};
        *form = PRODUCT;
        return ops[pp];
    }
    default:
        return NO_OP;
    }
}

static int is_valid_form(enum form form, const struct vex *vex, unsigned mod, unsigned reg, unsigned rm) {
    switch (form) {
    case CONFIGURE: /* VEX.R is ignored */
        return mod != REGISTER && reg == 0 && vex->vvvv == 0;
    case RELEASE:
        return mod == REGISTER && reg == 0 && rm == 0 && vex->vvvv == 0;
    case ZERO: /* VEX.X and VEX.B are ignored */
        return mod == REGISTER && rm == 0 && vex->r == 0 && vex->vvvv == 0;
    case MOVE:
        return mod != REGISTER && rm == SIB && vex->r == 0 && vex->vvvv == 0;
    case PRODUCT: /* VEX.X is ignored */
        return mod == REGISTER && vex->r == 0 && vex->b == 0 && vex->vvvv < AMXEMU_TILES && reg != rm &&
               reg != vex->vvvv && rm != vex->vvvv;
    }
    return 0;
}

static void read_memory_operand(struct code *code, const struct vex *vex, unsigned mod, unsigned rm,
                                struct amxemu_insn *insn) {
    unsigned displacement_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;

    insn->has_memory = 1;
    if (rm == SIB) {
        const unsigned sib = next(code);
        const unsigned index = (sib >> 3 & 7) | vex->x << 3;
        insn->scale = (uint8_t)(sib >> 6);
        insn->index = index == 4 ? -1 : (int8_t)index;
        insn->base = (int8_t)((sib & 7) | vex->b << 3);
        if (mod == 0 && (sib & 7) == 5) {
            insn->base = -1;
            displacement_bytes = 4;
        }
    } else if (mod == 0 && rm == 5) {
        insn->base = AMXEMU_RIP;
        displacement_bytes = 4;
    } else {
        insn->base = (int8_t)(rm | vex->b << 3);
    }
    uint32_t displacement = 0;
    for (unsigned i = 0; i < displacement_bytes; i++)
        displacement |= (uint32_t)next(code) << 8 * i;
    insn->displacement = displacement_bytes == 1 ? (int8_t)displacement : (int32_t)displacement;
}

enum amxemu_verdict amxemu_decode(const uint8_t *bytes, size_t size, struct amxemu_insn *insn) {
    struct code code = {.bytes = bytes, .size = size};
    struct prefixes prefixes;
    if (!read_prefixes(&code, &prefixes))
        return AMXEMU_NOT_AMX;
    const struct vex vex = read_vex(&code);
    const uint8_t opcode = next(&code);
    const uint8_t modrm = next(&code);
    if (code.short_of_bytes || vex.map != VEX_MAP_0F38)
        return AMXEMU_NOT_AMX;

    const unsigned mod = modrm >> 6, reg = modrm >> 3 & 7, rm = modrm & 7;
    enum form form = RELEASE;
    const int op = op_of(opcode, vex.pp, mod == REGISTER, &form);
    if (op == NO_OP)
        return AMXEMU_NOT_AMX;
    if (prefixes.forbidden || vex.w || vex.l || !is_valid_form(form, &vex, mod, reg, rm))
        return AMXEMU_INVALID;

    *insn = (struct amxemu_insn){
        .op = (enum amxemu_op)op,
        .base = -1,
        .index = -1,
        .segment = prefixes.segment,
        .address32 = prefixes.address32,
    };
    if (form == ZERO || form == MOVE || form == PRODUCT)
        insn->d = (uint8_t)reg;
    if (form == PRODUCT) {
        insn->a = (uint8_t)rm;
        insn->b = (uint8_t)vex.vvvv;
    }
    if (form == CONFIGURE || form == MOVE)
        read_memory_operand(&code, &vex, mod, rm, insn);
    if (code.short_of_bytes)
        return AMXEMU_NOT_AMX;
    insn->length = (uint8_t)code.at;
    return AMXEMU_VALID;
}
