/* Sites of AMX instructions that were patched, so that they no longer cost a trap. */
#ifndef TRAP_PATCH_H
#define TRAP_PATCH_H

#include "amx.h"

#include <stdint.h>

/* 0 or -errno. enabled 0: every instruction traps, and nothing of this does anything. */
int trap_patch_start(int enabled, int hybrid);
void trap_patch_stop(void);                            /* puts the program's instructions back */
void trap_patch_count(struct amx_trap_counts *counts); /* sites, patched, unpatchable */

/* Called by the SIGILL handler after an instruction trapped and was executed; may patch its site. */
void trap_site_seen(uint64_t rip, const struct amxemu_insn *insn);
/* Whether an INT3 that stopped at `rip`, just behind it, is a site's; then *insn is what stands there. */
int trap_site_at(uint64_t rip, struct amxemu_insn *insn);
/* Whether `rip` (of a SIGTRAP or SIGILL frame) is a thunk's fault exit: the site it stands for, or 0. */
uint64_t trap_thunk_fault_site(uint64_t rip);

#endif
