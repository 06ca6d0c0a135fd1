/* Machine code for an instruction, right or wrong on purpose. */
#ifndef DIFFERENTIAL_ENCODE_H
#define DIFFERENTIAL_ENCODE_H

#include "instruction.h"

enum { NO_REGISTER = -1, RIP_RELATIVE = 16 };

/* An address as ModRM and SIB express it. */
struct address {
    int base;  /* 0-15, NO_REGISTER, RIP_RELATIVE */
    int index; /* 0-15 but 4, NO_REGISTER */
    unsigned scale;
    int32_t displacement;
    int address32;
    int segment; /* 0, 0x64 or 0x65 */
    int with_sib;
};

/* insn->op, d, a, b are set; writes bytes and length. With `broken`, one rule of the encoding is violated,
 * and insn->valid becomes 0. RIP-relative: `displacement` counts from ARENA_CODE + code_offset, where the
 * instruction starts, and is corrected for its length here. */
void encode(struct random *r, struct insn *insn, const struct address *address, int broken);

#endif
