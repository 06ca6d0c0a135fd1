#include "run.h"

#include <string.h>

/* ---- directly ---- */

struct translation {
    const struct operand *operand;
    struct shadow *memory;
    uint64_t fault;
    int noncanonical;
};

/* How many of the bytes are accessible, and where in the shadow they are. */
static size_t translate(struct translation *t, uint64_t offset, size_t size, int writing, uint8_t **bytes) {
    const uint64_t address = t->operand->segment_base + (offset & t->operand->offset_mask);
    if (place_of(address, size) == PLACE_NONCANONICAL) {
        t->noncanonical = 1;
        return 0;
    }
    const size_t accessible = shadow_accessible(address, size, writing);
    t->fault = address + accessible;
    *bytes = t->memory->bytes + (accessible ? address - ARENA : 0);
    return accessible;
}

static size_t read_translated(void *context, uint64_t offset, void *to, size_t size) {
    uint8_t *bytes = NULL;
    const size_t n = translate(context, offset, size, 0, &bytes);
    if (n == size)
        memcpy(to, bytes, size);
    return n;
}

static size_t write_translated(void *context, uint64_t offset, const void *from, size_t size) {
    uint8_t *bytes = NULL;
    const size_t n = translate(context, offset, size, 1, &bytes);
    if (n == size)
        memcpy(bytes, from, size);
    return n;
}

static enum amxemu_outcome direct_kind(struct amxemu_state *state, const struct insn *insn,
                                       const struct amxemu_memory *memory, uint8_t zmm[ZMM_BYTES]) {
    const struct operand *o = &insn->memory;
    uint8_t image[AMXEMU_CONFIG_BYTES];
    switch (insn->op) {
    case AMXEMU_LDTILECFG:
        if (memory->read(memory->context, o->base, image, sizeof image) < sizeof image)
            return AMXEMU_PF;
        return amxemu_ldtilecfg(state, image);
    case AMXEMU_STTILECFG:
        amxemu_sttilecfg(state, image);
        return memory->write(memory->context, o->base, image, sizeof image) < sizeof image ? AMXEMU_PF
                                                                                           : AMXEMU_OK;
    case AMXEMU_TILERELEASE:
        amxemu_tilerelease(state);
        return AMXEMU_OK;
    case AMXEMU_TILEZERO:
        return amxemu_tilezero(state, insn->d);
    case AMXEMU_TILELOADD:
    case AMXEMU_TILELOADDT1:
    case AMXEMU_TILELOADDRS:
    case AMXEMU_TILELOADDRST1:
        return amxemu_tileloadd(state, insn->d, o->base, (int64_t)o->stride, memory, NULL);
    case AMXEMU_TILESTORED:
        return amxemu_tilestored(state, insn->d, o->base, (int64_t)o->stride, memory, NULL);
    default:
        if (is_row(insn->op))
            return amxemu_tilerow(state, insn->op, insn->a, insn->row, zmm);
        return amxemu_tdp(state, insn->op, insn->d, insn->a, insn->b);
    }
}

struct outcome direct_run(struct amxemu_state *state, struct shadow *memory, const struct insn *insn,
                          uint8_t zmm[ZMM_BYTES]) {
    struct translation t = {&insn->memory, memory, 0, 0};
    const struct amxemu_memory callbacks = {read_translated, write_translated, &t};
    struct outcome outcome = {AMXEMU_UD, 0};
    if (!insn->valid)
        return outcome;
    amxemu_select_path(AMXEMU_SCALAR);
    outcome.kind = direct_kind(state, insn, &callbacks, zmm);
    amxemu_select_path(amxemu_best_path());
    if (outcome.kind == AMXEMU_PF && t.noncanonical)
        outcome.kind = insn->memory.stack ? AMXEMU_SS : AMXEMU_GP;
    else if (outcome.kind == AMXEMU_PF)
        outcome.fault = t.fault;
    return outcome;
}

/* ---- by its bytes ---- */

static size_t read_shadow(void *context, uint64_t address, void *to, size_t size) {
    const struct shadow *memory = context;
    const size_t n = shadow_accessible(address, size, 0);
    memcpy(to, memory->bytes + (n ? address - ARENA : 0), n);
    return n;
}

static size_t write_shadow(void *context, uint64_t address, const void *from, size_t size) {
    struct shadow *memory = context;
    const size_t n = shadow_accessible(address, size, 1);
    if (n == size)
        memcpy(memory->bytes + (address - ARENA), from, size);
    return n;
}

struct outcome decoded_run(struct amxemu_state *state, struct shadow *memory, const struct insn *insn,
                           uint64_t fs_base, uint8_t zmm[ZMM_BYTES]) {
    const struct amxemu_memory callbacks = {read_shadow, write_shadow, memory};
    static uint8_t all_zmm[32][ZMM_BYTES];
    struct amxemu_registers registers = {
        .rip = CODE_INSN, .fs_base = fs_base, .gs_base = insn->gs_base, .zmm = all_zmm};
    struct amxemu_insn decoded;
    struct amxemu_fault fault = {0};
    struct outcome outcome = {AMXEMU_UD, 0};

    switch (amxemu_decode(insn->bytes, sizeof insn->bytes, &decoded)) {
    case AMXEMU_NOT_AMX: /* never what was generated: reported as an outcome that nothing else has */
        return (struct outcome){AMXEMU_PF, UINT64_MAX};
    case AMXEMU_INVALID:
    case AMXEMU_WITHDRAWN:
        return outcome;
    case AMXEMU_VALID:
        break;
    }
    for (int i = 0; i < insn->registers; i++)
        registers.gpr[insn->set[i].number] = insn->set[i].value;
    memcpy(all_zmm[insn->zmm], zmm, ZMM_BYTES);
    outcome.kind = amxemu_step(state, &registers, &decoded, &callbacks, &fault);
    memcpy(zmm, all_zmm[insn->zmm], ZMM_BYTES);
    if (outcome.kind == AMXEMU_PF)
        outcome.fault = fault.address;
    if (registers.rip != CODE_INSN + (outcome.kind == AMXEMU_OK ? insn->length : 0u))
        return (struct outcome){AMXEMU_PF, UINT64_MAX - 1};
    return outcome;
}
