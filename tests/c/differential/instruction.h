/* One instruction as the generator means it: the bytes, and apart from them the operands and the verdict. */
#ifndef DIFFERENTIAL_INSTRUCTION_H
#define DIFFERENTIAL_INSTRUCTION_H

#include "emulator/emulator.h"
#include "random.h"

#define MXCSR_DEFAULT UINT32_C(0x1F80)

struct operand {
    uint64_t base, stride; /* row r at segment_base + ((base + r * stride) & offset_mask) */
    uint64_t offset_mask;
    uint64_t segment_base;
    int stack; /* formed with RSP or RBP: #SS instead of #GP */
};

struct insn {
    uint8_t bytes[15];
    uint8_t length;
    int valid; /* else the encoding raises #UD */
    enum amxemu_op op;
    unsigned d, a, b;
    unsigned zmm;     /* where a row goes */
    uint32_t row;     /* its number */
    int row_constant; /* is part of the instruction, else in the register set[0] */
    struct operand memory;
    int registers; /* how many to load before */
    struct {
        unsigned number;
        uint64_t value;
    } set[2];
    uint64_t gs_base;
    uint32_t mxcsr;
    uint64_t others; /* seed of what is in all other registers: the same whenever this is run */
};

enum family {
    FAMILY_CONFIG,
    FAMILY_MEMORY,
    FAMILY_INT8,
    FAMILY_BF16,
    FAMILY_FP16,
    FAMILY_ENCODING, /* of what silicon has verified */
    FAMILY_COMPLEX,
    FAMILY_FP8,
    FAMILY_ROW,
    FAMILY_MOVRS,
    FAMILY_NEWER_ENCODING,
    FAMILIES,
};
extern const char *const family_names[FAMILIES];

static inline int is_product(enum amxemu_op op) {
    return op >= AMXEMU_TDPBSSD && op <= AMXEMU_TDPHF8PS;
}
static inline int is_move(enum amxemu_op op) {
    return (op >= AMXEMU_TILELOADD && op <= AMXEMU_TILESTORED) || op == AMXEMU_TILELOADDRS ||
           op == AMXEMU_TILELOADDRST1;
}
static inline int is_row(enum amxemu_op op) {
    return op >= AMXEMU_TILEMOVROW && op <= AMXEMU_TCVTROWPS2PHL;
}

#endif
