/* Sites of AMX instructions that were patched, so that they no longer cost a trap.
 *
 * At its first trap an instruction is replaced by a jump to a thunk that executes it (thunk.h): every AMX
 * instruction is at least as long as the jump. Where that cannot be, it goes on trapping. What is known about
 * a site can be read without locks, in signal handlers.
 */
#ifndef TRAP_PATCH_H
#define TRAP_PATCH_H

#include "amx.h"

#include <stdint.h>

/* enabled 0: every instruction traps; sites are counted only. hybrid: the CPU executes configuration
 * instructions itself, so those around an instruction that traps are patched, whatever `enabled` says. 0, or
 * -ENOTSUP where that is needed and cannot be. */
int trap_patch_start(int enabled, int hybrid);
void trap_patch_stop(void); /* puts the program's instructions back, where nobody else has replaced them */
void trap_patch_count(struct amx_trap_counts *counts); /* sites, patched, unpatchable */

/* Called by the SIGILL handler after an instruction trapped and was executed; may patch its site. */
void trap_site_seen(uint64_t rip, const struct amxemu_insn *insn);
/* Whether what stopped just before `rip` was a site's INT3, or is a patched site; then *insn is what the
 * program has there. */
int trap_site_at(uint64_t rip, struct amxemu_insn *insn);

#endif
