/* The fault guard: runs one instruction that may fault and tells how, without the process noticing.
 *
 * For the time of the window the dispositions of SIGSEGV, SIGILL and SIGBUS are ours. The handler acts on
 * nothing but a fault of the guarded instruction itself in the thread that armed the guard; everything else
 * goes where it would have gone. One window is open at a time: it is microseconds long, and one owner makes
 * it obvious that what is restored is what was found. fork waits for the window, so that no child inherits
 * our handler.
 */
#define _GNU_SOURCE /* REG_RIP */
#include "tile/tiles.h"

#include <errno.h>

#if AMX_STUBS

int amx_probe_tilezero(struct amx_probe *probe) {
    (void)probe;
    return -ENOSYS;
}

int amx_probe_guarded(int what, uint64_t address, struct amx_probe *probe) {
    (void)what, (void)address, (void)probe;
    return -ENOSYS;
}

#else

#include "fpstate.h"
#include "insn.h"
#include "machine/stand_in.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { XFEATURE_XTILEDATA = 18 };

static const int guarded_signals[] = {SIGSEGV, SIGILL, SIGBUS};
enum { GUARDED_SIGNALS = sizeof guarded_signals / sizeof *guarded_signals };
/* Blocking these is no protection from them: the kernel kills a thread whose own fault is blocked. */
static const int synchronous_signals[] = {SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGSYS};
enum { SYNCHRONOUS_SIGNALS = sizeof synchronous_signals / sizeof *synchronous_signals };

/* A disposition as the kernel has it. libc's sigaction adds its restorer when it writes one back. Where
 * another library stands in for libc's, the kernel has that library's handler, and `interposed` says that
 * this is what it told instead: such a one goes back by the same way. */
struct kernel_action {
    union {
        void (*handler)(int);
        void (*with_info)(int, siginfo_t *, void *);
    };
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
struct action {
    struct kernel_action kernel;
    int interposed;
};

static struct {
    pthread_mutex_t window; /* held while the handlers are installed */
    _Atomic pid_t thread;   /* the thread that armed the guard, 0 none. Not thread-local: the handler runs in
                             * any thread, where a first access to dynamic TLS may allocate. */
    volatile uintptr_t begin, end; /* of the guarded instruction; the thread resumes at end */
    volatile struct amx_probe caught;
    struct action previous[GUARDED_SIGNALS];
} guard = {.window = PTHREAD_MUTEX_INITIALIZER};

static pid_t thread_id(void) {
    return (pid_t)syscall(SYS_gettid);
}

static void rt_sigaction(int number, const struct kernel_action *new, struct kernel_action *old) {
    syscall(SYS_rt_sigaction, number, new, old, sizeof old->mask);
}

static struct sigaction to_libc(const struct kernel_action *kernel) {
    struct sigaction libc = {.sa_sigaction = kernel->with_info, .sa_flags = (int)kernel->flags};
    for (int number = 1; number <= 64; number++)
        if ((kernel->mask >> (number - 1)) & 1)
            sigaddset(&libc.sa_mask, number);
    return libc;
}

static struct action get_action(int number) {
    struct action found = {.interposed = 0};
    struct sigaction told;
    rt_sigaction(number, NULL, &found.kernel);
    if (sigaction(number, NULL, &told) != 0 || told.sa_sigaction == found.kernel.with_info)
        return found;
    found.interposed = 1;
    found.kernel = (struct kernel_action){.with_info = told.sa_sigaction, .flags = (unsigned)told.sa_flags};
    memcpy(&found.kernel.mask, &told.sa_mask, sizeof found.kernel.mask);
    return found;
}

static void set_action(int number, const struct action *action) {
    const struct sigaction libc = to_libc(&action->kernel);
    if (action->interposed)
        sigaction(number, &libc, NULL);
    else
        rt_sigaction(number, &action->kernel, NULL);
}

static struct kernel_action *previous_of(int number) {
    for (int i = 0; i < GUARDED_SIGNALS; i++)
        if (guarded_signals[i] == number)
            return &guard.previous[i].kernel;
    return NULL;
}

/* What the kernel would have done with the signal. Its mask, SA_ONSTACK and SA_NODEFER are in force already:
 * the guard's own action is a copy of the previous one. */
static void chain(int number, siginfo_t *info, void *context) {
    struct kernel_action *previous = previous_of(number);
    const struct kernel_action action = *previous;
    const int is_fault = info->si_code > 0; /* else somebody sent it */
    if (action.flags & SA_RESETHAND)
        previous->handler = SIG_DFL;
    if (action.handler == SIG_IGN && !is_fault)
        return;
    if (action.handler == SIG_DFL || action.handler == SIG_IGN) {
        /* A fault that is ignored kills as by default. The instruction faults again on return; what was sent
         * is sent again, and arrives when this handler returns. */
        const struct sigaction by_default = {.sa_handler = SIG_DFL};
        sigaction(number, &by_default, NULL);
        if (!is_fault)
            syscall(SYS_tgkill, getpid(), thread_id(), number);
    } else if (action.flags & SA_SIGINFO) {
        action.with_info(number, info, context);
    } else {
        action.handler(number);
    }
}

/* What a signal frame of this thread has room for (uapi asm/sigcontext.h, struct _fpx_sw_bytes). */
static uint64_t frame_features(const ucontext_t *context) {
    enum { SOFTWARE_AT = 464, XFEATURES_AT = SOFTWARE_AT + 8 };
    const uint8_t *const frame = (const uint8_t *)context->uc_mcontext.fpregs;
    uint32_t magic = 0;
    uint64_t features = 0;
    if (frame != NULL)
        memcpy(&magic, frame + SOFTWARE_AT, sizeof magic);
    if (magic == FP_XSTATE_MAGIC1)
        memcpy(&features, frame + XFEATURES_AT, sizeof features);
    return features;
}

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const int saved_errno = errno;
    siginfo_t fault = *info;
    const struct machine_stand_in *const stand_in = machine_stand_in();
    if (stand_in && stand_in->handle(number, &fault, context)) { /* not a fault, or not yet */
        errno = saved_errno;
        return;
    }
    const uintptr_t rip = (uintptr_t)registers[REG_RIP];
    if (fault.si_code > 0 && atomic_load(&guard.thread) == thread_id() && rip >= guard.begin &&
        rip < guard.end) {
        guard.caught.signal = fault.si_signo;
        guard.caught.code = fault.si_code;
        guard.caught.address = (uint64_t)(uintptr_t)fault.si_addr;
        guard.caught.value = frame_features(context);
        registers[REG_RIP] = (greg_t)guard.end;
    } else {
        chain(number, info, context);
    }
    errno = saved_errno;
}

static void lock_window(void) {
    pthread_mutex_lock(&guard.window);
}
static void unlock_window(void) {
    pthread_mutex_unlock(&guard.window);
}
static void register_fork(void) {
    pthread_atfork(lock_window, unlock_window, unlock_window);
}

/* Opens the window in this thread. No handler of others runs in it meanwhile, which could fork and wait for
 * itself. */
static void enter(sigset_t *mask) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork);
    sigset_t asynchronous, guarded;
    sigfillset(&asynchronous);
    for (int i = 0; i < SYNCHRONOUS_SIGNALS; i++)
        sigdelset(&asynchronous, synchronous_signals[i]);
    pthread_sigmask(SIG_BLOCK, &asynchronous, mask);

    lock_window();
    guard.begin = guard.end = 0;
    sigemptyset(&guarded);
    for (int i = 0; i < GUARDED_SIGNALS; i++) {
        guard.previous[i] = get_action(guarded_signals[i]);
        struct sigaction ours = to_libc(&guard.previous[i].kernel);
        ours.sa_sigaction = on_fault;
        ours.sa_flags = SA_SIGINFO | (ours.sa_flags & (SA_ONSTACK | SA_NODEFER | SA_RESTART));
        sigaction(guarded_signals[i], &ours, NULL);
        sigaddset(&guarded, guarded_signals[i]);
    }
    atomic_store(&guard.thread, thread_id());
    pthread_sigmask(SIG_UNBLOCK, &guarded, NULL);
}

static void leave(const sigset_t *mask) {
    atomic_store(&guard.thread, 0);
    for (int i = 0; i < GUARDED_SIGNALS; i++) {
        /* Whoever installed another handler meanwhile keeps it. */
        if (get_action(guarded_signals[i]).kernel.with_info == on_fault)
            set_action(guarded_signals[i], &guard.previous[i]);
    }
    unlock_window();
    pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* Executes one instruction inside the open window, after an unguarded `before`; true when it completed. */
#define GUARDED_AFTER(before, at_step, instruction, ...)                                                     \
    (guard.caught.step = (at_step), __extension__({                                                          \
         __asm__ volatile("lea 1f(%%rip), %%rdx\n\tmov %%rdx, %[begin]\n\t"                                  \
                          "lea 2f(%%rip), %%rdx\n\tmov %%rdx, %[end]\n" before "\n1:\t" instruction "\n2:"   \
                          : [begin] "=m"(guard.begin), [end] "=m"(guard.end)                                 \
                          : __VA_ARGS__                                                                      \
                          : "rdx", "memory");                                                                \
         guard.caught.signal == 0;                                                                           \
     }))
#define GUARDED(...)  GUARDED_AFTER("", __VA_ARGS__)
/* insn.h has whole statements; inside the guard the bytes must stand between its labels. */
#define STTILECFG_RDI ".byte 0xc4, 0xe2, 0x79, 0x49, 0x07"
#define LDTILECFG_RDI ".byte 0xc4, 0xe2, 0x78, 0x49, 0x07"
#define TILEZERO_TMM0 ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0"

static int read_xinuse(uint64_t *value) {
    const struct machine_stand_in *const stand_in = machine_stand_in();
    return stand_in ? stand_in->xgetbv(1, value) : amx_xgetbv(1, value);
}

int amx_probe_tilezero(struct amx_probe *probe) {
    static const uint8_t one_tile[64] = {
        [0] = 1, [16] = 4, [48] = 1}; /* palette 1, tile 0 of 1 row of 4 bytes */
    uint8_t found[64] = {0};
    uint64_t xinuse;
    sigset_t mask;
    memset(probe, 0, sizeof *probe);
    if (read_xinuse(&xinuse) == 0 && (xinuse >> XFEATURE_XTILEDATA) & 1) {
        probe->step = AMX_STEP_DONE;
        return 0;
    }
    enter(&mask);
    guard.caught = (struct amx_probe){0};
    if (GUARDED(AMX_STEP_STTILECFG, STTILECFG_RDI, "D"(found)) &&
        GUARDED(AMX_STEP_LDTILECFG, LDTILECFG_RDI, "D"(one_tile))) {
        if (GUARDED(AMX_STEP_TILEZERO, TILEZERO_TMM0, "D"(found)))
            guard.caught.step = AMX_STEP_DONE;
        /* Neither can fault after the two above; both work without permission. */
        if (found[0] != 0)
            AMX_LDTILECFG(found);
        else
            AMX_TILERELEASE();
    }
    *probe = guard.caught;
    leave(&mask);
    return 0;
}

int amx_probe_guarded(int what, uint64_t address, struct amx_probe *probe) {
    sigset_t mask;
    if (what < AMX_GUARD_UD2 || what > AMX_GUARD_SPIN)
        return -EINVAL;
    enter(&mask);
    guard.caught = (struct amx_probe){0};
    int completed = 1;
    switch (what) {
    case AMX_GUARD_UD2:
        completed = GUARDED(AMX_STEP_OTHER, "ud2", "D"(address));
        break;
    case AMX_GUARD_INT3:
        completed = GUARDED(AMX_STEP_OTHER, "int3", "D"(address));
        break;
    case AMX_GUARD_LOAD:
        completed = GUARDED(AMX_STEP_OTHER, "movb (%%rdi), %%dl", "D"(address));
        break;
    case AMX_GUARD_LOAD_BEFORE:
        completed = GUARDED_AFTER("movb (%%rdi), %%dl", AMX_STEP_OTHER, "nop", "D"(address));
        break;
    case AMX_GUARD_LOAD_AFTER:
        completed = GUARDED(AMX_STEP_OTHER, "nop", "D"(address));
        __asm__ volatile("movb (%%rdi), %%dl" : : "D"(address) : "rdx", "memory");
        break;
    case AMX_GUARD_SPIN:
        completed = GUARDED(AMX_STEP_OTHER, "mov %%rdi, %%rdx\n3:\tdec %%rdx\n\tjnz 3b", "D"(address));
        break;
    }
    if (completed)
        guard.caught.step = AMX_STEP_DONE;
    *probe = guard.caught;
    leave(&mask);
    return 0;
}

#endif
