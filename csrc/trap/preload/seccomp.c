#define _GNU_SOURCE
#include "trap/preload/seccomp.h"

#include "trap/answers/answers.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW /* Linux 4.17: no slower speculation for the filter's sake */
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

enum { ARCH_GET_XCOMP_SUPP = 0x1021, ARCH_REQ_XCOMP_GUEST_PERM = 0x1025 };

static uint64_t answered(void) {
    return trap_answers.arch_prctl;
}

static int traps_already(void) {
    const uint64_t before = answered();
    uint64_t ignored;
    syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &ignored);
    if (answered() == before)
        return 0;
    trap_answers.arch_prctl = before;
    return 1;
}

/* The option is an int: the kernel ignores the argument's upper half (docs/abi.md). */
static int install(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ARCH_GET_XCOMP_SUPP, 0, 1),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, ARCH_REQ_XCOMP_GUEST_PERM, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) != 0)
        return -errno;
    return 0;
}

int seccomp_start(void) {
    if (traps_already())
        return 0;
    const int error = install();
    if (error)
        return error;
    return traps_already() ? 0 : -ENOTSUP;
}
