/* The emulation of AMX in this process: its beginning and end, and how often it was needed. */
#ifndef TRAP_TRAP_H
#define TRAP_TRAP_H

#include "trap/emulation.h"

void trap_count(struct amx_trap_counts *counts); /* of this library's own emulation */

/* As amx_trap_start(). whole_program: for the preload library, from its beginning on, arch_prctl included. */
int trap_start(const struct amx_trap_options *options, int whole_program);

#endif
