/* Written from the table of encodings (SDM vol. 2, AMX instruction pages), not from decode.c. */
#include "encode.h"

#include <string.h>

struct vex {
    unsigned r, x, b, map, w, vvvv, l, pp;
    uint8_t opcode;
};

struct buffer {
    uint8_t bytes[32];
    unsigned length;
};

static void put(struct buffer *out, unsigned byte) {
    out->bytes[out->length++] = (uint8_t)byte;
}

static const struct {
    uint8_t pp, opcode, map;
} encodings[AMXEMU_OPS] = {
    [AMXEMU_LDTILECFG] = {0, 0x49, 2},     [AMXEMU_STTILECFG] = {1, 0x49, 2},
    [AMXEMU_TILERELEASE] = {0, 0x49, 2},   [AMXEMU_TILEZERO] = {3, 0x49, 2},
    [AMXEMU_TILELOADD] = {3, 0x4B, 2},     [AMXEMU_TILELOADDT1] = {1, 0x4B, 2},
    [AMXEMU_TILESTORED] = {2, 0x4B, 2},    [AMXEMU_TDPBSSD] = {3, 0x5E, 2},
    [AMXEMU_TDPBSUD] = {2, 0x5E, 2},       [AMXEMU_TDPBUSD] = {1, 0x5E, 2},
    [AMXEMU_TDPBUUD] = {0, 0x5E, 2},       [AMXEMU_TDPBF16PS] = {2, 0x5C, 2},
    [AMXEMU_TDPFP16PS] = {3, 0x5C, 2},     [AMXEMU_TCMMRLFP16PS] = {0, 0x6C, 2},
    [AMXEMU_TCMMIMFP16PS] = {1, 0x6C, 2},  [AMXEMU_TDPBF8PS] = {0, 0xFD, 5},
    [AMXEMU_TDPBHF8PS] = {3, 0xFD, 5},     [AMXEMU_TDPHBF8PS] = {2, 0xFD, 5},
    [AMXEMU_TDPHF8PS] = {1, 0xFD, 5},      [AMXEMU_TILELOADDRS] = {3, 0x4A, 2},
    [AMXEMU_TILELOADDRST1] = {1, 0x4A, 2},
};
/* EVEX: the row's number in a register, or as an immediate. */
static const struct {
    uint8_t pp, opcode, constant_pp, constant_opcode;
} row_encodings[AMXEMU_OPS] = {
    [AMXEMU_TILEMOVROW] = {1, 0x4A, 1, 0x07},      [AMXEMU_TCVTROWD2PS] = {2, 0x4A, 2, 0x07},
    [AMXEMU_TCVTROWPS2BF16H] = {3, 0x6D, 3, 0x07}, [AMXEMU_TCVTROWPS2BF16L] = {2, 0x6D, 2, 0x77},
    [AMXEMU_TCVTROWPS2PHH] = {0, 0x6D, 0, 0x07},   [AMXEMU_TCVTROWPS2PHL] = {1, 0x6D, 3, 0x77},
};

static int is_configure(enum amxemu_op op) {
    return op <= AMXEMU_STTILECFG;
}

/* The ways in which an encoding of AMX's opcodes raises #UD. */
enum defect {
    DEFECT_L,
    DEFECT_W,
    DEFECT_LEGACY_PREFIX,
    DEFECT_REX,
    DEFECT_VVVV,      /* in use where it must not be; beyond the tiles in a product */
    DEFECT_R,         /* not where it is ignored */
    DEFECT_B,         /* products only */
    DEFECT_MOD,       /* register for memory and the other way round */
    DEFECT_RM,        /* no SIB; a second tile where there is none */
    DEFECT_REG,       /* configuration: reg is part of the opcode */
    DEFECT_SAME_TILE, /* products only */
    DEFECTS,
};

static int applies(enum defect defect, enum amxemu_op op) {
    switch (defect) {
    case DEFECT_R:
        return is_product(op) || is_move(op) || op == AMXEMU_TILEZERO;
    case DEFECT_B:
    case DEFECT_SAME_TILE:
        return is_product(op);
    case DEFECT_MOD: /* LDTILECFG and TILERELEASE turn into each other */
        return op != AMXEMU_LDTILECFG && op != AMXEMU_TILERELEASE;
    case DEFECT_RM:
        return is_move(op) || op == AMXEMU_TILEZERO || op == AMXEMU_TILERELEASE;
    case DEFECT_REG:
        return is_configure(op) || op == AMXEMU_TILERELEASE;
    default:
        return 1;
    }
}

static void put_harmless_prefixes(struct random *r, struct buffer *out) {
    static const uint8_t ignored[4] = {0x2E, 0x36, 0x3E, 0x26};
    if (!one_in(r, 4))
        return;
    if (one_in(r, 3))
        put(out, 0x40 | below(r, 16)); /* REX: without effect, a legacy prefix follows */
    put(out, ignored[below(r, 4)]);
}

static void put_address(struct buffer *out, unsigned reg, const struct address *address) {
    const int no_base = address->base == NO_REGISTER;
    const int rip = address->base == RIP_RELATIVE;
    const unsigned low = (unsigned)address->base & 7;
    int bytes = 4;
    unsigned mod = 2;

    if (no_base || rip) {
        mod = 0;
    } else if (address->displacement == 0 && low != 5) {
        mod = 0;
        bytes = 0;
    } else if (address->displacement >= -128 && address->displacement < 128) {
        mod = 1;
        bytes = 1;
    }
    if (rip) {
        put(out, reg << 3 | 5);
    } else if (address->with_sib) {
        const unsigned index = address->index == NO_REGISTER ? 4 : (unsigned)address->index & 7;
        put(out, mod << 6 | reg << 3 | 4);
        put(out, address->scale << 6 | index << 3 | (no_base ? 5 : low));
    } else {
        put(out, mod << 6 | reg << 3 | low);
    }
    const uint32_t displacement = (uint32_t)address->displacement - (rip ? out->length + (unsigned)bytes : 0);
    for (int i = 0; i < bytes; i++)
        put(out, displacement >> 8 * i & 0xFF);
}

static void finish(struct insn *insn, const struct buffer *out) {
    insn->length = (uint8_t)out->length;
    memset(insn->bytes, 0xCC, sizeof insn->bytes);
    memcpy(insn->bytes, out->bytes, out->length);
}

/* One bit of EVEX wrong. Not tried: what APX gave a meaning. */
static void spoil_evex(struct random *r, uint8_t p[3]) {
    switch (below(r, 4)) {
    case 0: /* W */
        p[1] ^= 0x80;
        break;
    case 1: /* z, b */
        p[2] ^= one_in(r, 2) ? 0x80 : 0x10;
        break;
    case 2: /* vector length */
        p[2] = (uint8_t)((p[2] & ~0x60) | (one_in(r, 2) ? 0 : 0x20));
        break;
    default: /* aaa */
        p[2] ^= (uint8_t)(1 + below(r, 7));
    }
}

static void encode_row(struct random *r, struct insn *insn, int broken) {
    const unsigned vvvv = insn->row_constant ? 0 : insn->set[0].number;
    const unsigned pp = insn->row_constant ? row_encodings[insn->op].constant_pp : row_encodings[insn->op].pp;
    uint8_t p[3] = {
        (uint8_t)((~insn->zmm >> 3 & 1) << 7 | 0x60 | (~insn->zmm >> 4 & 1) << 4 |
                  (insn->row_constant ? 3 : 2)),
        (uint8_t)((~vvvv & 15) << 3 | 4 | pp),
        0x48,
    };
    struct buffer out = {.length = 0};

    if (broken) {
        spoil_evex(r, p);
        insn->valid = 0;
    } else {
        put_harmless_prefixes(r, &out);
    }
    put(&out, 0x62);
    for (unsigned i = 0; i < 3; i++)
        put(&out, p[i]);
    put(&out, insn->row_constant ? row_encodings[insn->op].constant_opcode : row_encodings[insn->op].opcode);
    put(&out, 0xC0 | (insn->zmm & 7) << 3 | insn->a);
    if (insn->row_constant)
        put(&out, insn->row);
    finish(insn, &out);
}

void encode(struct random *r, struct insn *insn, const struct address *address, int broken) {
    const enum amxemu_op op = insn->op;
    const int memory = is_configure(op) || is_move(op);
    struct buffer out = {.length = 0};
    struct vex vex = {.pp = encodings[op].pp, .opcode = encodings[op].opcode, .map = encodings[op].map};
    unsigned reg = is_configure(op) || op == AMXEMU_TILERELEASE ? 0 : insn->d;
    unsigned rm = is_product(op) ? insn->a : 0;
    int register_form = !memory;
    enum defect defect = DEFECTS;

    if (is_row(op)) {
        encode_row(r, insn, broken);
        return;
    }
    if (broken) {
        do
            defect = (enum defect)below(r, DEFECTS);
        while (!applies(defect, op));
        insn->valid = 0;
    }
    if (is_product(op))
        vex.vvvv = insn->b;
    if (memory) {
        vex.x = address->index != NO_REGISTER && address->index >= 8;
        vex.b = address->base != NO_REGISTER && address->base != RIP_RELATIVE && address->base >= 8;
    }
    /* bits that do not count */
    if (is_configure(op))
        vex.r = below(r, 2);
    if (is_product(op) || op == AMXEMU_TILEZERO)
        vex.x = below(r, 2);
    if (op == AMXEMU_TILEZERO)
        vex.b = below(r, 2);

    switch (defect) {
    case DEFECT_L:
        vex.l = 1;
        break;
    case DEFECT_W:
        vex.w = 1;
        break;
    case DEFECT_VVVV:
        vex.vvvv = is_product(op) ? 8 | below(r, 8) : 1 + below(r, 15);
        break;
    case DEFECT_R:
        vex.r = 1;
        break;
    case DEFECT_B:
        vex.b = 1;
        break;
    case DEFECT_MOD:
        register_form = !register_form;
        break;
    case DEFECT_RM:
        rm = op == AMXEMU_TILEZERO || op == AMXEMU_TILERELEASE ? 1 + below(r, 7) : below(r, 4);
        break;
    case DEFECT_REG:
        reg = 1 + below(r, 7);
        break;
    case DEFECT_SAME_TILE:
        switch (below(r, 3)) {
        case 0:
            rm = reg;
            break;
        case 1:
            vex.vvvv = reg;
            break;
        default:
            vex.vvvv = rm;
        }
        break;
    default:
        break;
    }

    if (!broken) /* else the instruction could get longer than 15 bytes */
        put_harmless_prefixes(r, &out);
    if (memory ? address->segment != 0 : one_in(r, 16))
        put(&out, memory ? (unsigned)address->segment : 0x64 + below(r, 2));
    if (memory ? address->address32 : one_in(r, 16))
        put(&out, 0x67);
    if (defect == DEFECT_LEGACY_PREFIX) {
        static const uint8_t forbidden[4] = {0x66, 0xF2, 0xF3, 0xF0};
        put(&out, forbidden[below(r, 4)]);
        if (one_in(r, 2))
            put(&out, 0x3E);
    }
    if (defect == DEFECT_REX)
        put(&out, 0x40 | below(r, 16));
    put(&out, 0xC4);
    put(&out, (vex.r ^ 1) << 7 | (vex.x ^ 1) << 6 | (vex.b ^ 1) << 5 | vex.map);
    put(&out, vex.w << 7 | (vex.vvvv ^ 15) << 3 | vex.l << 2 | vex.pp);
    put(&out, vex.opcode);
    if (register_form) {
        put(&out, 0xC0 | reg << 3 | rm);
    } else if (defect == DEFECT_MOD || (defect == DEFECT_RM && is_move(op))) {
        put(&out, reg << 3 | (rm & 3)); /* a plain register as the address, without SIB */
    } else {
        put_address(&out, reg, address);
    }
    finish(insn, &out);
}
