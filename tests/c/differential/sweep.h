/* The encodings of AMX's first instructions (TILE, INT8, BF16, FP16), right and wrong ones, one after
 * another.
 */
#ifndef DIFFERENTIAL_SWEEP_H
#define DIFFERENTIAL_SWEEP_H

#include "instruction.h"

extern const uint64_t sweep_count;

/* `number` below sweep_count: bytes, length, valid and, if so, op, by the table of encodings. Where it is to
 * be run, any register may hold anything: what is accessed is not there, or of no use to anybody. */
void sweep_encode(uint64_t number, struct insn *insn);
/* Whether it may write where this program has something: 32-bit addresses can hit the program itself. */
int sweep_is_dangerous(const struct insn *insn);

#endif
