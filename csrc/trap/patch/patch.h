/* Sites of AMX instructions that were patched, so that they no longer cost a trap.
 *
 * At its first trap an instruction is replaced by a jump to a thunk that executes it (thunk.h): every AMX
 * instruction is at least as long as the jump. Where that cannot be, it goes on trapping. What is known about
 * a site can be read without locks, in signal handlers.
 *
 * A program that writes over part of an instruction would write over part of a jump, which then leads
 * anywhere. So code that can be written is not patched, and what is patched is the program's own again before
 * it can be written; where nobody tells of that (trap_patch_generated()), code that was generated is not
 * patched at all.
 */
#ifndef TRAP_PATCH_H
#define TRAP_PATCH_H

#include "emulator/emulator.h"
#include "trap/emulation.h"

#include <stddef.h>
#include <stdint.h>

/* enabled 0: every instruction traps; sites are counted only. hybrid: the CPU executes configuration
 * instructions itself, so those around an instruction that traps are patched, whatever `enabled` says. 0, or
 * -ENOTSUP where that is needed and cannot be. */
int trap_patch_start(int enabled, int hybrid);
void trap_patch_stop(void); /* puts the program's instructions back, where nobody else has replaced them */
void trap_patch_count(struct amx_trap_counts *counts); /* sites, patched, unpatchable */

/* From now on generated code is patched too. Who calls this lets the system calls that change the mapping of
 * code be made by trap_patch_remap(). */
void trap_patch_generated(void);
/* Makes a system call that changes how `size` bytes at `address` are mapped or protected: what is patched
 * there is the program's own before, and may be patched again when it traps after. As syscall(2). */
long trap_patch_remap(uint64_t address, size_t size, long number, const long arguments[5]);

/* Called by the SIGILL handler after an instruction trapped and was executed; may patch its site. */
void trap_site_seen(uint64_t rip, const struct amxemu_insn *insn);
/* Whether what stopped just before `rip` was a site's INT3, or is a patched site; then *insn is what the
 * program has there. */
int trap_site_at(uint64_t rip, struct amxemu_insn *insn);

#endif
