/* Signals of the program: the actions and masks that it believes in, of the signals that are ours.
 *
 * Ours are never really blocked, since the kernel kills a thread whose instruction traps meanwhile. Masks of
 * sleeping calls (sigsuspend, ppoll and the like) are left alone: no instruction of the thread runs then.
 */
#define _GNU_SOURCE
#include "trap/cpu/emulated.h"
#include "trap/preload/interpose.h"
#include "trap/signals/signals.h"
#include "trap/thread/altstack.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

REAL(int, sigaction, int, const struct sigaction *, struct sigaction *);
REAL(sighandler_t, signal, int, sighandler_t);
#ifdef __GLIBC__
REAL(sighandler_t, __sysv_signal, int, sighandler_t);
#endif
REAL(int, siginterrupt, int, int);
REAL(int, pthread_sigmask, int, const sigset_t *, sigset_t *);
REAL(int, sigaltstack, const stack_t *, stack_t *);

static const uint64_t ours = UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGTRAP - 1) |
                             UINT64_C(1) << (SIGBUS - 1) | UINT64_C(1) << (SIGSEGV - 1) |
                             UINT64_C(1) << (SIGSYS - 1);

static uint64_t bits_of(const sigset_t *set) {
    uint64_t bits;
    memcpy(&bits, set, sizeof bits);
    return bits;
}

static void put_bits(sigset_t *set, uint64_t bits) {
    memcpy(set, &bits, sizeof bits);
}

static int with_errno(int error) {
    if (error == 0)
        return 0;
    errno = -error;
    return -1;
}

/* ---- actions ---- */

/* libc refuses the signals that it uses itself. */
static int is_libcs(int number) {
    enum { SIGCANCEL = 32, SIGSETXID = 33 };
    return number < 1 || number >= _NSIG || number == SIGCANCEL || number == SIGSETXID;
}

INTERPOSED int sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    if (trap_cpu() == NULL || is_libcs(number))
        return LIBCS(sigaction)(number, action, old);
    return with_errno(trap_sigaction(number, action, old));
}

INTERPOSED int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __sigaction(int number, const struct sigaction *action, struct sigaction *old) {
    return sigaction(number, action, old);
}

static sighandler_t set_handler(int number, sighandler_t handler, int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;
    if (!(flags & SA_NODEFER))
        sigaddset(&action.sa_mask, number);
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* What siginterrupt() asked for: it changes the action in force, and what signal() installs later. */
static uint64_t interrupting;

INTERPOSED int siginterrupt(int number, int interrupt) {
    struct sigaction action;
    if (trap_cpu() == NULL || is_libcs(number))
        return LIBCS(siginterrupt)(number, interrupt);
    if (sigaction(number, NULL, &action) != 0)
        return -1;
    const uint64_t bit = UINT64_C(1) << (number - 1);
    interrupting = interrupt ? interrupting | bit : interrupting & ~bit;
    action.sa_flags = interrupt ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
    return sigaction(number, &action, NULL);
}

INTERPOSED sighandler_t signal(int number, sighandler_t handler) {
    if (trap_cpu() == NULL || is_libcs(number))
        return LIBCS(signal)(number, handler);
    return set_handler(number, handler, interrupting >> (number - 1) & 1 ? 0 : SA_RESTART);
}

INTERPOSED sighandler_t bsd_signal(int number, sighandler_t handler);
sighandler_t bsd_signal(int number, sighandler_t handler) {
    return signal(number, handler);
}

#ifdef __GLIBC__ /* other libraries have no such functions */

INTERPOSED sighandler_t ssignal(int number, sighandler_t handler) {
    return signal(number, handler);
}

INTERPOSED sighandler_t __sysv_signal(int number, sighandler_t handler) {
    if (trap_cpu() == NULL || is_libcs(number))
        return LIBCS(__sysv_signal)(number, handler);
    return set_handler(number, handler, SA_RESETHAND | SA_NODEFER);
}

INTERPOSED sighandler_t sysv_signal(int number, sighandler_t handler) {
    return __sysv_signal(number, handler);
}

#endif

/* ---- masks ---- */

INTERPOSED int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    if (trap_cpu() == NULL)
        return LIBCS(pthread_sigmask)(how, set, old);
    uint64_t *const believed = trap_believed_blocked();
    const uint64_t before = *believed;
    sigset_t changed;
    if (set != NULL) {
        const uint64_t wanted = bits_of(set) & ours;
        changed = *set;
        if (how != SIG_UNBLOCK)
            put_bits(&changed, bits_of(set) & ~ours);
        if (how == SIG_BLOCK)
            *believed = before | wanted;
        else if (how == SIG_UNBLOCK)
            *believed = before & ~wanted;
        else if (how == SIG_SETMASK)
            *believed = wanted;
    }
    const int error = LIBCS(pthread_sigmask)(how, set != NULL ? &changed : NULL, old);
    if (error == 0 && old != NULL)
        put_bits(old, bits_of(old) | before);
    return error;
}

INTERPOSED int sigprocmask(int how, const sigset_t *set, sigset_t *old) {
    return with_errno(-pthread_sigmask(how, set, old));
}

void interpose_block_for_exec(int block) {
    const uint64_t believed = trap_cpu() != NULL ? *trap_believed_blocked() : 0;
    if (believed)
        syscall(SYS_rt_sigprocmask, block ? SIG_BLOCK : SIG_UNBLOCK, &believed, NULL, sizeof believed);
}

/* ---- alternate stacks ---- */

INTERPOSED int sigaltstack(const stack_t *stack, stack_t *old) {
    return trap_cpu() == NULL ? LIBCS(sigaltstack)(stack, old) : with_errno(trap_sigaltstack(stack, old));
}
