#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *kind_name(enum amxemu_outcome kind) {
    static const char *const names[] = {"completes", "#UD", "#GP", "#SS", "#PF"};
    return names[kind];
}

static void print_insn(const struct insn *insn) {
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    printf("instruction: %s tmm%u, tmm%u, tmm%u%s; bytes:", amxemu_mnemonic(insn->op), insn->d, insn->a,
           insn->b, insn->valid ? "" : " (encoding broken)");
    for (unsigned i = 0; i < insn->length; i++)
        printf(" %02x", insn->bytes[i]);
    printf("\nregisters:");
    for (int i = 0; i < insn->registers; i++)
        printf(" %s=%#" PRIx64, names[insn->set[i].number], insn->set[i].value);
    printf(" gs.base=%#" PRIx64 " mxcsr=%#" PRIx32 "\noperand: base %#" PRIx64 " stride %#" PRIx64
           " mask %#" PRIx64 " segment %#" PRIx64 "\n",
           insn->gs_base, insn->mxcsr, insn->memory.base, insn->memory.stride, insn->memory.offset_mask,
           insn->memory.segment_base);
}

static void print_config(const char *title, const struct amxemu_state *s) {
    printf("%s: palette %u start_row %u tiles (rows x colsb)", title, s->palette, s->start_row);
    for (unsigned t = 0; t < AMXEMU_TILES; t++)
        printf(" %ux%u", s->rows[t], s->colsb[t]);
    printf("\n");
}

static void print_tile(const struct amxemu_state *s, unsigned t) {
    for (unsigned row = 0; row < AMXEMU_ROWS; row++)
        for (unsigned i = 0; i < AMXEMU_COLSB / 4; i++) {
            uint32_t word;
            memcpy(&word, s->tile[t][row] + 4 * i, sizeof word);
            if (word)
                printf("  tmm%u row %u word %u = %08" PRIx32 "\n", t, row, i, word);
        }
}

static const uint8_t *bytes_of(const struct result *r) {
    return r->memory ? r->memory->bytes : (const uint8_t *)(uintptr_t)ARENA;
}

void report(const struct insn *insn, const struct amxemu_state *before, const char *name_a,
            const struct result *a, const char *name_b, const struct result *b) {
    unsigned shown = 0;
    print_insn(insn);
    print_config("before", before);
    print_config(name_a, &a->state);
    print_config(name_b, &b->state);
    printf("%s: %s %#" PRIx64 "%s; %s: %s %#" PRIx64 "\n", name_a, kind_name(a->outcome.kind),
           a->outcome.fault, a->disturbed ? ", other registers changed" : "", name_b,
           kind_name(b->outcome.kind), b->outcome.fault);
    for (unsigned t = 0; t < AMXEMU_TILES; t++)
        for (unsigned i = 0; i < AMXEMU_ROWS * AMXEMU_COLSB / 4; i++) {
            uint32_t x, y;
            memcpy(&x, a->state.tile[t][0] + 4 * i, sizeof x);
            memcpy(&y, b->state.tile[t][0] + 4 * i, sizeof y);
            if (x != y && shown++ < 8)
                printf("tmm%u row %u word %u: %s %08" PRIx32 ", %s %08" PRIx32 "\n", t, i / 16, i % 16,
                       name_a, x, name_b, y);
        }
    for (unsigned i = 0; i < ARENA_SIZE; i++)
        if (bytes_of(a)[i] != bytes_of(b)[i] && shown++ < 16)
            printf("memory %#" PRIx64 ": %s %02x, %s %02x\n", ARENA + i, name_a, bytes_of(a)[i], name_b,
                   bytes_of(b)[i]);
    for (unsigned i = 0; i < ZMM_BYTES / 4; i++) {
        uint32_t x, y;
        memcpy(&x, a->zmm + 4 * i, sizeof x);
        memcpy(&y, b->zmm + 4 * i, sizeof y);
        if (x != y)
            printf("zmm%u word %u: %s %08" PRIx32 ", %s %08" PRIx32 "\n", insn->zmm, i, name_a, x, name_b, y);
    }
    if (is_row(insn->op)) {
        printf("row %u, of a tile that is not zero:\n", insn->row % AMXEMU_ROWS);
        print_tile(before, insn->a);
    }
    if (is_product(insn->op)) {
        printf("operands that are not zero:\n");
        print_tile(before, insn->d);
        print_tile(before, insn->a);
        print_tile(before, insn->b);
    }
}
