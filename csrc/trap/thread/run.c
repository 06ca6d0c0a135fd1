#include "trap/thread/run.h"

#include "trap/cpu/emulated.h"
#include "trap/thread/memory.h"
#include "trap/trace/trace.h"

void (*trap_progress)(void);

/* Often at first: 1, 2, 4 and so on, then at every multiple of EVERY. */
static int is_progress(uint64_t count) {
    enum { EVERY = 4096 };
    return count % EVERY == 0 || (count < EVERY && (count & (count - 1)) == 0);
}

static void count(_Atomic uint64_t *counter) {
    const uint64_t now = atomic_load_explicit(counter, memory_order_relaxed) + 1;
    atomic_store_explicit(counter, now, memory_order_relaxed);
    if (trap_progress != NULL && is_progress(now))
        trap_progress();
}

struct trap_fault trap_run(struct trap_thread *thread, struct amxemu_registers *r,
                           const struct amxemu_insn *insn) {
    const struct amxemu_cpu *const cpu = trap_cpu();
    if (cpu == NULL) /* emulation has just ended */
        return (struct trap_fault){SIGILL, ILL_ILLOPN, r->rip};
    const uint64_t rip = r->rip;
    struct trap_fault fault = trap_execute(cpu, &thread->task, r, insn, &trap_own_memory);
    if (trap_is_page_fault(&fault)) {
        fault.signal = thread->memory_fault.signal;
        fault.code = thread->memory_fault.code;
    }
    if (fault.signal != 0) /* which the SIGILL handler counts, also for a thunk */
        return fault;
    count(&thread->instructions);
    trap_trace_insn(atomic_load_explicit(&thread->id, memory_order_relaxed), insn, rip, &thread->task.tiles,
                    &fault);
    return fault;
}
