/* How a difference is told. */
#ifndef DIFFERENTIAL_REPORT_H
#define DIFFERENTIAL_REPORT_H

#include "run.h"

/* Everything an instruction leaves behind. */
struct result {
    struct outcome outcome;
    struct amxemu_state state;
    const struct shadow *memory; /* NULL: the arena itself */
    int disturbed;               /* a register that the instruction has nothing to do with */
    uint8_t zmm[ZMM_BYTES];
};

void report(const struct insn *insn, const struct amxemu_state *before, const char *name_a,
            const struct result *a, const char *name_b, const struct result *b);

#endif
