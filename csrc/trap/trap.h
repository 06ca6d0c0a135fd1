/* Whether AMX is emulated in this process, as which CPU, and how often. */
#ifndef TRAP_TRAP_H
#define TRAP_TRAP_H

#include "amx.h"

#include <stdatomic.h>
#include <ucontext.h>

const struct amxemu_cpu *trap_cpu(void);         /* the emulated one; NULL: emulation is off */
void trap_count(struct amx_trap_counts *counts); /* of this library's own emulation */
int trap_is_hybrid(void); /* the CPU has AMX, and executes configuration instructions itself */

/* As amx_trap_start(). whole_program: for the preload library, from its beginning on, arch_prctl included. */
int trap_start(const struct amx_trap_options *options, int whole_program);

/* As amx_trap_xgetbv(), of the calling code; or of what a signal interrupted, whose state its frame has. */
int trap_xgetbv(uint32_t index, const ucontext_t *context, uint64_t *value);

/* Answered in the CPU's or the kernel's place so far. */
struct trap_answers {
    _Atomic uint64_t cpuid, xgetbv, arch_prctl;
};
extern struct trap_answers trap_answers;

#endif
