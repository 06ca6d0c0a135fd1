/* Code that executes one instruction of a program by a call instead of a trap.
 *
 * The program jumps into its thunk where the instruction was, and goes on behind it with every register as
 * the instruction leaves it: flags, general registers, vector and mask registers, MXCSR, and the red zone. It
 * all happens on the program's own stack, so that a handler, an unwinder or a longjmp finds what it finds
 * around any call; 9 KiB of it are enough, less than the 11 KiB of a signal frame, which hardware with tiles
 * in use needs at any moment.
 *
 * A thunk's code is written before it can be reached and never again: what differs between thunks is data.
 */
#ifndef AMX_THUNK_H
#define AMX_THUNK_H

#include "emulator/emulator.h"

#include <stddef.h>
#include <stdint.h>

struct trap_thunk {
    _Alignas(64) uint64_t site; /* the instruction's address; 0 in one that is free */
    uint64_t next;              /* of the instruction behind it */
    uint64_t entry;             /* what saves the registers */
    struct amxemu_insn insn;    /* what to execute */
};

/* Chooses how registers are saved on this CPU: 0, or -ENOTSUP where nobody knows. */
int trap_thunk_prepare(void);

/* A thunk that a jump at `site` reaches; NULL where there is no room. The caller serialises. */
struct trap_thunk *trap_thunk_new(uint64_t site);
void trap_thunk_set(struct trap_thunk *thunk, uint64_t site, const struct amxemu_insn *insn);
void trap_thunk_free(struct trap_thunk *thunk);
uint64_t trap_thunk_code(const struct trap_thunk *thunk); /* where to jump to */

/* A fault leaves a thunk by an UD2 with all registers as they were before. Which instruction it stands for,
 * 0 where rip is no such UD2. To execute that again, from the signal's frame, gives the same fault again.
 * Async-signal-safe, without locks. */
uint64_t trap_thunk_fault_site(uint64_t rip);

#endif
