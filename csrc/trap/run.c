#include "run.h"

#include "memory.h"
#include "trap.h"

static void count(_Atomic uint64_t *counter) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

struct trap_fault trap_run(struct trap_thread *thread, struct amxemu_registers *r,
                           const struct amxemu_insn *insn) {
    struct trap_fault fault = trap_execute(trap_cpu(), &thread->task, r, insn, &trap_own_memory);
    if (trap_is_page_fault(&fault)) {
        fault.signal = thread->memory_signal;
        fault.code = thread->memory_code;
    }
    count(fault.signal == 0 ? &thread->instructions : &thread->faults);
    return fault;
}
