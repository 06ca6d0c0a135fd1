/* The tracer's loop: which stop a tracee is in, and how it goes on (ptrace(2), "Stopped states"). */
#define _GNU_SOURCE /* TRAP_TRACE */
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <linux/sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SYSCALL_STOP = SIGTRAP | 0x80 /* PTRACE_O_TRACESYSGOOD */ };

static void resume(const struct tracer *tracer, const struct tracee *tracee, int signal) {
    const int syscalls = tracer->every_syscall || tracee->exit_of >= 0;
    ptrace(syscalls ? PTRACE_SYSCALL : PTRACE_CONT, tracee->tid, NULL, (void *)(uintptr_t)signal);
}

/* Nothing can be computed right any more. */
static void kill_all(struct tracer *tracer, int error) {
    tracer->error = error;
    for (const struct tracee *tracee = tracer->tracees; tracee; tracee = tracee->next)
        kill(tracee->tid, SIGKILL);
}

/* ---- beginnings ---- */

static void mask_first(struct tracer *tracer) {
    ptrace(PTRACE_SETSIGMASK, tracer->first, (void *)(NSIG / 8), &tracer->mask);
}

static void begin_first(struct tracer *tracer) {
    struct tracee *const tracee = tracer_add(tracer, tracer->first);
    if (!tracee || tracer_begin(tracer, tracee) != 0) {
        kill(tracer->first, SIGKILL);
        tracer->error = -ENOMEM;
        return;
    }
    mask_first(tracer);
    tracee->in_syscall = 1;
    tracee->exit_of = SYS_execve;
    resume(tracer, tracee, 0);
}

/* execve's own stops are the exit of the call, where the new image can be changed and made to run. */
static void exec(struct tracer *tracer, struct tracee *tracee) {
    if (tracer_exec(tracer, tracee) != 0)
        return kill_all(tracer, -ENOMEM);
    tracee->in_syscall = 1;
    tracee->exit_of = SYS_execve;
    resume(tracer, tracee, 0);
}

static uint64_t clone_flags(pid_t tid, int event) {
    struct user_regs_struct u;
    uint64_t flags = 0;
    if (event == PTRACE_EVENT_VFORK)
        return CLONE_VM | CLONE_VFORK;
    if (event == PTRACE_EVENT_FORK || ptrace(PTRACE_GETREGS, tid, NULL, &u) != 0)
        return 0;
    if (u.orig_rax == SYS_clone)
        return u.rdi;
    if (u.orig_rax == SYS_clone3) /* struct clone_args begins with them */
        tracer_read(tid, u.rdi, &flags, sizeof flags);
    return flags;
}

/* An id means a thread of a process where a signal can be sent to it as such. */
static int is_thread_of(pid_t tgid, pid_t tid) {
    return syscall(SYS_tgkill, tgid, tid, 0) == 0;
}

/* The creator's stop; the new one's own first stop may have come before. */
static void born(struct tracer *tracer, struct tracee *creator, int event) {
    unsigned long tid = 0;
    if (ptrace(PTRACE_GETEVENTMSG, creator->tid, NULL, &tid) != 0 || tid == 0) /* killed meanwhile */
        return resume(tracer, creator, 0);
    struct tracee *child = tracer_find(tracer, (pid_t)tid);
    const int waits = child != NULL;
    if (child && child->process) /* it was taken for an orphan */
        return resume(tracer, creator, 0);
    if (!child && kill((pid_t)tid, 0) != 0) /* and ended again */
        return resume(tracer, creator, 0);
    if (!child)
        child = tracer_add(tracer, (pid_t)tid);
    const int is_thread = is_thread_of(creator->process->tgid, (pid_t)tid);
    const int keeps_altstack = (clone_flags(creator->tid, event) & (CLONE_VM | CLONE_VFORK)) != CLONE_VM;
    if (!child || tracer_inherit(creator, child, is_thread, keeps_altstack) != 0)
        return kill_all(tracer, -ENOMEM);
    if (waits)
        resume(tracer, child, 0);
    resume(tracer, creator, 0);
}

/* ---- those whose creator was killed before it could tell ---- */

static const struct tracee *thread_of(const struct tracer *tracer, pid_t tgid) {
    for (const struct tracee *tracee = tracer->tracees; tracee; tracee = tracee->next)
        if (tracee->process && tracee->process->tgid == tgid)
            return tracee;
    return NULL;
}

/* By any of its threads: the first may have ended before the others. */
static int has_memory(const struct tracer *tracer, const struct tracer_process *process) {
    for (const struct tracee *tracee = tracer->tracees; tracee; tracee = tracee->next)
        if (tracee->process == process && tracer_proc_status(tracee->tid, "VmSize", 10, 0) != 0)
            return 1;
    return 0;
}

/* One that has ended, has no memory any more, and whose end is still to be reported. */
static pid_t ended_process(const struct tracer *tracer) {
    for (const struct tracee *tracee = tracer->tracees; tracee; tracee = tracee->next)
        if (tracee->process && !has_memory(tracer, tracee->process))
            return tracee->process->tgid;
    return 0;
}

/* A process whose creator nobody knows is as after execve. */
static void wait_for_creator(struct tracer *tracer, struct tracee *tracee) {
    const pid_t tid = tracee->tid, tgid = (pid_t)tracer_proc_status(tid, "Tgid", 10, (uint64_t)tid);
    const pid_t parent = tgid == tid ? (pid_t)tracer_proc_status(tid, "PPid", 10, 0) : tgid;
    tracee->creator = thread_of(tracer, parent) ? parent : ended_process(tracer);
    if (!tracee->creator && parent != getpid()) { /* which is that of what CLONE_PARENT makes, too */
        if (tracer_begin(tracer, tracee) != 0)
            return kill_all(tracer, -ENOMEM);
        resume(tracer, tracee, 0);
    }
}

/* Those who wait for it never hear of it again: the end of a process is that of its last thread. */
static void adopt_children(struct tracer *tracer, const struct tracee *gone) {
    const pid_t ended = gone->process && gone->process->threads == 1 ? gone->process->tgid : 0;
    for (struct tracee *tracee = tracer->tracees; tracee; tracee = tracee->next) {
        if (tracee->process || (tracee->creator && tracee->creator != ended))
            continue;
        if ((tracee->creator ? tracer_inherit(gone, tracee, 0, 1) : tracer_begin(tracer, tracee)) != 0)
            return kill_all(tracer, -ENOMEM);
        resume(tracer, tracee, 0);
    }
}

/* ---- stops and ends ---- */

static void first_stop(struct tracer *tracer, pid_t tid) {
    struct tracee *const tracee = tracer_add(tracer, tid);
    if (!tracee) {
        kill(tid, SIGKILL);
        return kill_all(tracer, -ENOMEM);
    }
    wait_for_creator(tracer, tracee);
}

static void syscall_stop(struct tracer *tracer, struct tracee *tracee) {
    tracee->in_syscall = !tracee->in_syscall;
    if (tracee->exit_of >= 0 && !tracer->every_syscall)
        tracee->in_syscall = 0; /* its entry was the filter's stop */
    if (tracee->in_syscall)
        tracer_syscall_entry(tracer, tracee);
    else
        tracer_syscall_exit(tracer, tracee);
    if (tracer->error)
        return kill_all(tracer, tracer->error);
    resume(tracer, tracee, 0);
}

/* Resumed by PTRACE_SINGLESTEP with a signal, it stops as soon as the frame stands (signal_setup_done()), or
 * behind one instruction when there is no handler any more. */
static int enters_handler(struct tracer *tracer, struct tracee *tracee, int signal) {
    siginfo_t info;
    if (!tracee->enters_handler)
        return 0;
    tracee->enters_handler = 0;
    if (signal != SIGTRAP || ptrace(PTRACE_GETSIGINFO, tracee->tid, NULL, &info) != 0)
        return 0;
    if (info.si_code == SIGTRAP && !tracer_enter_handler(tracee))
        kill_all(tracer, -ENOMEM);
    return info.si_code == SIGTRAP || info.si_code == TRAP_TRACE;
}

static int is_stopping(int signal) {
    return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static void stopped(struct tracer *tracer, struct tracee *tracee, int signal, int event) {
    switch (event) {
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        return born(tracer, tracee, event);
    case PTRACE_EVENT_EXEC:
        return exec(tracer, tracee);
    case PTRACE_EVENT_SECCOMP:
        tracer_syscall_entry(tracer, tracee);
        return resume(tracer, tracee, 0);
    case PTRACE_EVENT_STOP:
        if (is_stopping(signal)) { /* a group-stop, which SIGCONT ends */
            ptrace(PTRACE_LISTEN, tracee->tid, NULL, NULL);
            return;
        }
        return resume(tracer, tracee, 0);
    }
    if (signal == SYSCALL_STOP)
        return syscall_stop(tracer, tracee);
    if (enters_handler(tracer, tracee, signal))
        return resume(tracer, tracee, 0);
    signal = tracer_signal(tracer, tracee, signal);
    if (tracer->error)
        return kill_all(tracer, tracer->error);
    if (signal && tracer_wants_frame(tracee, signal)) {
        tracee->enters_handler = 1;
        ptrace(PTRACE_SINGLESTEP, tracee->tid, NULL, (void *)(uintptr_t)signal);
        return;
    }
    resume(tracer, tracee, signal);
}

static void ended(struct tracer *tracer, pid_t tid, int status) {
    struct tracee *const gone = tracer_find(tracer, tid);
    if (tid == tracer->first) {
        tracer->status = status;
        tracer->first = 0;
    }
    if (!gone)
        return;
    adopt_children(tracer, gone);
    tracer_remove(tracer, gone);
}

void tracer_serve(struct tracer *tracer) {
    int status;
    pid_t tid;
    tracer_machine(&tracer->machine);
    begin_first(tracer);
    while ((tid = tracer_next_event(tracer, &status)) > 0) {
        if (!WIFSTOPPED(status)) {
            ended(tracer, tid, status);
            continue;
        }
        struct tracee *const tracee = tracer_find(tracer, tid);
        if (tracer->error)
            kill(tid, SIGKILL);
        else if (!tracee)
            first_stop(tracer, tid);
        else
            stopped(tracer, tracee, WSTOPSIG(status), status >> 16);
    }
    tracer_forget_images(tracer);
}
