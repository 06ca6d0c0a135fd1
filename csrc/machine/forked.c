/* See forked.h. */
#include "forked.h"

#if !AMX_STUBS

#include "machine/stand_in.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLL_NS = 200 * 1000 };

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

void machine_die_with(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const pid_t now = getppid();
    if (now > 0 && now != parent)
        kill(getpid(), SIGKILL);
}

static void prepare(void) {
    struct sigaction caught = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    const struct machine_stand_in *const stand_in = machine_stand_in();
    sigset_t mask;
    sigfillset(&mask);
    for (int i = 0; i < CAUGHT_SIGNALS; i++) {
        if (stand_in) /* the emulation's handler stays, and gets to see it first */
            stand_in->sigaction(caught_signals[i], &caught, NULL);
        else
            sigaction(caught_signals[i], &caught, NULL);
        sigdelset(&mask, caught_signals[i]);
    }
    sigdelset(&mask, SIGTRAP);     /* of the emulation's own breakpoints */
    if (!amx_is_traced())          /* a tracer without privileges could not look into it */
        prctl(PR_SET_DUMPABLE, 0); /* a filter that kills also dumps core */
    sigprocmask(SIG_SETMASK, &mask, NULL);
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

int machine_forked(void (*body)(volatile struct amx_probe *, const void *), const void *argument,
                   int timeout_ms, struct amx_probe *probe) {
    volatile struct amx_probe *page =
        mmap(NULL, sizeof *probe, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -errno;
    /* No handler of the caller may run in the child, not even before it has its own. */
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    const pid_t parent = getpid();
    const long pid = syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (pid == 0) {
        machine_die_with(parent); /* nobody is left to end a child that hangs */
        report = page;
        prepare();
        body(page, argument);
        page->step = AMX_STEP_DONE;
        _exit(0);
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
