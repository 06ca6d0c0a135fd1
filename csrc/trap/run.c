#include "run.h"

#include "memory.h"
#include "trap.h"

static void count(_Atomic uint64_t *counter) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

struct trap_fault trap_run(struct trap_thread *thread, struct amxemu_registers *r,
                           const struct amxemu_insn *insn) {
    const struct amxemu_cpu *const cpu = trap_cpu();
    if (cpu == NULL) /* emulation has just ended */
        return (struct trap_fault){SIGILL, ILL_ILLOPN, r->rip};
    struct trap_fault fault = trap_execute(cpu, &thread->task, r, insn, &trap_own_memory);
    if (trap_is_page_fault(&fault)) {
        fault.signal = thread->memory_signal;
        fault.code = thread->memory_code;
    }
    if (fault.signal == 0)
        count(&thread->instructions);
    return fault;
}
