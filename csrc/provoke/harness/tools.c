/* What many provocations do to processes, signals and memory, and ask of the machine first. */
#define _GNU_SOURCE /* REG_RIP, __WALL */
#include "provoke/harness/tools.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"

#include <errno.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

pid_t tool_made(pid_t pid) {
    if (pid < 0)
        provoke_cannot("no child process can be made here: %s", strerror(-pid));
    return pid;
}

pid_t tool_fork(const struct kernel *k) {
    const long parent = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    const pid_t pid = tool_made(k->fork());
    if (pid == 0)
        system_die_with(parent);
    return pid;
}

uint64_t tool_thread(const struct kernel *k, void *(*run)(void *), void *argument) {
    uint64_t thread;
    const int error = k->thread_start(&thread, run, argument);
    if (error)
        provoke_cannot("no thread can be made here: %s", strerror(error));
    return thread;
}

void tool_drop_privilege(void) {
    enum { NOBODY = 65534 };
    const long parent = system_call(SYS_getppid, 0, 0, 0, 0, 0, 0);
    if (geteuid() != 0)
        return;
    if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
        provoke_cannot("cannot become user %d: %s", NOBODY, strerror(errno));
    system_die_with(parent); /* which the change of user has ended */
}

int tool_wait(pid_t child) {
    int status;
    while (waitpid(child, &status, __WALL) < 0)
        if (errno != EINTR)
            provoke_cannot("a child cannot be waited for here: %s", strerror(errno));
    /* It has said so itself, and its parent is no better off. */
    if (WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_CANNOT || WEXITSTATUS(status) == EXIT_BROKEN))
        system_exit_group(WEXITSTATUS(status));
    return status;
}

void tool_handle(int signo, void (*handler)(int, siginfo_t *, void *), int on_altstack) {
    struct sigaction action = {.sa_sigaction = handler};
    action.sa_flags = SA_SIGINFO | (on_altstack ? SA_ONSTACK : 0);
    if (sigaction(signo, &action, NULL))
        provoke_broken("sigaction(%d): %s", signo, strerror(errno));
}

static _Thread_local struct {
    sigjmp_buf back;
    siginfo_t info;
} caught;

static void on_caught(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)context;
    caught.info = *info;
    siglongjmp(caught.back, 1);
}

int tool_catch(void (*action)(const struct kernel *), const struct kernel *k, siginfo_t *info) {
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
    enum { SIGNALS = sizeof signals / sizeof *signals };
    struct sigaction previous[SIGNALS];
    struct sigaction ours = {.sa_sigaction = on_caught, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &ours, &previous[i]);
    const int raised = sigsetjmp(caught.back, 1);
    if (!raised)
        action(k);
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &previous[i], NULL);
    if (!raised)
        return 0;
    *info = caught.info;
    return caught.info.si_signo;
}

void tool_raise(int signo) {
    const long process = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    const long thread = system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    const long error = system_call(SYS_tgkill, process, thread, signo, 0, 0, 0);
    if (error)
        provoke_cannot("a thread may not send itself a signal here: %s", strerror((int)-error));
}

size_t tool_insn_length(enum insn insn) {
    return insn == INSN_TILELOADD || insn == INSN_TILESTORED ? 6 : 5;
}

void tool_skip(void *ucontext, enum insn insn) {
    ((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP] += (greg_t)tool_insn_length(insn);
}

void tool_need_tiles(const struct kernel *k) {
    enum { CPUID_7_EDX_AMX_TILE = 1 << 24 };
    const uint64_t tiles = XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA;
    uint32_t registers[4];
    k->cpuid(7, 0, registers);
    if (!(registers[3] & CPUID_7_EDX_AMX_TILE))
        provoke_cannot("the CPU has no AMX (CPUID.7.0:EDX[24] is 0)");
    if ((k->xcr0() & tiles) != tiles)
        provoke_cannot("the operating system has not enabled the tile state (XCR0 is %#llx)",
                       (unsigned long long)k->xcr0());
}

void tool_need_xcr0(const struct kernel *k) {
    if (!k->xcr0())
        provoke_cannot("the CPU has no XSAVE, or the operating system has not enabled it (OSXSAVE is clear)");
}

void tool_need_xsave(const struct kernel *k) {
    uint32_t registers[4];
    tool_need_xcr0(k);
    k->cpuid(0xd, 0, registers);
    if (!registers[1]) /* XCR0 is of a CPU that is emulated on one without XSAVE */
        provoke_cannot("the CPU has no XSAVE (CPUID.D.0:EBX is 0)");
}

void tool_need_xinuse(const struct kernel *k) {
    enum { CPUID_D_1_EAX_XGETBV1 = 1 << 2 };
    uint32_t registers[4];
    k->cpuid(0xd, 1, registers);
    if (!(registers[0] & CPUID_D_1_EAX_XGETBV1))
        provoke_cannot("XINUSE cannot be read: the CPU has no XGETBV with ECX = 1 (CPUID.D.1:EAX[2] is 0)");
}

void tool_answered(const char *operation, long result) {
    if (result)
        provoke_cannot("%s: %s%s", operation, strerror((int)-result),
                       result == -EINVAL ? " (a kernel before 5.16, or a sandbox in its place)" : "");
}

uint64_t tool_permission(const struct kernel *k) {
    uint64_t permission = 0; /* a seccomp filter may answer in the kernel's place and write nothing */
    tool_answered("ARCH_GET_XCOMP_PERM", k->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission));
    return permission;
}

void tool_request(const struct kernel *k) {
    tool_need_tiles(k);
    const long error = k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    if (error)
        provoke_cannot("ARCH_REQ_XCOMP_PERM(18): %s", strerror((int)-error));
    if (!(tool_permission(k) & XFEATURE_MASK_XTILEDATA))
        provoke_cannot("ARCH_REQ_XCOMP_PERM(18) gave 0 but no permission");
}

uint64_t tool_minsigstksz(const struct kernel *k) {
    const uint64_t size = k->auxv(AT_MINSIGSTKSZ_TYPE);
    if (!size)
        provoke_cannot("the auxiliary vector has no AT_MINSIGSTKSZ (kernel before 5.14)");
    return size;
}

void tool_touch(const struct kernel *k) {
    uint8_t config[64];
    tiles_config(config, 16, 64);
    k->ldtilecfg(config);
    k->tilezero();
}

void tool_see_touch(const struct kernel *k, const char *key) {
    siginfo_t info;
    see_int(key, tool_catch(tool_touch, k, &info));
}

void tool_await(const _Atomic int *flag) {
    while (!*flag)
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000}, NULL);
}

static void *map(size_t size, int flags) {
    void *const pages = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        provoke_cannot("no %zu bytes of memory can be had here: %s", size, strerror(errno));
    return pages;
}

void *tool_map(size_t size) {
    return map(size, MAP_PRIVATE);
}

void *tool_map_shared(size_t size) {
    return map(size, MAP_SHARED);
}
