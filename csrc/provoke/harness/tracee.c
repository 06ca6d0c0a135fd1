/* Children that are traced, and children that may not hang. */
#include "provoke/harness/tracee.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tools.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

static pid_t start(const struct kernel *k, void (*run)(const struct kernel *k, void *argument),
                   void *argument, int traced) {
    const pid_t pid = tool_fork(k);
    if (pid > 0)
        return pid;
    /* With a hard limit of 0 on core files a pipe of core_pattern would still get one. */
    if (!traced)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    const long denied = traced ? k->ptrace(PTRACE_TRACEME, 0, NULL, NULL) : 0;
    if (denied < 0)
        provoke_cannot("ptrace(PTRACE_TRACEME) is denied: errno %d", (int)-denied);
    run(k, argument);
    system_exit_group(0);
}

/* 1 when it stopped, 0 when it ended. A signal that it did not raise to stop is its own affair. */
static int follow(const struct kernel *k, pid_t pid) {
    int status = tool_wait(pid);
    while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSTOP) {
        k->ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)WSTOPSIG(status));
        status = tool_wait(pid);
    }
    if (WIFSTOPPED(status))
        return 1;
    see_ending("tracee", status);
    return 0;
}

/* ESRCH of a tracee that has stopped: it was killed. */
static void end_if_gone(pid_t pid, long result) {
    if (result != -ESRCH)
        return;
    see_ending("tracee", tool_wait(pid));
    provoke_end();
}

pid_t tracee_start(const struct kernel *k, void (*run)(const struct kernel *k, void *argument),
                   void *argument) {
    const pid_t pid = start(k, run, argument, 1);
    if (!follow(k, pid))
        provoke_end();
    k->ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL);
    return pid;
}

void tracee_stop(void) {
    tool_raise(SIGSTOP);
}

int tracee_resume(const struct kernel *k, pid_t pid) {
    const long error = k->ptrace(PTRACE_CONT, pid, NULL, NULL);
    end_if_gone(pid, error);
    if (error < 0)
        provoke_broken("ptrace(PTRACE_CONT): errno %d", (int)-error);
    return follow(k, pid);
}

static long regset(const struct kernel *k, long request, pid_t pid, void *area, size_t *length) {
    struct iovec vector = {area, *length};
    const long result = k->ptrace(request, pid, (void *)(uintptr_t)NT_X86_XSTATE, &vector);
    end_if_gone(pid, result);
    *length = vector.iov_len;
    return result;
}

long tracee_get(const struct kernel *k, pid_t pid, void *area, size_t *length) {
    return regset(k, PTRACE_GETREGSET, pid, area, length);
}

long tracee_set(const struct kernel *k, pid_t pid, const void *area, size_t *length) {
    union {
        const void *read;
        void *plain;
    } pointer = {area}; /* the kernel only reads it */
    return regset(k, PTRACE_SETREGSET, pid, pointer.plain, length);
}

int child_run(const struct kernel *k, void (*run)(const struct kernel *k, void *argument), void *argument,
              int milliseconds) {
    const pid_t pid = start(k, run, argument, 0);
    const struct timespec pause = {0, 5 * 1000 * 1000};
    int status;
    for (int waited = 0; waited < milliseconds; waited += 5) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        nanosleep(&pause, NULL);
    }
    kill(pid, SIGKILL);
    /* A kernel that loops in itself does not even let it die: do not wait for that. */
    for (int tries = 0; tries < 20 && waitpid(pid, &status, WNOHANG) != pid; tries++)
        nanosleep(&pause, NULL);
    return -1;
}
