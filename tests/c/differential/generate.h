/* Random tile states, memory contents and instructions. */
#ifndef DIFFERENTIAL_GENERATE_H
#define DIFFERENTIAL_GENERATE_H

#include "arena.h"
#include "instruction.h"

void generate_start(struct random *r, enum family family, struct amxemu_state *state, struct shadow *memory);

/* `state` and `memory` are those before the instruction. For an LDTILECFG the image is put into *memory. */
void generate_insn(struct random *r, enum family family, const struct amxemu_state *state,
                   struct shadow *memory, uint64_t fs_base, struct insn *insn);

#endif
