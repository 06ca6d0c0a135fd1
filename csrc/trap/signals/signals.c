#define _GNU_SOURCE
#include "trap/signals/signals.h"

#include "trap/answers/announce.h"
#include "trap/cpu/emulated.h"
#include "trap/signals/handler.h"
#include "trap/signals/traps.h"
#include "trap/thread/run.h"
#include "trap/thread/thread.h"

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

/* ---- actions ---- */

enum { SIGNALS = 64 };
static struct sigaction program_actions[SIGNALS + 1];

static const int taken[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP, SIGSYS};
enum { WITH_SIGSYS = sizeof taken / sizeof *taken, WITHOUT = WITH_SIGSYS - 1 };
static int taken_count;

static uint64_t bit(int signal) {
    return UINT64_C(1) << (signal - 1);
}

int trap_takes(int signal) {
    for (int i = 0; i < taken_count; i++)
        if (taken[i] == signal)
            return 1;
    return 0;
}

uint64_t *trap_believed_blocked(void) {
    static _Thread_local uint64_t blocked;
    return &blocked;
}

static int has_handler(const struct sigaction *action) {
    return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

/* Blocked, what traps would kill. */
static const uint64_t trapping =
    UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGTRAP - 1) | UINT64_C(1) << (SIGSYS - 1);

static uint64_t mask_of(const struct sigaction *action) {
    uint64_t mask;
    memcpy(&mask, &action->sa_mask, sizeof mask);
    return mask & ~trapping;
}

static void on_taken(int signal, siginfo_t *info, void *context);
static void on_other(int signal, siginfo_t *info, void *context);

/* The action to give to the kernel for one of the program.
 *
 * Of a signal that is taken: no handler of the program runs amid an instruction, our own faults arrive. An
 * alternate stack is used when the program's own handler would run there, else one that is too small would
 * break what works without us. What it ignores interrupts no system call.
 *
 * In a whole program alternate stacks have room for tiles. Elsewhere they are as small as the program made
 * them for its own handlers: instructions trap on the stack that they are executed on, as patched ones use
 * it.
 */
static struct kernel_action ours(int signal, const struct sigaction *program) {
    const int is_whole = taken_count == WITH_SIGSYS, traps = signal == SIGILL || signal == SIGTRAP;
    const unsigned may = traps && !is_whole ? SA_RESTART : SA_ONSTACK | SA_RESTART;
    const unsigned flags = has_handler(program) ? (unsigned)program->sa_flags : SA_RESTART;
    if (trap_takes(signal))
        return (struct kernel_action){
            .handler = on_taken,
            .flags = SA_SIGINFO | SA_RESTORER_X86 | SA_NODEFER | (flags & may),
            .restorer = trap_restorer,
            .mask = ~(bit(SIGSEGV) | bit(SIGBUS)),
        };
    struct kernel_action action = to_kernel(program);
    if (has_handler(program)) {
        action.handler = on_other;
        action.flags |= SA_SIGINFO;
        action.mask = mask_of(program);
    }
    return action;
}

static int is_ours(const struct kernel_action *action) {
    return action->handler == on_taken || action->handler == on_other;
}

/* ---- delivery ---- */

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
    if (signal == SIGILL)
        announce_explain(context);
    if (trap_progress != NULL)
        trap_progress();
    queue(signal, info); /* where that is refused, the instruction faults again */
}

/* The program's action for a signal that arrived. */
static struct sigaction take_action(int signal) {
    const int is_amid_our_work = trap_is_locked_here();
    const uint64_t lock = is_amid_our_work ? 0 : trap_lock();
    const struct sigaction action = program_actions[signal];
    if (has_handler(&action) && action.sa_flags & SA_RESETHAND)
        program_actions[signal].sa_handler = SIG_DFL;
    if (!is_amid_our_work)
        trap_unlock(lock);
    return action;
}

/* What the kernel would do with a signal that is taken if our handler were not there. */
static void chain(int signal, siginfo_t *info, ucontext_t *context) {
    const int is_fault = info->si_code > 0; /* else somebody sent it */
    const struct sigaction action = take_action(signal);

    if (!is_fault && action.sa_handler == SIG_IGN)
        return;
    if (!has_handler(&action) || (is_fault && (get_mask(context) | *trap_believed_blocked()) & bit(signal))) {
        die(signal, info, context);
        return;
    }
    /* In a whole program what traps is not blocked in its own handler either, which may use AMX too. */
    const uint64_t never = taken_count == WITH_SIGSYS ? trapping : 0;
    const uint64_t own = action.sa_flags & SA_NODEFER ? 0 : bit(signal) & ~never;
    const uint64_t mask = mask_of(&action) | get_mask(context) | own;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
    trap_call_handler(&action, signal, info, context);
}

/* Stacks may be misaligned when qemu's user mode calls a handler. */
__attribute__((force_align_arg_pointer)) static void on_taken(int signal, siginfo_t *info, void *context) {
    const int saved_errno = errno;
    siginfo_t seen = *info;
    struct kernel_action found;
    const int handled = trap_handle(signal, &seen, context);
    if (!handled && seen.si_signo != signal && rt_sigaction(seen.si_signo, NULL, &found) == 0 &&
        !is_ours(&found)) {
        queue(seen.si_signo, &seen); /* the fault is another signal than the trap, and somebody took it */
        errno = saved_errno;
        return;
    }
    errno = saved_errno;
    if (!handled)
        chain(seen.si_signo, &seen, context);
}

__attribute__((force_align_arg_pointer)) static void on_other(int signal, siginfo_t *info, void *context) {
    const struct sigaction action = program_actions[signal];
    if (has_handler(&action)) /* it may have been replaced since */
        trap_call_handler(&action, signal, info, context);
}

/* ---- installation ---- */

int trap_signals_start(int with_sigsys) {
    taken_count = with_sigsys ? WITH_SIGSYS : WITHOUT;
    for (int i = 0; i < taken_count; i++) {
        struct kernel_action found;
        int error = rt_sigaction(taken[i], NULL, &found);
        if (error == 0) {
            if (!is_ours(&found)) /* put back by who had taken it from us in an earlier session */
                program_actions[taken[i]] = from_kernel(&found);
            const struct kernel_action action = ours(taken[i], &program_actions[taken[i]]);
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
    for (int signal = 1; signal <= SIGNALS; signal++) {
        struct kernel_action found;
        if (rt_sigaction(signal, NULL, &found) == 0 && is_ours(&found)) {
            const struct kernel_action action = to_kernel(&program_actions[signal]);
            rt_sigaction(signal, &action, NULL);
        }
    }
    taken_count = 0;
}

/* What the program believes to be in force. A signal that is taken and not ours any more was set past us, by
 * the system call itself. */
static struct sigaction programs(int signal, const struct kernel_action *found) {
    struct sigaction action = from_kernel(found);
    if (!is_ours(found))
        return action;
    if (found->handler == on_taken)
        return program_actions[signal];
    action.sa_sigaction = program_actions[signal].sa_sigaction;
    action.sa_mask = program_actions[signal].sa_mask;
    if (!(program_actions[signal].sa_flags & SA_SIGINFO))
        action.sa_flags &= ~SA_SIGINFO;
    return action;
}

int trap_sigaction(int signal, const struct sigaction *new_action, struct sigaction *old_action) {
    struct kernel_action found;
    const uint64_t lock = trap_lock();
    int error = rt_sigaction(signal, NULL, &found);
    if (error == 0) {
        const struct sigaction before = programs(signal, &found);
        if (new_action != NULL) {
            const int past_us =
                trap_cpu() == NULL || trap_is_vforked() || (trap_takes(signal) && !is_ours(&found));
            const struct kernel_action action = past_us ? to_kernel(new_action) : ours(signal, new_action);
            if (!past_us && (trap_takes(signal) || has_handler(new_action)))
                program_actions[signal] = *new_action;
            error = rt_sigaction(signal, &action, NULL);
        }
        if (old_action != NULL)
            *old_action = before;
    }
    trap_unlock(lock);
    return error;
}
