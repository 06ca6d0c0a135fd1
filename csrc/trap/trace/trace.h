/* What of AMX a process executes, counted in a file (trace/file.h) that outlives it.
 *
 * Recording takes no lock, allocates nothing, and makes no system call but at the first execution of a site;
 * it may be done by signal handlers, thunks and any number of threads.
 */
#ifndef TRAP_TRACE_H
#define TRAP_TRACE_H

#include "emulator/emulator.h"
#include "trap/cpu/execute.h"

#include <stdatomic.h>

/* ---- this process, and the children that it forks, each with a file of its own ---- */

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

/* ---- any process ---- */

struct trace_header;
/* A new file at the place of what is mapped there: 0 or -errno. parent: 0 where it is not known. Every
 * program that a process executes gets a file of its own. */
int trap_trace_map(const char *directory, int pid, int parent, struct trace_header *where);
/* For the ptrace tracer, which outlives what it traces: in memory, NULL without; written in the end, 0 or
 * -errno. */
struct trace_header *trap_trace_new(int pid, int parent);
int trap_trace_save(const char *directory, const struct trace_header *trace);
void trap_trace_free(struct trace_header *trace);

void trap_trace_record(struct trace_header *trace, int thread, const struct amxemu_insn *insn, uint64_t rip,
                       const struct amxemu_state *after, const struct trap_fault *fault);
void trap_trace_record_config(struct trace_header *trace, int thread, const struct amxemu_state *state);

#endif
