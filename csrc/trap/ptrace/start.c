/* A program that is traced from its first instruction on.
 *
 * The child waits to be seized, so that PTRACE_SEIZE's stops and PTRACE_O_EXITKILL hold before anything of
 * the program runs. It keeps all signals blocked until the tracer unblocks them in the new image: a stop that
 * nobody waits for cannot come about.
 */
#define _GNU_SOURCE /* pipe2, process_vm_readv */
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child says. */
struct report {
    enum { READY, NO_FILTER, NO_IMAGE } what;
    int error; /* -errno; of READY, that memory is to be reached by file */
};

/* Python ignores SIGPIPE and SIGXFSZ for itself alone. Other ignored signals are inherited. */
static void restore_dispositions(void) {
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) != 0 || action.sa_handler == SIG_DFL)
            continue;
        if (action.sa_handler == SIG_IGN && number != SIGPIPE && number != SIGXFSZ)
            continue;
        sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    }
}

static void say(int reports, int what, int error) {
    const struct report report = {what, error};
    if (write(reports, &report, sizeof report) != sizeof report)
        _exit(1); /* the tracer ended */
}

/* Whether process_vm_readv and writev work here, under the filter that the tracer is under, too. In a child,
 * as the filter may kill. */
static int has_vm_calls(void) {
    int status;
    const pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, 0); /* also where SIGCHLD is ignored */
    if (pid == 0) {
        char from = 1, to = 0;
        const struct iovec local = {&to, 1}, remote = {&from, 1};
        const int can_read = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 && to == 1;
        to = 2;
        _exit(can_read && process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 1 && from == 2 ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, __WALL) == pid && status == 0;
}

/* In the child: only what is async-signal-safe. */
static _Noreturn void run(const char *path, char *const argv[], char *const envp[], int go, int reports) {
    char seized;
    /* A launcher that changed its user is not dumpable, and may be traced by nobody. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    restore_dispositions();
    say(reports, READY, has_vm_calls() ? 0 : -ENOSYS);
    if (read(go, &seized, 1) != 1)
        _exit(1);
    const int error = tracer_install_filter();
    if (error)
        say(reports, NO_FILTER, error);
    execve(path, argv, envp);
    say(reports, NO_IMAGE, -errno);
    _exit(1);
}

/* Until the program is there, or has failed to be: pid; 0 where a signal killed it, as the kernel does when
 * the old image is gone already (fs/exec.c, bprm_execve()); -ECHILD unless it says more. */
static pid_t wait_for_image(pid_t pid, struct tracer *tracer) {
    int status = 0;
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
        const int event = status >> 16;
        if (event == PTRACE_EVENT_EXEC)
            return pid;
        /* All others are blocked, so this one is forced: without it the same would happen again, for ever. */
        const int signal = event == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80) ? WSTOPSIG(status) : 0;
        ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)signal);
    }
    if (!WIFSIGNALED(status))
        return -ECHILD;
    tracer->status = status;
    return 0;
}

static pid_t started(pid_t pid, int go, int reports, struct tracer *tracer) {
    const uintptr_t options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                              PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD |
                              PTRACE_O_EXITKILL;
    struct report report;
    if (read(reports, &report, sizeof report) != sizeof report) {
        waitpid(pid, NULL, __WALL);
        return -ECHILD;
    }
    if (report.error)
        tracer_reach_by_file();
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)options) != 0) {
        const int error = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
        return error;
    }
    pid_t result = write(go, "", 1) == 1 ? wait_for_image(pid, tracer) : -errno;
    while (read(reports, &report, sizeof report) == sizeof report) {
        if (report.what == NO_FILTER)
            tracer->every_syscall = 1;
        else
            result = report.error;
    }
    return result;
}

pid_t tracer_start(const char *path, char *const argv[], char *const envp[], struct tracer *tracer) {
    int go[2], reports[2];
    if (pipe2(go, O_CLOEXEC) != 0)
        return -errno;
    if (pipe2(reports, O_CLOEXEC) != 0) {
        const int error = -errno;
        close(go[0]), close(go[1]);
        return error;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        run(path, argv, envp, go[0], reports[1]);
    }
    const int error = -errno;
    close(go[0]), close(reports[1]);
    pid = pid > 0 ? started(pid, go[1], reports[0], tracer) : error;
    close(go[1]), close(reports[0]);
    return pid;
}
