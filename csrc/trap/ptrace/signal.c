/* Signals of a tracee: which are AMX's, and how a modelled fault becomes one. */
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

/* In the kernel's half: fetching from there is SIGSEGV. */
#define NOWHERE UINT64_C(0xffff800000000000)

static void write_rip(pid_t tid, uint64_t rip) {
    ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, regs.rip), rip);
}

static uint64_t read_rip(pid_t tid) {
    return (uint64_t)ptrace(PTRACE_PEEKUSER, tid, offsetof(struct user, regs.rip), NULL);
}

/* The kernel forces the signal of a fault on a thread that blocks or ignores it; what a tracer injects is
 * queued or dropped instead. */
static int is_refused(pid_t tid, int signal) {
    const uint64_t bit = UINT64_C(1) << (signal - 1);
    return ((tracer_proc_status(tid, "SigBlk", 16, 0) | tracer_proc_status(tid, "SigIgn", 16, 0)) & bit) != 0;
}

static int deliver(struct tracee *tracee, const struct trap_fault *fault) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = fault->signal;
    info.si_code = fault->code;
    info.si_addr = (void *)(uintptr_t)fault->address;
    if (ptrace(PTRACE_SETSIGINFO, tracee->tid, NULL, &info) != 0)
        return SIGKILL; /* it is no more */
    return fault->signal;
}

/* The signal that the stopped tracee goes on with. Of a refused one the kernel is made to force a SIGSEGV,
 * which then is given the modelled siginfo. */
static int raise_fault(struct tracee *tracee, const struct trap_fault *fault, int stopped_by) {
    if (fault->signal == stopped_by || !is_refused(tracee->tid, fault->signal))
        return deliver(tracee, fault);
    tracee->fault = *fault;
    tracee->fault_rip = read_rip(tracee->tid);
    write_rip(tracee->tid, NOWHERE);
    return 0;
}

/* The forced stop, or another signal that came before it; after its handler the instruction is executed
 * again. */
static int raise_refused(struct tracee *tracee, int signal) {
    struct trap_fault fault = tracee->fault;
    tracee->fault.signal = 0;
    write_rip(tracee->tid, tracee->fault_rip);
    if (signal != SIGSEGV)
        return signal;
    fault.signal = SIGSEGV;
    return deliver(tracee, &fault);
}

/* A SIGILL that is blocked loses its handler before the tracer hears of it (force_sig_info_to_task). It stays
 * unblocked, so that this happens once. */
static int restore_handler(struct tracee *tracee) {
    const uint64_t bit = UINT64_C(1) << (SIGILL - 1);
    const uint64_t *const action = tracee->process->sigill_handler;
    enum { RED_ZONE = 128, SIGSET_SIZE = 8 };
    struct user_regs_struct u;
    uint8_t saved[sizeof tracee->process->sigill_handler];
    if (!action[0] || tracer_proc_status(tracee->tid, "SigCgt", 16, bit) & bit ||
        ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0)
        return 0;
    const uint64_t at = (u.rsp - RED_ZONE - sizeof saved) & -UINT64_C(16);
    if (tracer_read(tracee->tid, at, saved, sizeof saved) != sizeof saved ||
        tracer_write(tracee->tid, at, action, sizeof saved) != 0)
        return -EFAULT;
    const long result = tracer_inject(tracee, SYS_rt_sigaction, (uint64_t[5]){SIGILL, at, 0, SIGSET_SIZE});
    if (result == -ESRCH)
        return 0;
    return tracer_write(tracee->tid, at, saved, sizeof saved) != 0 ? -EFAULT : (int)result;
}

static int is_insn(const siginfo_t *info) {
    switch (info->si_signo) {
    case SIGILL:
        return info->si_code > 0;
    case SIGSEGV: /* #GP of a faulting CPUID */
    case SIGTRAP: /* INT3 */
        return info->si_code == SI_KERNEL;
    default:
        return 0;
    }
}

int tracer_signal(struct tracer *tracer, struct tracee *tracee, int signal) {
    siginfo_t info;
    struct trap_fault fault;
    if (tracee->fault.signal)
        return raise_refused(tracee, signal);
    if (ptrace(PTRACE_GETSIGINFO, tracee->tid, NULL, &info) != 0 || !is_insn(&info))
        return signal;
    uint64_t address = read_rip(tracee->tid);
    const struct tracer_site *site = NULL;
    if (signal == SIGTRAP) {
        site = tracer_site_at(tracee->process, --address);
        if (!site)
            return signal;
    }
    const int served = tracer_execute(tracer, tracee, address, site, &fault);
    if (served < 0 && served != -ESRCH) /* else it is no more */
        tracer->error = served;
    if (served <= 0)
        return signal;
    if (fault.signal)
        return raise_fault(tracee, &fault, signal);
    const int error = signal == SIGILL ? restore_handler(tracee) : 0;
    if (error)
        tracer->error = error; /* the program would go on without its handler */
    return 0;
}
