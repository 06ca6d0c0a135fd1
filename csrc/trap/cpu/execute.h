/* One AMX instruction of a running program: what the CPU does and what the kernel makes of it.
 *
 * Pure: no system call, no globals. Shared by the signal handlers, the thunks and the ptrace tracer.
 */
#ifndef TRAP_EXECUTE_H
#define TRAP_EXECUTE_H

#include "emulator/features.h"
#include "kernel_model/kernel_model.h"

/* What the program sees instead of the instruction's end, as in siginfo_t. */
struct trap_fault {
    int signal, code; /* signal 0: it completed, and rip was advanced */
    uint64_t address;
};

/* What `cpu` does not know is SIGILL ILL_ILLOPN; what the model does not permit SIGILL ILL_ILLOPC, after the
 * CPU's own #UD checks. A page fault is SIGSEGV SEGV_MAPERR with the address of the first byte that `memory`
 * refused: who knows why it did, puts the signal and code right. */
struct trap_fault trap_execute(const struct amxemu_cpu *cpu, struct kernel_model_task *task,
                               struct amxemu_registers *r, const struct amxemu_insn *insn,
                               const struct amxemu_memory *memory);
/* Whether a fault is trap_execute's page fault. */
int trap_is_page_fault(const struct trap_fault *fault);

#endif
