#include "trap/cpu/execute.h"

#include <signal.h>

struct trap_fault trap_execute(const struct amxemu_cpu *cpu, struct kernel_model_task *task,
                               struct amxemu_registers *r, const struct amxemu_insn *insn,
                               const struct amxemu_memory *memory) {
    if (!amxemu_cpu_has(cpu, insn))
        return (struct trap_fault){SIGILL, ILL_ILLOPN, r->rip};
    struct amxemu_fault at = {0};
    const struct kernel_model_fault fault = kernel_model_step(task, r, insn, memory, &at);
    return (struct trap_fault){fault.signal, fault.code, fault.at_insn ? r->rip : at.address};
}

int trap_is_page_fault(const struct trap_fault *fault) {
    return fault->signal == SIGSEGV && fault->code == SEGV_MAPERR;
}
