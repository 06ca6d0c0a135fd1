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
    struct operand memory;
    int registers; /* how many to load before */
    struct {
        unsigned number;
        uint64_t value;
    } set[2];
    uint64_t gs_base;
    uint32_t mxcsr;
};

enum family {
    FAMILY_CONFIG,
    FAMILY_MEMORY,
    FAMILY_INT8,
    FAMILY_BF16,
    FAMILY_FP16,
    FAMILY_ENCODING,
    FAMILIES,
};
extern const char *const family_names[FAMILIES];

#endif
