/* What of AMX this process executes, and the children that it forks, counted in files (trace/file.h) that
 * outlive them.
 *
 * Recording takes no lock, allocates nothing, and makes no system call but at the first execution of a site;
 * it may be done by signal handlers, thunks and any number of threads.
 */
#ifndef TRAP_TRACE_H
#define TRAP_TRACE_H

#include "emulator/emulator.h"
#include "trap/cpu/execute.h"

#include <stdatomic.h>

extern atomic_int trap_trace_is_on;
int trap_trace_open(const char *directory); /* absolute; 0 or -errno */
void trap_trace_close(void);
/* Not to be called but by the two below. */
void trap_trace_executed(int thread, const struct amxemu_insn *insn, uint64_t rip,
                         const struct amxemu_state *after, const struct trap_fault *fault);
void trap_trace_configured(int thread, const struct amxemu_state *state);

/* thread: as gettid. `rip` is the instruction's own, `after` what it left of the tiles. */
static inline void trap_trace_insn(int thread, const struct amxemu_insn *insn, uint64_t rip,
                                   const struct amxemu_state *after, const struct trap_fault *fault) {
    if (__builtin_expect(atomic_load_explicit(&trap_trace_is_on, memory_order_relaxed), 0))
        trap_trace_executed(thread, insn, rip, after, fault);
}
/* The CPU itself executed a configuration instruction, which only its result shows. */
static inline void trap_trace_native_config(int thread, const struct amxemu_state *state) {
    if (__builtin_expect(atomic_load_explicit(&trap_trace_is_on, memory_order_relaxed), 0))
        trap_trace_configured(thread, state);
}

#endif
