#define _GNU_SOURCE /* REG_RIP */
#include "signals.h"

#include "cpuid.h"
#include "frame.h"
#include "memory.h"
#include "objects.h"
#include "patch.h"
#include "run.h"
#include "thread.h"
#include "thunk.h"
#include "trace.h"
#include "trap.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- actions as the kernel has them ---- */

/* Not through libc's sigaction(), which the preload library puts something else in place of. */
struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
enum { SA_RESTORER_X86 = 0x04000000 };

/* Unwinders know a signal frame by these very bytes at its return address (libgcc,
 * x86_64_fallback_frame_state).
 */
void trap_restorer(void);
__asm__(".pushsection .text\n"
        ".hidden trap_restorer\n"
        ".globl trap_restorer\n"
        ".type trap_restorer, @function\n"
        ".p2align 4\n"
        "  nop\n"
        "trap_restorer:\n"
        "  movq $15, %rax\n"
        "  syscall\n"
        ".size trap_restorer, . - trap_restorer\n"
        ".popsection\n");

static int rt_sigaction(int signal, const struct kernel_action *new_action,
                        struct kernel_action *old_action) {
    return syscall(SYS_rt_sigaction, signal, new_action, old_action, sizeof new_action->mask) == 0 ? 0
                                                                                                   : -errno;
}

static struct kernel_action to_kernel(const struct sigaction *action) {
    struct kernel_action result = {
        .handler = action->sa_sigaction,
        .flags = (unsigned)action->sa_flags | SA_RESTORER_X86,
        .restorer = trap_restorer,
    };
    memcpy(&result.mask, &action->sa_mask, sizeof result.mask);
    return result;
}

static struct sigaction from_kernel(const struct kernel_action *action) {
    struct sigaction result = {.sa_sigaction = action->handler,
                               .sa_flags = (int)(action->flags & ~(unsigned long)SA_RESTORER_X86)};
    memcpy(&result.sa_mask, &action->mask, sizeof action->mask);
    return result;
}

/* ---- the program's own ---- */

static const int taken[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGSYS};
enum { WITH_SIGSYS = sizeof taken / sizeof *taken, TAKEN = WITH_SIGSYS - 1 };
static int taken_count;
static struct sigaction program_actions[WITH_SIGSYS];

static int index_of(int signal) {
    for (int i = 0; i < taken_count; i++)
        if (taken[i] == signal)
            return i;
    return -1;
}

struct sigaction *trap_program_action(int signal) {
    const int i = index_of(signal);
    return i < 0 ? NULL : &program_actions[i];
}

static uint64_t bit(int signal) {
    return UINT64_C(1) << (signal - 1);
}

static uint64_t get_mask(const ucontext_t *context) {
    uint64_t mask;
    memcpy(&mask, &context->uc_sigmask, sizeof mask);
    return mask;
}

/* It arrives, at the context, when the handler returns. */
static void queue(int signal, siginfo_t *info) {
    const uint64_t own = bit(signal);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &own, NULL, sizeof own);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signal, info);
}

/* The signal with its default action, at the context. What the kernel forces cannot be blocked. */
static void die(int signal, siginfo_t *info, ucontext_t *context) {
    const struct kernel_action by_default = {.flags = SA_RESTORER_X86, .restorer = trap_restorer};
    const uint64_t mask = get_mask(context) & ~bit(signal);
    memcpy(&context->uc_sigmask, &mask, sizeof mask);
    rt_sigaction(signal, &by_default, NULL);
    queue(signal, info); /* where that is refused, the instruction faults again */
}

/* What the kernel would do if our handler were not there. */
static void chain(int signal, siginfo_t *info, ucontext_t *context) {
    const int is_fault = info->si_code > 0; /* else somebody sent it */
    const uint64_t lock = trap_lock();
    struct sigaction *const current = trap_program_action(signal);
    const struct sigaction action = *current;
    const int has_handler = action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
    if (has_handler && action.sa_flags & SA_RESETHAND)
        current->sa_handler = SIG_DFL;
    trap_unlock(lock);

    if (!is_fault && action.sa_handler == SIG_IGN)
        return;
    if (!has_handler || (is_fault && get_mask(context) & bit(signal))) {
        die(signal, info, context);
        return;
    }
    uint64_t mask;
    memcpy(&mask, &action.sa_mask, sizeof mask);
    /* Blocked, what traps would kill: the handler may use AMX too. */
    mask = (mask & ~(bit(SIGILL) | bit(SIGTRAP))) | get_mask(context);
    mask |= action.sa_flags & SA_NODEFER ? 0 : bit(signal);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(signal, info, context);
    else
        action.sa_handler(signal);
}

/* ---- AMX ---- */

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
        gregs[REG_ERR] = thread->memory_err;
    }
}

/* On a CPU with AMX whose tile data is withheld, configuration instructions run by themselves. */
static void follow_native_config(struct trap_thread *thread, const ucontext_t *context) {
    uint8_t config[AMXEMU_CONFIG_BYTES];
    trap_frame_config(context, config);
    if (memcmp(config, thread->native_config, sizeof config) == 0)
        return;
    memcpy(thread->native_config, config, sizeof config);
    amxemu_ldtilecfg(&thread->task.tiles, config);
    thread->task.data_live = 0;
    trap_trace_native_config(thread->id, &thread->task.tiles);
}

/* Executes the instruction that stands at `rip`. 1: the program goes on behind it. */
static int run_in_frame(uint64_t rip, const struct amxemu_insn *insn, siginfo_t *info, ucontext_t *context) {
    struct trap_thread *const thread = trap_thread();
    if (thread == NULL)
        return 0;
    if (trap_is_hybrid())
        follow_native_config(thread, context);
    thread->task.altstack_size = context->uc_stack.ss_flags & SS_DISABLE ? 0 : context->uc_stack.ss_size;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)rip;
    struct trap_vectors vectors;
    vectors.zmm = thread->zmm;
    struct amxemu_registers r = trap_frame_registers(context, insn, &vectors);
    const struct trap_fault fault = trap_run(thread, &r, insn);
    atomic_fetch_add_explicit(&thread->traps, 1, memory_order_relaxed);
    if (fault.signal != 0) {
        atomic_fetch_add_explicit(&thread->faults, 1, memory_order_relaxed);
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
        return trap_memory_fixup(signal, info, context) || cpuid_handle(signal, info, context);
    }
}

/* ---- installation ---- */

static void on_signal(int signal, siginfo_t *info, void *context);

/* No handler of the program runs amid an instruction; our own faults arrive. Where there is an alternate
 * stack, it is used when the program's own handler would run there: else small ones would break what works
 * without us. */
static struct kernel_action ours(const struct sigaction *program) {
    return (struct kernel_action){
        .handler = on_signal,
        .flags = SA_SIGINFO | SA_RESTORER_X86 | SA_NODEFER | (unsigned)(program->sa_flags & SA_ONSTACK),
        .restorer = trap_restorer,
        .mask = ~(bit(SIGSEGV) | bit(SIGBUS)),
    };
}

static int is_ours(int signal) {
    struct kernel_action found;
    return rt_sigaction(signal, NULL, &found) == 0 && found.handler == on_signal;
}

/* Stacks may be misaligned when qemu's user mode calls a handler. */
__attribute__((force_align_arg_pointer)) static void on_signal(int signal, siginfo_t *info, void *context) {
    const int saved_errno = errno;
    siginfo_t seen = *info;
    const int handled = trap_handle(signal, &seen, context);
    errno = saved_errno;
    if (handled)
        return;
    if (seen.si_signo == signal || is_ours(seen.si_signo))
        chain(seen.si_signo, &seen, context);
    else /* the fault is another signal than the trap, and somebody took it from us */
        queue(seen.si_signo, &seen);
}

int trap_signals_start(int with_sigsys) {
    taken_count = with_sigsys ? WITH_SIGSYS : TAKEN;
    for (int i = 0; i < taken_count; i++) {
        struct kernel_action found;
        int error = rt_sigaction(taken[i], NULL, &found);
        if (error == 0) {
            program_actions[i] = from_kernel(&found);
            const struct kernel_action action = ours(&program_actions[i]);
            error = rt_sigaction(taken[i], &action, NULL);
        }
        if (error != 0) {
            trap_signals_stop();
            return error;
        }
    }
    return 0;
}

void trap_signals_stop(void) {
    for (int i = 0; i < taken_count; i++)
        if (is_ours(taken[i])) {
            const struct kernel_action action = to_kernel(&program_actions[i]);
            rt_sigaction(taken[i], &action, NULL);
        }
}

int trap_sigaction(int signal, const struct sigaction *new_action, struct sigaction *old_action) {
    const int i = index_of(signal);
    int error = 0;
    if (i < 0 || !is_ours(signal)) {
        struct kernel_action new_kernel, old_kernel;
        if (new_action != NULL)
            new_kernel = to_kernel(new_action);
        error = rt_sigaction(signal, new_action ? &new_kernel : NULL, &old_kernel);
        if (error == 0 && old_action != NULL)
            *old_action = from_kernel(&old_kernel);
        return error;
    }
    const uint64_t lock = trap_lock();
    const struct sigaction before = program_actions[i];
    if (new_action != NULL) {
        const struct kernel_action action = ours(new_action);
        program_actions[i] = *new_action;
        error = rt_sigaction(signal, &action, NULL);
    }
    trap_unlock(lock);
    if (old_action != NULL)
        *old_action = before;
    return error;
}
