/* What one decoded instruction does with registers, memory and tiles. */
#include "emulator.h"
#include "rows.h"

enum { RSP = 4, RBP = 5, FS = 4, GS = 5 };

enum { LEGACY_REGISTERS = 16 };

static uint64_t gpr(const struct amxemu_registers *r, int number) {
    return number < LEGACY_REGISTERS ? r->gpr[number] : r->egpr[number - LEGACY_REGISTERS];
}

static uint64_t base_value(const struct amxemu_registers *r, const struct amxemu_insn *insn) {
    if (insn->base == AMXEMU_RIP)
        return r->rip + insn->length;
    return insn->base < 0 ? 0 : gpr(r, insn->base);
}

/* The operand as rows: base + displacement, and the scaled index as the stride. */
static struct amxemu_rows rows_of(const struct amxemu_registers *r, const struct amxemu_insn *insn) {
    const int stack = (insn->base == RSP || insn->base == RBP) && insn->segment < 0;
    return (struct amxemu_rows){
        .base = base_value(r, insn) + (uint64_t)(int64_t)insn->displacement,
        .stride = insn->index < 0 ? 0 : gpr(r, insn->index) << insn->scale,
        .offset_mask = insn->address32 ? UINT32_MAX : UINT64_MAX,
        .segment_base = insn->segment == FS   ? r->fs_base
                        : insn->segment == GS ? r->gs_base
                                              : 0,
        .address_bits = r->la57 ? 57 : 48,
        .noncanonical = stack ? AMXEMU_SS : AMXEMU_GP,
    };
}

static enum amxemu_outcome page_fault(struct amxemu_fault *fault, uint64_t address) {
    if (fault)
        fault->address = address;
    return AMXEMU_PF;
}

static enum amxemu_outcome configure(struct amxemu_state *s, const struct amxemu_insn *insn,
                                     const struct amxemu_rows *operand, const struct amxemu_memory *memory,
                                     struct amxemu_fault *fault) {
    const uint64_t address =
        operand->segment_base + ((operand->base + operand->stride) & operand->offset_mask);
    uint8_t image[AMXEMU_CONFIG_BYTES];
    size_t accessible;

    if (!amxemu_is_canonical(address, sizeof image, operand->address_bits))
        return operand->noncanonical;
    if (insn->op == AMXEMU_LDTILECFG) {
        accessible = memory->read(memory->context, address, image, sizeof image);
    } else {
        amxemu_sttilecfg(s, image);
        accessible = memory->write(memory->context, address, image, sizeof image);
    }
    if (accessible < sizeof image)
        return page_fault(fault, address + accessible);
    return insn->op == AMXEMU_LDTILECFG ? amxemu_ldtilecfg(s, image) : AMXEMU_OK;
}

static enum amxemu_outcome move_row(struct amxemu_state *s, const struct amxemu_registers *r,
                                    const struct amxemu_insn *insn) {
    if (r->zmm == NULL)
        return AMXEMU_UD;
    const uint32_t row = insn->row_register < 0 ? insn->row : (uint32_t)gpr(r, insn->row_register);
    return amxemu_tilerow(s, insn->op, insn->a, row, r->zmm[insn->d]);
}

static enum amxemu_outcome execute(struct amxemu_state *s, const struct amxemu_registers *r,
                                   const struct amxemu_insn *insn, const struct amxemu_memory *memory,
                                   struct amxemu_fault *fault) {
    if (insn->apx && r->egpr == NULL)
        return AMXEMU_UD;
    const struct amxemu_rows operand = rows_of(r, insn);
    switch (insn->op) {
    case AMXEMU_LDTILECFG:
    case AMXEMU_STTILECFG:
        return configure(s, insn, &operand, memory, fault);
    case AMXEMU_TILERELEASE:
        amxemu_tilerelease(s);
        return AMXEMU_OK;
    case AMXEMU_TILEZERO:
        return amxemu_tilezero(s, insn->d);
    case AMXEMU_TILELOADD:
    case AMXEMU_TILELOADDT1:
    case AMXEMU_TILELOADDRS:
    case AMXEMU_TILELOADDRST1:
        return amxemu_load_rows(s, insn->d, &operand, memory, fault);
    case AMXEMU_TILESTORED:
        return amxemu_store_rows(s, insn->d, &operand, memory, fault);
    case AMXEMU_TILEMOVROW:
    case AMXEMU_TCVTROWD2PS:
    case AMXEMU_TCVTROWPS2BF16H:
    case AMXEMU_TCVTROWPS2BF16L:
    case AMXEMU_TCVTROWPS2PHH:
    case AMXEMU_TCVTROWPS2PHL:
        return move_row(s, r, insn);
    default: /* products; amxemu_tdp refuses what was withdrawn */
        return amxemu_tdp(s, insn->op, insn->d, insn->a, insn->b);
    }
}

enum amxemu_outcome amxemu_step(struct amxemu_state *s, struct amxemu_registers *r,
                                const struct amxemu_insn *insn, const struct amxemu_memory *memory,
                                struct amxemu_fault *fault) {
    const enum amxemu_outcome outcome = execute(s, r, insn, memory, fault);
    if (outcome == AMXEMU_OK)
        r->rip += insn->length;
    return outcome;
}
