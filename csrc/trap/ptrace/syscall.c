/* System calls of a tracee that the model of the kernel answers, or has to know of. */
#include "machine/machine.h"
#include "trap/cpu/virtual_cpu.h"
#include "trap/host/address.h"
#include "machine/traced.h"
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

enum {
    ARCH_GET_XCOMP_SUPP = 0x1021,
    ARCH_REQ_XCOMP_GUEST_PERM = 0x1025,
    /* arch/x86/entry/syscalls/syscall_32.tbl */
    I386_MMAP = 90,
    I386_IPC = 117,
    I386_MREMAP = 163,
    I386_MMAP2 = 192,
    I386_SECCOMP = 354,
    I386_ARCH_PRCTL = 384,
    I386_SHMAT = 397,
    USER_CS_64 = 0x33,    /* __USER_CS */
    X32_BIT = 0x40000000, /* __X32_SYSCALL_BIT */
    /* SECCOMP_RET_DATA, of the two tables of system calls */
    NATIVE = 0xa3,
    I386 = 0xa4,
};

/* ---- the filter ---- */

#define FIELD(name)              BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define IF(test, value, yes, no) BPF_JUMP(BPF_JMP | BPF_##test | BPF_K, value, yes, no)
#define RETURN(value)            BPF_STMT(BPF_RET | BPF_K, value)

int tracer_install_filter(void) {
    /* The low half of an argument is the whole of what is looked at: option, signal, protection and flags are
     * ints. Distances are in instructions from the next one. */
    struct sock_filter filter[] = {
        /* 0 */ FIELD(arch),
        /* 1 */ IF(JEQ, AUDIT_ARCH_X86_64, 11, 0),
        /* 2 */ IF(JEQ, AUDIT_ARCH_I386, 0, 33),
        /* 3 */ FIELD(nr),
        /* 4 */ IF(JEQ, I386_ARCH_PRCTL, 6, 0),
        /* 5 */ IF(JEQ, I386_MMAP, 29, 0),
        /* 6 */ IF(JEQ, I386_MMAP2, 28, 0),
        /* 7 */ IF(JEQ, I386_MREMAP, 27, 0),
        /* 8 */ IF(JEQ, I386_IPC, 26, 0),
        /* 9 */ IF(JEQ, I386_SHMAT, 25, 0),
        /* 10 */ IF(JEQ, I386_SECCOMP, 24, 25),
        /* 11 */ FIELD(args[0]),
        /* 12 */ IF(JGE, ARCH_GET_XCOMP_SUPP, 21, 23),
        /* 13 */ FIELD(nr),
        /* 14 */ BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(unsigned)X32_BIT),
        /* 15 */ IF(JEQ, SYS_arch_prctl, 14, 0),
        /* 16 */ IF(JEQ, SYS_mmap, 6, 0),
        /* 17 */ IF(JEQ, SYS_rt_sigaction, 10, 0),
        /* 18 */ IF(JEQ, SYS_sigaltstack, 18, 0),
        /* 19 */ IF(JEQ, SYS_rt_sigreturn, 17, 0),
        /* 20 */ IF(JEQ, SYS_mremap, 16, 0),
        /* 21 */ IF(JEQ, SYS_shmat, 15, 0),
        /* 22 */ IF(JEQ, SYS_seccomp, 14, 13),
        /* 23 */ FIELD(args[3]),
        /* 24 */ IF(JSET, MAP_SHARED, 12, 0),
        /* 25 */ IF(JSET, MAP_ANONYMOUS, 10, 0),
        /* 26 */ FIELD(args[2]),
        /* 27 */ IF(JSET, PROT_EXEC, 9, 8),
        /* 28 */ FIELD(args[0]),
        /* 29 */ IF(JEQ, SIGILL, 7, 6),
        /* 30 */ FIELD(args[0]),
        /* 31 */ IF(JEQ, ARCH_AMX_IS_TRACED, 5, 0),
        /* 32 */ IF(JGE, ARCH_GET_XCOMP_SUPP, 0, 3),
        /* 33 */ IF(JGT, ARCH_REQ_XCOMP_GUEST_PERM, 2, 3),
        /* 34 */ IF(JGT, ARCH_REQ_XCOMP_GUEST_PERM, 1, 0),
        /* 35 */ RETURN(SECCOMP_RET_TRACE | I386),
        /* 36 */ RETURN(SECCOMP_RET_ALLOW),
        /* 37 */ RETURN(SECCOMP_RET_TRACE | NATIVE),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0)
        return 0;
    if (errno != EACCES)
        return -errno;
    /* Without CAP_SYS_ADMIN: set-user-ID programs would not get their user under a tracer either. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) != 0)
        return -errno;
    return 0;
}

/* ---- what the calls do ---- */

/* The tracee whose memory the model writes to. */
static _Thread_local pid_t asking;

static int put_user(uint64_t address, uint64_t value) {
    return tracer_write(asking, address, &value, sizeof value);
}

void tracer_machine(struct kernel_model_machine *machine) {
    uint64_t xcr0 = 0;
    amx_xgetbv(0, &xcr0);
    *machine = virtual_machine(xcr0, address_la57(), put_user);
}

/* The call is not made; this is its result. */
static void answer(const struct tracee *tracee, struct user_regs_struct *u, long result) {
    u->orig_rax = UINT64_MAX;
    u->rax = (uint64_t)result;
    ptrace(PTRACE_SETREGS, tracee->tid, NULL, u);
}

static void arch_prctl(struct tracer *tracer, const struct tracee *tracee, struct user_regs_struct *u, int op,
                       uint64_t argument) {
    if (op == ARCH_AMX_IS_TRACED)
        answer(tracee, u, 0);
    if (op < ARCH_GET_XCOMP_SUPP || op > ARCH_REQ_XCOMP_GUEST_PERM)
        return;
    tracer->counts.arch_prctl++;
    asking = tracee->tid;
    answer(tracee, u, kernel_model_arch_prctl(&tracee->process->model, op, argument));
}

/* The real one is set too, and may refuse what the model does not. */
static void sigaltstack_entry(struct tracee *tracee, struct user_regs_struct *u) {
    stack_t stack;
    if (!u->rdi || tracer_read(tracee->tid, u->rdi, &stack, sizeof stack) != sizeof stack)
        return;
    tracee->altstack_size = tracee->task.altstack_size;
    const uint64_t size = stack.ss_flags & SS_DISABLE ? 0 : stack.ss_size;
    const long result = kernel_model_altstack(&tracee->task, size);
    if (result)
        answer(tracee, u, result);
    else
        tracee->exit_of = SYS_sigaltstack;
}

static void rt_sigaction(const struct tracee *tracee, const struct user_regs_struct *u) {
    uint64_t action[sizeof tracee->process->sigill_handler / sizeof(uint64_t)];
    if (u->rdi != SIGILL || !u->rsi ||
        tracer_read(tracee->tid, u->rsi, action, sizeof action) != sizeof action)
        return;
    if (action[0] == (uintptr_t)SIG_IGN)
        action[0] = (uintptr_t)SIG_DFL;
    for (size_t i = 0; i < sizeof action / sizeof *action; i++)
        tracee->process->sigill_handler[i] = action[i];
}

static int maps_code(const struct user_regs_struct *u) {
    return (u->rdx & (PROT_WRITE | PROT_EXEC)) == PROT_EXEC && !(u->r10 & MAP_ANONYMOUS);
}

static void mapped_code(struct tracer *tracer, struct tracee *tracee, const struct user_regs_struct *u) {
    const struct tracer_mapping mapping = {u->rax, u->rsi, u->r9};
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)tracee->tid, (int)u->r8);
    tracer_new_code(tracer, tracee, &mapping, path);
}

/* By which shared memory can come to where code was, in either table of system calls: which of them is meant
 * is what a filter says, and one of the program's own may say it wrongly. */
static int may_map_shared(uint64_t number) {
    switch (number) {
    case SYS_mmap:
    case SYS_mremap:
    case SYS_shmat:
    case I386_MMAP:
    case I386_MMAP2:
    case I386_MREMAP:
    case I386_IPC:
    case I386_SHMAT:
        return 1;
    }
    return 0;
}

/* Who is asked by a filter, and lets a call go on, hides it from ours (seccomp(2), SECCOMP_RET_USER_NOTIF).
 * Without a program the call only asks what the kernel knows. */
static int has_listener(const struct user_regs_struct *u, uint64_t number) {
    const uint64_t flags = number == SYS_seccomp ? u->rsi : number == I386_SECCOMP ? u->rcx : 0;
    return flags & SECCOMP_FILTER_FLAG_NEW_LISTENER && u->rdx != 0;
}

void tracer_syscall_entry(struct tracer *tracer, struct tracee *tracee) {
    struct user_regs_struct u;
    unsigned long table = NATIVE;
    if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0)
        return;
    const uint64_t number = u.orig_rax & ~(uint64_t)X32_BIT;
    tracer->has_listener |= has_listener(&u, number);
    if (may_map_shared(number)) {
        tracee->maps = 1;
        tracee->exit_of = (long)number;
    }
    if (!tracer->every_syscall)
        ptrace(PTRACE_GETEVENTMSG, tracee->tid, NULL, &table);
    else if (u.cs != USER_CS_64)
        return;
    if (table == I386) {
        if (u.orig_rax == I386_ARCH_PRCTL)
            arch_prctl(tracer, tracee, &u, (int)u.rbx, (uint32_t)u.rcx);
        return;
    }
    switch (number) {
    case SYS_arch_prctl:
        arch_prctl(tracer, tracee, &u, (int)u.rdi, u.rsi);
        break;
    case SYS_sigaltstack:
        sigaltstack_entry(tracee, &u);
        break;
    case SYS_rt_sigreturn:
        tracer_leave_handler(tracee, u.rsp);
        break;
    case SYS_rt_sigaction:
        rt_sigaction(tracee, &u);
        break;
    }
}

/* Later ones that nobody may look into, as their files may not be read, run as they would without us. */
static void new_image(struct tracer *tracer, struct tracee *tracee) {
    const int error = tracer_new_image(tracer, tracee);
    if (error && !tracer->has_begun)
        tracer->error = error;
    else
        tracer->has_begun = 1;
}

void tracer_syscall_exit(struct tracer *tracer, struct tracee *tracee) {
    const long call = tracee->exit_of;
    struct user_regs_struct u;
    tracee->exit_of = -1;
    if (call < 0 || ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0)
        return;
    const int failed = u.rax > -UINT64_C(4096);
    if (call == SYS_execve)
        new_image(tracer, tracee);
    else if (call == SYS_sigaltstack && failed)
        tracee->task.altstack_size = tracee->altstack_size;
    else if (call == SYS_mmap && !failed && maps_code(&u))
        mapped_code(tracer, tracee, &u);
}
