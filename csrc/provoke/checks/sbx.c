/* Permission in sandboxes. */
#include "provoke/checks/checks.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Answers arch_prctl operations from `first` to `last` with `action`. */
static void filter(uint32_t first, uint32_t last, uint32_t action) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog code = {sizeof program / sizeof *program, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &code))
        provoke_cannot("a seccomp filter cannot be installed: %s", strerror(errno));
}

static void on_trap(int signo, siginfo_t *info, void *context) {
    (void)signo;
    see_signal("trapped", info, context);
}

static void sbx_01(const struct kernel *k) {
    static const struct {
        const char *name, *ending;
        uint32_t action;
    } filters[] = {
        {"EPERM", "EPERM ended", SECCOMP_RET_ERRNO | EPERM},
        {"ENOSYS", "ENOSYS ended", SECCOMP_RET_ERRNO | ENOSYS},
        {"trap", "trap ended", SECCOMP_RET_TRAP},
        {"kill", "kill ended", SECCOMP_RET_KILL},
        {"lie", "lie ended", SECCOMP_RET_ERRNO | 0},
    };
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        const pid_t child = tool_fork(k);
        if (child == 0) {
            uint64_t permission = 0;
            prctl(PR_SET_DUMPABLE, 0);
            tool_handle(SIGSYS, on_trap, 0);
            filter(ARCH_REQ_XCOMP_PERM, ARCH_REQ_XCOMP_PERM, filters[i].action);
            const long result = k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
            const long read = k->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission);
            see_ints(filters[i].name, (int64_t[]){result, read, (int64_t)permission}, 3);
            _exit(0);
        }
        see_ending(filters[i].ending, tool_wait(child));
    }
}

static void sbx_02(const struct kernel *k) {
    tool_request(k);
    tool_drop_privilege();
    filter(ARCH_GET_XCOMP_SUPP, ARCH_REQ_XCOMP_GUEST_PERM, SECCOMP_RET_KILL_PROCESS);
    see_int("user", geteuid());
    tool_see_touch(k, "touch");
}

const struct provocation provoke_sbx[] = {
    {"SBX-01", "requests under seccomp filters that refuse, trap, kill and lie", sbx_01, 1},
    {"SBX-02", "tiles after a seccomp filter and the loss of privilege", sbx_02, 0},
    {0},
};
