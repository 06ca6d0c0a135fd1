#define _GNU_SOURCE /* REG_RIP */
#include "trap/signals/traps.h"

#include "trap/answers/answers.h"
#include "trap/answers/cpuid.h"
#include "trap/answers/objects.h"
#include "trap/cpu/emulated.h"
#include "trap/emulation.h"
#include "trap/files/own_file.h"
#include "trap/files/unrecorded.h"
#include "trap/patch/patch.h"
#include "trap/patch/thunk.h"
#include "trap/thread/frame.h"
#include "trap/thread/memory.h"
#include "trap/thread/native_config.h"
#include "trap/thread/run.h"
#include "trap/thread/thread.h"
#include "trap/trace/trace.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/* The frame as the kernel would have made it for the CPU's exception. A missing permission leaves trapno and
 * err as they were (force_sig_fault() does not set them). */
static void put_fault(const struct trap_fault *fault, const struct trap_thread *thread, siginfo_t *info,
                      ucontext_t *context) {
    enum { VECTOR_UD = 6, VECTOR_SS = 12, VECTOR_GP = 13, VECTOR_PF = 14 };
    greg_t *const gregs = context->uc_mcontext.gregs;
    memset(info, 0, sizeof *info);
    info->si_signo = fault->signal;
    info->si_code = fault->code;
    info->si_addr = (void *)(uintptr_t)fault->address;
    if (fault->signal == SIGILL && fault->code == ILL_ILLOPC)
        return;
    gregs[REG_ERR] = 0;
    if (fault->signal == SIGILL) {
        gregs[REG_TRAPNO] = VECTOR_UD;
    } else if (fault->code == SI_KERNEL) {
        gregs[REG_TRAPNO] = fault->signal == SIGBUS ? VECTOR_SS : VECTOR_GP;
    } else {
        gregs[REG_TRAPNO] = VECTOR_PF;
        gregs[REG_CR2] = (greg_t)fault->address;
        gregs[REG_ERR] = thread->memory_fault.err;
    }
}

/* Executes the instruction that stands at `rip`. 1: the program goes on behind it. */
static int run_in_frame(uint64_t rip, const struct amxemu_insn *insn, siginfo_t *info, ucontext_t *context) {
    struct trap_thread *const thread = trap_thread();
    if (thread == NULL)
        return 0;
    if (trap_is_hybrid())
        trap_follow_config_in_frame(thread, context);
    thread->task.altstack_size = context->uc_stack.ss_flags & SS_DISABLE ? 0 : context->uc_stack.ss_size;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)rip;
    struct trap_vectors vectors;
    vectors.zmm = thread->zmm;
    struct amxemu_registers r = trap_frame_registers(context, insn, &vectors);
    const struct trap_fault fault = trap_run(thread, &r, insn);
    atomic_fetch_add_explicit(&thread->traps, 1, memory_order_relaxed);
    if (fault.signal != 0) {
        atomic_fetch_add_explicit(&thread->faults, 1, memory_order_relaxed);
        trap_trace_insn(thread->id, insn, rip, &thread->task.tiles, &fault);
        put_fault(&fault, thread, info, context);
        return 0;
    }
    trap_frame_complete(context, insn, &r);
    return 1;
}

/* What stands at `rip`. Patching changes the first byte before the others: one that is still the same after
 * the others were read had the others behind it. */
static enum amxemu_verdict decode_at(uint64_t rip, struct amxemu_insn *insn) {
    enum { MAX_INSTRUCTION = 15 };
    uint8_t code[MAX_INSTRUCTION], first;
    const size_t size = trap_own_memory.read(NULL, rip, code, sizeof code);
    if (trap_own_memory.read(NULL, rip, &first, sizeof first) != sizeof first || first != code[0])
        return AMXEMU_NOT_AMX;
    return amxemu_decode(code, size, insn);
}

/* A thunk that met a fault has put all registers back; from here the instruction meets it again. */
static int on_sigill(siginfo_t *info, ucontext_t *context) {
    const uint64_t stopped = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    const uint64_t of_thunk = trap_thunk_fault_site(stopped), rip = of_thunk ? of_thunk : stopped;
    struct amxemu_insn insn;
    if (decode_at(rip, &insn) != AMXEMU_VALID) {
        /* It may have been an instruction of AMX until another thread patched it, after it trapped here. */
        if (trap_site_at(rip + 1, &insn))
            return run_in_frame(rip, &insn, info, context);
        return cpuid_handle(SIGILL, info, context);
    }
    if (!run_in_frame(rip, &insn, info, context))
        return 0;
    trap_site_seen(rip, &insn);
    return 1;
}

static int on_sigtrap(siginfo_t *info, ucontext_t *context) {
    const uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    struct amxemu_insn insn;
    if (trap_site_at(rip, &insn))
        return run_in_frame(rip - 1, &insn, info, context);
    return cpuid_handle(SIGTRAP, info, context) || objects_handle(context);
}

/* Our filter's trap of arch_prctl. A filter of the program's own may trap other things. */
static int on_sigsys(const siginfo_t *info, ucontext_t *context) {
    enum { SYS_SECCOMP_CODE = 1, FIRST = 0x1021, LAST = 0x1025 };
    greg_t *const gregs = context->uc_mcontext.gregs;
    const int op = (int)gregs[REG_RDI];
    if (info->si_code != SYS_SECCOMP_CODE || info->si_syscall != SYS_arch_prctl || op < FIRST || op > LAST)
        return 0;
    gregs[REG_RAX] = amx_trap_arch_prctl(op, (uint64_t)gregs[REG_RSI]);
    trap_answers.arch_prctl++;
    return 1;
}

static int is_own_mapping(int signal, const siginfo_t *info) {
    enum own_mapping which;
    if (!own_mapping_fault(signal, info, &which))
        return 0;
    unrecorded_add(which, -EIO);
    return 1;
}

int trap_handle(int signal, siginfo_t *info, ucontext_t *context) {
    if (info->si_code <= 0 || trap_cpu() == NULL) /* sent by somebody, or meant for nobody any more */
        return 0;
    switch (signal) {
    case SIGILL:
        return on_sigill(info, context);
    case SIGTRAP:
        return on_sigtrap(info, context);
    case SIGSYS:
        return on_sigsys(info, context);
    default:
        return trap_memory_fixup(signal, info, context) || is_own_mapping(signal, info) ||
               cpuid_handle(signal, info, context);
    }
}
