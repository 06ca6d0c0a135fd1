#include "generate.h"

#include "data.h"
#include "encode.h"
#include "run.h"

#include <string.h>

const char *const family_names[FAMILIES] = {
    "config",  "memory", "int8", "bf16",  "fp16",           "encoding",
    "complex", "fp8",    "row",  "movrs", "newer-encoding",
};

enum { CONFIG_COLSB = 16, CONFIG_ROWS = 48 };

static unsigned dimension(struct random *r) {
    return one_in(r, 3) ? 16 : 1 + below(r, 16);
}

static void valid_image(struct random *r, uint8_t image[64]) {
    const unsigned m = dimension(r), n = dimension(r), k = dimension(r), first = below(r, 3);
    memset(image, 0, 64);
    image[0] = 1;
    if (one_in(r, 4))
        image[1] = (uint8_t)(one_in(r, 4) ? below(r, 256) : below(r, 16));
    for (unsigned t = 0; t < AMXEMU_TILES; t++) {
        const unsigned role = (t + first) % 3;
        unsigned rows = role == 2 ? k : m, colsb = 4 * (role == 1 ? k : n);
        if (one_in(r, 12)) {
            rows = 1 + below(r, 16);
            colsb = 1 + below(r, 64);
        } else if (one_in(r, 12)) {
            rows = colsb = 0;
        }
        image[CONFIG_COLSB + 2 * t] = (uint8_t)colsb;
        image[CONFIG_ROWS + t] = (uint8_t)rows;
    }
}

static void spoil_image(struct random *r, uint8_t image[64]) {
    const unsigned t = below(r, AMXEMU_TILES);
    const uint8_t any = (uint8_t)below(r, 256), nonzero = (uint8_t)(1 + below(r, 255));
    switch (below(r, 8)) {
    case 0:
        image[0] = any; /* an unknown palette, or INIT with everything else ignored */
        break;
    case 1:
        image[0] = 0;
        break;
    case 2:
        image[2 + below(r, 14)] = nonzero;
        break;
    case 3: /* tiles 8-15 */
        image[(one_in(r, 2) ? 32 + below(r, 16) : 56 + below(r, 8))] = nonzero;
        break;
    case 4:
        image[CONFIG_ROWS + t] = any;
        break;
    case 5:
        image[CONFIG_COLSB + 2 * t] = any;
        break;
    case 6:
        image[CONFIG_COLSB + 2 * t + 1] = nonzero;
        break;
    default:
        image[(one_in(r, 2) ? CONFIG_COLSB + 2 * t : CONFIG_ROWS + t)] = 0;
    }
}

void generate_start(struct random *r, enum family family, struct amxemu_state *state, struct shadow *memory) {
    memset(state, 0, sizeof *state);
    if (!one_in(r, 8)) {
        uint8_t image[64];
        valid_image(r, image);
        amxemu_ldtilecfg(state, image);
        for (unsigned t = 0; t < AMXEMU_TILES; t++) /* beyond the configured shape too */
            fill_data(r, family, state->tile[t][0], sizeof state->tile[t]);
    }
    for (size_t i = 0; i < ARENA_SIZE; i += PAGE / 2)
        fill_data(r, family, memory->bytes + i, PAGE / 2);
}

/* ---- operands in memory ---- */

struct extent { /* what the instruction accesses */
    unsigned first_row, rows;
    size_t size; /* of a row */
    int writing;
};

static uint64_t wild_address(struct random *r) {
    switch (below(r, 4)) {
    case 0:
        return below(r, 4096 - 64);
    case 1:
        return UINT64_C(0xFFFF800000000000) + (random64(r) >> 20);
    case 2:
        return ARENA_RESERVED + below(r, 1 << 20);
    default:
        return UINT64_C(0x4000000000000000) ^ (random64(r) >> 3 & UINT64_C(0x1FFFFFFFFFFFFFFF));
    }
}

static void aim(struct random *r, const struct extent *extent, uint64_t *address, uint64_t *stride) {
    *address = ARENA + below(r, 2 * PAGE - 1024);
    *stride = extent->size + below(r, 64);
    switch (below(r, 12)) {
    case 0: /* downwards */
        *stride = -*stride;
        *address += 2048;
        break;
    case 1: /* overlapping rows */
        *stride = below(r, 64) - UINT64_C(32);
        *address += 1024;
        break;
    case 2: /* over the upper end */
        *address = ARENA + ARENA_SIZE - 1 - below(r, 1200);
        break;
    case 3: /* over the lower end */
        *address = ARENA + below(r, 1200);
        *stride = -*stride;
        break;
    case 4: /* starting in front */
        *address = ARENA - 1 - below(r, 64);
        break;
    case 5: /* into the read-only page, or out of it */
        *address = ARENA + ARENA_READ_ONLY_PAGE * (uint64_t)PAGE - below(r, 1200);
        break;
    case 6:
        *address = wild_address(r);
        break;
    case 7: /* the second row far away */
        *stride = one_in(r, 2) ? UINT64_C(1) << (61 + below(r, 3)) : UINT64_C(0xFFFF800000000000);
        break;
    default:
        break;
    }
}

/* Whether every access up to the first fault is to memory that this program knows. */
static int is_safe(const struct operand *o, const struct extent *extent, int *noncanonical) {
    *noncanonical = 0;
    for (unsigned row = extent->first_row; row < extent->rows; row++) {
        const uint64_t address = o->segment_base + ((o->base + row * o->stride) & o->offset_mask);
        switch (place_of(address, extent->size)) {
        case PLACE_UNKNOWN:
            return 0;
        case PLACE_NONCANONICAL:
            *noncanonical = 1;
            return 1;
        case PLACE_UNMAPPED:
            return 1;
        case PLACE_BYTES:
            if (shadow_accessible(address, extent->size, extent->writing) < extent->size)
                return 1;
        }
    }
    return 1;
}

static int fits_int32(uint64_t value) {
    return (uint64_t)(int64_t)(int32_t)value == value;
}

static int some_register(struct random *r, int but) {
    int number;
    do
        number = (int)below(r, 16);
    while (number == but);
    return number;
}

static void set_register(struct insn *insn, int number, uint64_t value) {
    insn->set[insn->registers].number = (unsigned)number;
    insn->set[insn->registers++].value = value;
}

/* Turns "rows at address + r * stride" into registers, displacement and prefixes. With `single` the whole
 * operand is one address (LDTILECFG, STTILECFG), where ModRM may also go without SIB or be relative to RIP.
 */
static void make_operand(struct random *r, struct insn *insn, struct address *form, uint64_t address,
                         uint64_t stride, int single, uint64_t fs_base) {
    struct operand *o = &insn->memory;
    uint64_t garbage = 0;

    *form = (struct address){.base = NO_REGISTER, .index = NO_REGISTER, .with_sib = 1};
    *o = (struct operand){.offset_mask = UINT64_MAX};
    if (one_in(r, 6)) {
        form->segment = 0x65;
        insn->gs_base = o->segment_base = below(r, 1 << 20);
    } else if (one_in(r, 12)) {
        form->segment = 0x64;
        o->segment_base = fs_base;
    }
    uint64_t offset = address - o->segment_base;
    const int narrow = one_in(r, 6); /* drawn in any case: what follows must not depend on fs_base */
    const uint64_t high_bits = random64(r) << 32;
    if (narrow && form->segment != 0x64 && offset <= UINT32_MAX) {
        form->address32 = 1;
        o->offset_mask = UINT32_MAX;
        garbage = high_bits;
    }
    if (single && one_in(r, 4) && form->segment != 0x64 && fits_int32(offset - CODE_INSN)) {
        form->base = RIP_RELATIVE;
        form->displacement = (int32_t)(offset - CODE_INSN);
        form->with_sib = 0;
        o->base = offset;
        return;
    }
    if (single ? one_in(r, 3) : !one_in(r, 12)) {
        form->index = some_register(r, 4);
        if (single) {
            const unsigned shift = below(r, 64);
            stride = random64(r) >> shift;
        }
        do
            form->scale = below(r, 4);
        while (!single && stride & ((1u << form->scale) - 1));
        const uint64_t value =
            single ? stride : stride >> form->scale | (form->scale ? random64(r) << (64 - form->scale) : 0);
        stride = value << form->scale;
        set_register(insn, form->index, form->address32 ? value ^ garbage << 1 : value);
        if (form->address32)
            stride = (value ^ garbage << 1) << form->scale;
    } else {
        stride = 0;
        form->scale = below(r, 4);
    }
    if (single) {
        offset -= stride;
        o->base = offset + stride;
    } else {
        o->base = offset;
        o->stride = stride;
    }
    if (one_in(r, 8) && form->segment != 0x64 && fits_int32(offset)) {
        form->displacement = (int32_t)offset; /* no base */
        return;
    }
    const unsigned size = below(r, 3);
    form->displacement = size == 0 ? 0 : size == 1 ? (int32_t)below(r, 256) - 128 : (int32_t)random64(r);
    form->base = some_register(r, form->index);
    set_register(insn, form->base, (offset - (uint64_t)(int64_t)form->displacement) ^ garbage);
    o->stack = (form->base == 4 || form->base == 5) && form->segment == 0;
    if (single && form->index == NO_REGISTER && (form->base & 7) != 4)
        form->with_sib = (int)below(r, 2);
}

static void choose_operand(struct random *r, struct insn *insn, struct address *form,
                           const struct extent *extent, int single, uint64_t fs_base) {
    for (int attempt = 0;; attempt++) {
        uint64_t address, stride;
        int noncanonical;
        insn->registers = 0;
        insn->gs_base = 0;
        aim(r, extent, &address, &stride);
        if (attempt > 8) { /* something that is always there */
            address = ARENA + 1024;
            stride = 64;
        }
        make_operand(r, insn, form, address, stride, single, fs_base);
        if (!is_safe(&insn->memory, extent, &noncanonical))
            continue;
        /* whether a segment prefix turns #SS into #GP is not known from silicon */
        if (noncanonical && form->segment && (form->base == 4 || form->base == 5))
            continue;
        return;
    }
}

static void put_image(struct random *r, enum family family, const struct operand *o, struct shadow *memory) {
    const uint64_t address = o->segment_base + (o->base & o->offset_mask);
    uint8_t image[64];
    if (shadow_accessible(address, sizeof image, 0) < sizeof image)
        return;
    valid_image(r, image);
    if (family == FAMILY_CONFIG ? one_in(r, 2) : one_in(r, 16))
        spoil_image(r, image);
    memcpy(memory->bytes + (address - ARENA), image, sizeof image);
}

/* ---- instructions ---- */

static enum amxemu_op some_product(struct random *r, enum family family) {
    if (family == FAMILY_BF16)
        return AMXEMU_TDPBF16PS;
    if (family == FAMILY_FP16)
        return AMXEMU_TDPFP16PS;
    if (family == FAMILY_COMPLEX)
        return (enum amxemu_op)(AMXEMU_TCMMRLFP16PS + below(r, 2));
    if (family == FAMILY_FP8)
        return (enum amxemu_op)(AMXEMU_TDPBF8PS + below(r, 4));
    return (enum amxemu_op)(AMXEMU_TDPBSSD + below(r, 4));
}

static enum amxemu_op some_move(struct random *r) {
    return (enum amxemu_op)(AMXEMU_TILELOADD + below(r, 3));
}

static enum amxemu_op some_op(struct random *r, enum family family) {
    const unsigned percent = below(r, 100);
    switch (family) {
    case FAMILY_CONFIG:
        return percent < 50   ? AMXEMU_LDTILECFG
               : percent < 70 ? AMXEMU_STTILECFG
               : percent < 90 ? AMXEMU_TILEZERO
                              : AMXEMU_TILERELEASE;
    case FAMILY_MEMORY:
        return percent < 90 ? some_move(r) : percent < 97 ? AMXEMU_LDTILECFG : AMXEMU_TILEZERO;
    case FAMILY_ENCODING:
        return (enum amxemu_op)below(r, AMXEMU_TDPFP16PS + 1);
    case FAMILY_ROW:
        return percent < 80   ? (enum amxemu_op)(AMXEMU_TILEMOVROW + below(r, 6))
               : percent < 92 ? some_move(r)
                              : AMXEMU_LDTILECFG;
    case FAMILY_MOVRS:
        return percent < 90 ? (enum amxemu_op)(AMXEMU_TILELOADDRS + below(r, 2)) : AMXEMU_LDTILECFG;
    case FAMILY_NEWER_ENCODING:
        return percent < 90
                   ? (enum amxemu_op)(AMXEMU_TCMMRLFP16PS + below(r, AMXEMU_OPS - AMXEMU_TCMMRLFP16PS))
                   : AMXEMU_TILEZERO;
    default:
        return percent < 80   ? some_product(r, family)
               : percent < 96 ? some_move(r)
               : percent < 98 ? AMXEMU_LDTILECFG
                              : AMXEMU_TILEZERO;
    }
}

static int is_product_of(const struct amxemu_state *s, const struct insn *i) {
    return s->rows[i->d] && s->rows[i->d] == s->rows[i->a] && s->colsb[i->d] == s->colsb[i->b] &&
           s->colsb[i->a] == 4 * s->rows[i->b];
}

static void choose_tiles(struct random *r, const struct amxemu_state *state, struct insn *insn) {
    for (int attempt = one_in(r, 8) ? 30 : 0; attempt < 32; attempt++) {
        insn->d = below(r, AMXEMU_TILES);
        insn->a = (insn->d + 1 + below(r, 7)) % AMXEMU_TILES;
        do
            insn->b = below(r, AMXEMU_TILES);
        while (insn->b == insn->d || insn->b == insn->a);
        if (is_product_of(state, insn))
            return;
    }
}

static void choose_row(struct random *r, struct insn *insn) {
    insn->zmm = below(r, 32);
    insn->row_constant = one_in(r, 2);
    insn->row = below(r, 256);
    if (!insn->row_constant) {
        const uint64_t value = random64(r);
        insn->row = (uint32_t)value;
        set_register(insn, some_register(r, NO_REGISTER), value);
    }
}

void generate_insn(struct random *r, enum family family, const struct amxemu_state *state,
                   struct shadow *memory, uint64_t fs_base, struct insn *insn) {
    struct address form = {.base = NO_REGISTER, .index = NO_REGISTER};

    memset(insn, 0, sizeof *insn);
    insn->op = some_op(r, family);
    insn->valid = 1;
    insn->mxcsr =
        MXCSR_DEFAULT | ((uint32_t)random64(r) & 0xE07F); /* any rounding, FTZ, DAZ and status flags */
    choose_tiles(r, state, insn);
    if (insn->op == AMXEMU_LDTILECFG || insn->op == AMXEMU_STTILECFG) {
        const struct extent extent = {0, 1, AMXEMU_CONFIG_BYTES, insn->op == AMXEMU_STTILECFG};
        choose_operand(r, insn, &form, &extent, 1, fs_base);
        if (insn->op == AMXEMU_LDTILECFG)
            put_image(r, family, &insn->memory, memory);
    } else if (is_row(insn->op)) {
        choose_row(r, insn);
    } else if (is_move(insn->op)) {
        const int configured = state->palette && state->rows[insn->d];
        const struct extent extent = {
            .first_row = configured ? state->start_row : 0,
            .rows = configured ? state->rows[insn->d] : AMXEMU_ROWS,
            .size = configured ? state->colsb[insn->d] : AMXEMU_COLSB,
            .writing = insn->op == AMXEMU_TILESTORED,
        };
        choose_operand(r, insn, &form, &extent, 0, fs_base);
    }
    insn->others = r->state;
    encode(r, insn, &form, (family == FAMILY_ENCODING || family == FAMILY_NEWER_ENCODING) && !one_in(r, 3));
}
