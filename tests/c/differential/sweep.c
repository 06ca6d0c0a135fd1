/* Written from the table of encodings (SDM vol. 2, AMX instruction pages), not from decode.c.
 *
 * First every VEX payload with every ModRM byte and every kind of SIB byte; then behind each prefix, which
 * the payload has nothing to do with, right and some wrong ones.
 */
#include "sweep.h"

#include <string.h>

static const uint8_t opcodes[] = {0x49, 0x4B, 0x5C, 0x5E};
/* Base and index, neither, one of them; the base that is none where ModRM.mod is 0. */
static const uint8_t sibs[] = {0x24, 0x08, 0x0C, 0x60, 0x25, 0x4D, 0x9F, 0xFF};
/* Not FS: what is there is this thread's. */
static const uint8_t prefixes[][2] = {{0x66}, {0xF2}, {0xF3}, {0xF0},       {0x2E},
                                      {0x36}, {0x3E}, {0x26}, {0x65},       {0x67},
                                      {0x40}, {0x48}, {0x4F}, {0x4F, 0x3E}, {0x2E, 0x40}};
static const uint8_t some_rxb[] = {0, 7}, some_vvvv[] = {0, 3};

#define COUNT(array) (sizeof(array) / sizeof *(array))
enum { MODRM = 256, WITH_SIB = 24, RXB = 8, W = 2, L = 2, VVVV = 16, PP = 4, SIB = 4, REGISTER = 3 };
enum {
    FORMS = MODRM + WITH_SIB * (COUNT(sibs) - 1)
}; /* each ModRM, and those with SIB again with each other */
enum { PLAIN = FORMS * COUNT(opcodes) * PP * RXB * W * L * VVVV };
enum { PREFIXED = FORMS * COUNT(opcodes) * PP * COUNT(some_rxb) * COUNT(some_vvvv) * COUNT(prefixes) };
const uint64_t sweep_count = PLAIN + PREFIXED;

struct fields {
    uint8_t prefix[2];
    unsigned r, x, b, w, l, vvvv, pp, opcode, modrm, sib;
};

static unsigned digit(uint64_t *number, unsigned base) {
    const unsigned result = (unsigned)(*number % base);
    *number /= base;
    return result;
}

static void read_form(uint64_t *number, struct fields *f) {
    unsigned form = digit(number, FORMS);
    if (form < MODRM) {
        f->modrm = form;
        f->sib = sibs[0];
        return;
    }
    form -= MODRM;
    f->sib = sibs[1 + form % (COUNT(sibs) - 1)];
    f->modrm = form / (COUNT(sibs) - 1) << 3 | SIB; /* mod below 3, any reg */
}

static struct fields fields_of(uint64_t number) {
    struct fields f = {0};
    const int prefixed = number >= PLAIN;
    if (prefixed)
        number -= PLAIN;
    read_form(&number, &f);
    f.opcode = opcodes[digit(&number, COUNT(opcodes))];
    f.pp = digit(&number, PP);
    unsigned rxb;
    if (prefixed) {
        rxb = some_rxb[digit(&number, COUNT(some_rxb))];
        f.vvvv = some_vvvv[digit(&number, COUNT(some_vvvv))];
        memcpy(f.prefix, prefixes[digit(&number, COUNT(prefixes))], sizeof f.prefix);
    } else {
        rxb = digit(&number, RXB);
        f.w = digit(&number, W);
        f.l = digit(&number, L);
        f.vvvv = digit(&number, VVVV);
    }
    f.r = rxb >> 2;
    f.x = rxb >> 1 & 1;
    f.b = rxb & 1;
    return f;
}

/* AMXEMU_OPS: no instruction. */
static enum amxemu_op named(const struct fields *f) {
    static const enum amxemu_op moves[] = {AMXEMU_OPS, AMXEMU_TILELOADDT1, AMXEMU_TILESTORED,
                                           AMXEMU_TILELOADD};
    static const enum amxemu_op int8[] = {AMXEMU_TDPBUUD, AMXEMU_TDPBUSD, AMXEMU_TDPBSUD, AMXEMU_TDPBSSD};
    static const enum amxemu_op floats[] = {AMXEMU_OPS, AMXEMU_OPS, AMXEMU_TDPBF16PS, AMXEMU_TDPFP16PS};
    static const enum amxemu_op configure[] = {AMXEMU_LDTILECFG, AMXEMU_STTILECFG, AMXEMU_OPS, AMXEMU_OPS};
    static const enum amxemu_op registers[] = {AMXEMU_TILERELEASE, AMXEMU_OPS, AMXEMU_OPS, AMXEMU_TILEZERO};
    switch (f->opcode) {
    case 0x4B:
        return moves[f->pp];
    case 0x5E:
        return int8[f->pp];
    case 0x5C:
        return floats[f->pp];
    default:
        return f->modrm >> 6 == REGISTER ? registers[f->pp] : configure[f->pp];
    }
}

static int is_valid(const struct fields *f, enum amxemu_op op) {
    const unsigned mod = f->modrm >> 6, reg = f->modrm >> 3 & 7, rm = f->modrm & 7;
    if (f->w || f->l)
        return 0;
    switch (op) {
    case AMXEMU_LDTILECFG:
    case AMXEMU_STTILECFG:
        return reg == 0 && f->vvvv == 0;
    case AMXEMU_TILERELEASE:
        return f->modrm == 0xC0 && f->vvvv == 0;
    case AMXEMU_TILEZERO:
        return rm == 0 && !f->r && f->vvvv == 0;
    case AMXEMU_TILELOADD:
    case AMXEMU_TILELOADDT1:
    case AMXEMU_TILESTORED:
        return mod != REGISTER && rm == SIB && !f->r && f->vvvv == 0;
    case AMXEMU_OPS:
        return 0;
    default: /* products */
        return mod == REGISTER && !f->r && !f->b && f->vvvv < AMXEMU_TILES && reg != rm && reg != f->vvvv &&
               rm != f->vvvv;
    }
}

/* 66, F2, F3 and F0 are never in front of VEX; REX not directly. */
static int is_allowed(const uint8_t prefix[2]) {
    const uint8_t last = prefix[1] ? prefix[1] : prefix[0];
    return prefix[0] != 0x66 && prefix[0] != 0xF2 && prefix[0] != 0xF3 && prefix[0] != 0xF0 &&
           (last & 0xF0) != 0x40;
}

void sweep_encode(uint64_t number, struct insn *insn) {
    const struct fields f = fields_of(number);
    const unsigned mod = f.modrm >> 6, rm = f.modrm & 7;
    uint8_t bytes[sizeof insn->bytes] = {0};
    unsigned length = 0;

    for (unsigned i = 0; i < 2 && f.prefix[i]; i++)
        bytes[length++] = f.prefix[i];
    bytes[length++] = 0xC4;
    bytes[length++] = (uint8_t)(!f.r << 7 | !f.x << 6 | !f.b << 5 | 2);
    bytes[length++] = (uint8_t)(f.w << 7 | (~f.vvvv & 15) << 3 | f.l << 2 | f.pp);
    bytes[length++] = (uint8_t)f.opcode;
    bytes[length++] = (uint8_t)f.modrm;
    if (mod != REGISTER && rm == SIB)
        bytes[length++] = (uint8_t)f.sib;
    /* displacements of zero, but by RIP: 64 KiB on, not the code itself */
    const int by_rip = mod == 0 && rm == 5;
    if (by_rip)
        bytes[length + 2] = 1;
    if (mod == 1)
        length += 1;
    else if (mod == 2 || by_rip || (mod == 0 && rm == SIB && (f.sib & 7) == 5))
        length += 4;
    memset(insn, 0, sizeof *insn);
    memcpy(insn->bytes, bytes, sizeof bytes);
    insn->length = (uint8_t)length;
    insn->op = named(&f);
    insn->valid = is_valid(&f, insn->op) && is_allowed(f.prefix);
    insn->mxcsr = MXCSR_DEFAULT;
}

int sweep_is_dangerous(const struct insn *insn) {
    return insn->bytes[0] == 0x67 && (insn->op == AMXEMU_STTILECFG || insn->op == AMXEMU_TILESTORED);
}
