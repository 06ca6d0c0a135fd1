/* Whether AMX is emulated in this process, and as which CPU. Async-signal-safe. */
#ifndef TRAP_EMULATED_H
#define TRAP_EMULATED_H

#include "emulator/features.h"

const struct amxemu_cpu *trap_cpu(void); /* NULL: emulation is off */
int trap_is_hybrid(void);                /* the CPU has AMX, and executes configuration instructions itself */

/* `cpu` stays the caller's; NULL: off, and is_hybrid is not looked at. */
void trap_set_cpu(const struct amxemu_cpu *cpu, int is_hybrid);

#endif
