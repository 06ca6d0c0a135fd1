/* A probe in a forked child: what a seccomp filter kills, or an instruction that faults, ends the child only.
 *
 * The child calls nothing that is not async-signal-safe. It is made by clone without an exit signal: the
 * caller's SIGCHLD handling does not notice it, nobody's wait(-1) reaps it, and no atfork handler runs. It
 * answers in a shared page, which survives any end and needs no descriptor.
 */
#include "amx.h"

#include <errno.h>

#if AMX_STUBS

int amx_probe_child(int action, int op, uint64_t component, int timeout_ms, struct amx_probe *probe) {
    (void)action, (void)op, (void)component, (void)timeout_ms, (void)probe;
    return -ENOSYS;
}

#else

#include "insn.h"

#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18, POLL_NS = 200 * 1000 };

static const int caught_signals[] = {SIGSEGV, SIGILL, SIGBUS, SIGSYS};
enum { CAUGHT_SIGNALS = sizeof caught_signals / sizeof *caught_signals };

/* Set in the child only. */
static volatile struct amx_probe *report;

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    report->signal = number;
    report->code = info->si_code;
    report->address = (uint64_t)(uintptr_t)info->si_addr;
    _exit(0);
}

static void execute(int action) {
    /* Palette 1; tiles 0 to 2 of one row of four bytes, which suit both instructions. */
    const uint8_t config[64] = {[0] = 1, [16] = 4, [18] = 4, [20] = 4, [48] = 1, [49] = 1, [50] = 1};
    report->step = AMX_STEP_LDTILECFG;
    AMX_LDTILECFG(config);
    if (action == AMX_CHILD_TILEZERO) {
        report->step = AMX_STEP_TILEZERO;
        AMX_TILEZERO(0);
    } else {
        report->step = AMX_STEP_TDPFP16PS;
        AMX_TDPFP16PS(0, 1, 2);
    }
}

static _Noreturn void child(int action, int op, uint64_t component) {
    struct sigaction caught = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigset_t mask;
    uint64_t value = 0;
    sigfillset(&mask);
    for (int i = 0; i < CAUGHT_SIGNALS; i++) {
        sigaction(caught_signals[i], &caught, NULL);
        sigdelset(&mask, caught_signals[i]);
    }
    prctl(PR_SET_DUMPABLE, 0);        /* a filter that kills also dumps core */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left to end a child that hangs */
    sigprocmask(SIG_SETMASK, &mask, NULL);

    if (action == AMX_CHILD_GET) {
        report->step = AMX_STEP_GET;
        report->result = amx_arch_prctl_get(op, &value);
    } else {
        if (action != AMX_CHILD_REQUEST) {
            op = REQ_XCOMP_PERM;
            component = XFEATURE_XTILEDATA;
        }
        report->step = AMX_STEP_REQUEST;
        report->result = amx_arch_prctl(op, component);
        report->step = AMX_STEP_CONFIRM;
        amx_arch_prctl_get(op - 1, &value); /* uapi/asm/prctl.h numbers each REQ directly after its GET */
    }
    report->value = value;
    if (action == AMX_CHILD_TILEZERO || action == AMX_CHILD_TDPFP16PS)
        execute(action);
    report->step = AMX_STEP_DONE;
    _exit(0);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int reap(pid_t pid, int timeout_ms, int *status) {
    const int64_t deadline = now_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        const pid_t ended = waitpid(pid, status, __WALL | WNOHANG);
        if (ended == pid)
            return 0;
        if (ended < 0 && errno != EINTR)
            return -errno;
        if (now_ns() > deadline)
            break;
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, status, __WALL) < 0 && errno == EINTR) {
    }
    return -ETIMEDOUT;
}

int amx_probe_child(int action, int op, uint64_t component, int timeout_ms, struct amx_probe *probe) {
    volatile struct amx_probe *page =
        mmap(NULL, sizeof *probe, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    /* No handler of the caller may run in the child, not even before it has its own. */
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    const long pid = syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (pid == 0) {
        report = page;
        child(action, op, component);
    }
    int result = pid < 0 ? -errno : 0, status = 0;
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    if (result == 0)
        result = reap((pid_t)pid, timeout_ms, &status);
    *probe = *page;
    if (result == 0 && WIFSIGNALED(status))
        probe->signal = WTERMSIG(status);
    munmap((void *)page, sizeof *probe);
    return result;
}

#endif
