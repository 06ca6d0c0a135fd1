/* System calls that a tracee makes for the tracer, by a syscall instruction of its vDSO. */
#include "trap/ptrace/ptrace.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

enum { VDSO_SIZE = 8192, SYSCALL_STOP = SIGTRAP | 0x80 };

/* AT_SYSINFO_EHDR; 0: there is no vDSO. */
static uint64_t vdso_address(pid_t tid) {
    char path[32];
    uint64_t pair[2], address = 0;
    snprintf(path, sizeof path, "/proc/%d/auxv", (int)tid);
    FILE *const auxv = fopen(path, "re");
    while (auxv && !address && fread(pair, sizeof pair, 1, auxv) == 1)
        if (pair[0] == AT_SYSINFO_EHDR)
            address = pair[1];
    if (auxv)
        fclose(auxv);
    return address;
}

/* Of any that is not in the middle of anything: what follows it is never executed. */
static uint64_t syscall_insn(pid_t tid) {
    uint8_t code[VDSO_SIZE];
    const uint64_t vdso = vdso_address(tid);
    const size_t size = vdso ? tracer_read(tid, vdso, code, sizeof code) : 0;
    for (size_t i = 0; i + 1 < size; i++)
        if (code[i] == 0x0f && code[i + 1] == 0x05)
            return vdso + i;
    return 0;
}

/* Runs to the next stop. Its end is left for the tracer's loop to see. */
static int run_to_stop(pid_t tid, int *stop) {
    siginfo_t info;
    int status;
    if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) != 0 ||
        waitid(P_PID, (id_t)tid, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) != 0 ||
        info.si_code != CLD_TRAPPED || waitpid(tid, &status, __WALL) != tid)
        return -ESRCH;
    *stop = WSTOPSIG(status) | (status >> 16) << 8;
    return 0;
}

/* What was taken for a system call is none, as the tracee has told a wrong vDSO: its memory is anybody's. */
static int is_fault(int stop) {
    return stop == SIGSEGV || stop == SIGBUS || stop == SIGILL || stop == SIGFPE || stop == SIGTRAP;
}

/* Others may come first: the filter's, and that of a SIGSTOP, which nothing blocks. */
static long call(pid_t tid) {
    enum { STOPS_MOST = 64 };
    struct user_regs_struct after;
    int of_syscall = 0;
    for (int stops = 0; of_syscall < 2; stops++) { /* entry and exit */
        int stop;
        if (run_to_stop(tid, &stop) != 0)
            return -ESRCH;
        if (is_fault(stop) || stops == STOPS_MOST)
            return -ENOSYS;
        of_syscall += stop == SYSCALL_STOP;
    }
    return ptrace(PTRACE_GETREGS, tid, NULL, &after) == 0 ? (long)after.rax : -ESRCH;
}

long tracer_inject(struct tracee *tracee, long number, const uint64_t arguments[5]) {
    const pid_t tid = tracee->tid;
    const uint64_t at = syscall_insn(tid), all = UINT64_MAX;
    struct user_regs_struct saved, u;
    uint64_t mask;
    if (!at)
        return -ENOSYS;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &saved) != 0 ||
        ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof mask, &mask) != 0 ||
        ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof all, &all) != 0)
        return -ESRCH;
    u = saved;
    u.rip = at;
    u.rax = (uint64_t)number;
    u.orig_rax = UINT64_MAX; /* no system call is there to be restarted */
    u.rdi = arguments[0], u.rsi = arguments[1], u.rdx = arguments[2], u.r10 = arguments[3];
    u.r8 = arguments[4];
    ptrace(PTRACE_SETREGS, tid, NULL, &u);
    const long result = call(tid);
    ptrace(PTRACE_SETREGS, tid, NULL, &saved);
    ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof mask, &mask);
    return result;
}
