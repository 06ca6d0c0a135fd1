/* Everything a program sees in registers, and the bytes around its stack pointer, before and after an
 * instruction. */
#ifndef DIFFERENTIAL_REGISTERS_H
#define DIFFERENTIAL_REGISTERS_H

#include "random.h"

#include <stdint.h>

enum { RSP = 4, RED_ZONE = 128, VECTOR_BYTES = 64 };

struct registers {
    uint64_t gpr[16];
    uint64_t flags;
    uint64_t mask[8];
    uint32_t mxcsr;
    uint32_t unused;
    uint8_t vector[32][VECTOR_BYTES]; /* as wide as this CPU's are, and as many */
    uint8_t stack[2 * RED_ZONE];      /* half of it below the stack pointer, unless that was set otherwise */
};

/* Of this CPU's vector registers: 16, 32 or 64 bytes. */
unsigned registers_width(void);
/* Only so much of them is looked at, and no more than there is. */
void registers_limit(unsigned bytes);

/* Random contents, RSP pointing to a stack that has room for signal frames. */
void registers_fill(struct registers *registers, struct random *r);

/* Loads them, jumps to `code`, and goes on in registers_leave, to which the code has to jump. */
void registers_run(const struct registers *before, uint64_t code, struct registers *after);
extern const char registers_leave[];

#endif
