/* What an emulator of AMX would use on this machine, each tried in a forked child rather than believed. */
#define _GNU_SOURCE /* syscall */
#include "machine/machine.h"

#include <errno.h>

#if AMX_STUBS

int amx_probe_means(int means, int timeout_ms, struct amx_probe *probe) {
    (void)means, (void)timeout_ms, (void)probe;
    return -ENOSYS;
}

#else

#include "forked.h"
#include "insn.h"
#include "proc.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h> /* struct iovec */
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ARCH_SET_CPUID = 0x1012,
    ARCH_GET_XCOMP_SUPP = 0x1021,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 5,          /* uapi/linux/membarrier.h */
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 6, /* since Linux 4.16 */
    PAGE = 4096,
};

typedef volatile struct amx_probe report_t;

static int result_of(long returned) {
    return returned == -1 ? -errno : 0;
}

/* Configuration, then data, without a request. On a CPU without AMX the first raises #UD. */
static void tiles_trap(report_t *report) {
    const uint8_t config[64] = {[0] = 1, [16] = 4, [48] = 1};
    report->step = AMX_STEP_LDTILECFG;
    AMX_LDTILECFG(config);
    report->step = AMX_STEP_TILEZERO;
    AMX_TILEZERO(0);
}

/* Works where the child then ends by SIGSEGV: the flag cpuid_fault promises it, and some hypervisors keep
 * that promise badly. */
static void cpuid_faults(report_t *report) {
    uint32_t registers[4];
    report->result = result_of(syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0));
    if (report->result == 0)
        amx_cpuid(0, 0, registers);
}

/* Works where the child then ends by SIGSYS. */
static void seccomp_traps(report_t *report) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_GET_XCOMP_SUPP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    uint64_t value;
    report->result = result_of(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (report->result == 0)
        report->result = result_of(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    if (report->result == 0)
        amx_arch_prctl_get(ARCH_GET_XCOMP_SUPP, &value);
}

static long look_into(pid_t tracee) {
    struct user_regs_struct registers;
    struct iovec set = {&registers, sizeof registers};
    static const uint64_t known = UINT64_C(0x0123456789abcdef);
    int status;
    if (ptrace(PTRACE_SEIZE, tracee, NULL, (void *)PTRACE_O_EXITKILL) == -1 ||
        ptrace(PTRACE_INTERRUPT, tracee, NULL, NULL) == -1)
        return -errno;
    if (waitpid(tracee, &status, __WALL) != tracee || !WIFSTOPPED(status))
        return -ESRCH;
    if (ptrace(PTRACE_GETREGSET, tracee, (void *)NT_PRSTATUS, &set) == -1)
        return -errno;
    errno = 0;
    const uint64_t seen = (uint64_t)ptrace(PTRACE_PEEKDATA, tracee, &known, NULL);
    if (errno)
        return -errno;
    return seen == known ? 0 : -EIO;
}

static void ptrace_works(report_t *report) {
    const pid_t tracer = getpid();
    prctl(PR_SET_DUMPABLE, 1); /* who is not cannot be traced */
    const long tracee = syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
    if (tracee == 0) {
        machine_die_with(tracer);
        for (;;)
            pause();
    }
    report->result = tracee < 0 ? -errno : (int)look_into((pid_t)tracee);
    if (report->result == 0 && !machine_proc_is_ours())
        report->result = -ENXIO; /* where its code is mapped cannot be read */
    if (tracee > 0)
        kill((pid_t)tracee, SIGKILL);
}

/* Code of this library, in a mapping of its file: mov $0, %eax; ret. */
__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".local amx_patch_me\n"
        "amx_patch_me:\n"
        ".byte 0xf3, 0x0f, 0x1e, 0xfa, 0xb8, 0, 0, 0, 0, 0xc3\n"
        ".popsection\n");
enum { IMMEDIATE = 5 };

static int returned_by(const uint8_t *code) {
    return ((int (*)(void))(uintptr_t)code)();
}

static int patched_by_mem(uint8_t *code, uint8_t value) {
    const int memory = open("/proc/thread-self/mem", O_RDWR | O_CLOEXEC);
    if (memory == -1)
        return -errno;
    const ssize_t written = pwrite(memory, &value, 1, (off_t)(uintptr_t)(code + IMMEDIATE));
    if (written != 1)
        return written == -1 ? -errno : -EIO;
    return returned_by(code) == value ? 0 : -EIO;
}

static int patched_by_mprotect(uint8_t *code, uint8_t value) {
    uint8_t *const page = code - (uintptr_t)code % PAGE;
    if (mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == -1)
        return -errno;
    code[IMMEDIATE] = value;
    if (mprotect(page, PAGE, PROT_READ | PROT_EXEC) == -1)
        return -errno;
    return returned_by(code) == value ? 0 : -EIO;
}

static int executable_memory(void) {
    void *const page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -errno : result_of(mprotect(page, PAGE, PROT_READ | PROT_EXEC));
}

/* One way of writing is enough; and what sites are to jump to must be executable. */
static void code_can_be_written(report_t *report) {
    uint8_t *code;
    __asm__("leaq amx_patch_me(%%rip), %0" : "=r"(code));
    prctl(PR_SET_DUMPABLE, 1); /* else /proc/thread-self/mem is root's */
    int result = patched_by_mem(code, 1);
    if (result != 0)
        result = patched_by_mprotect(code, 2);
    report->result = result == 0 ? executable_memory() : result;
}

static void other_threads_notice(report_t *report) {
    report->result =
        result_of(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    if (report->result == 0)
        report->result = result_of(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
}

static void try(report_t *report, const void *argument) {
    report->step = AMX_STEP_OTHER;
    switch (*(const int *)argument) {
    case AMX_MEANS_TILES_TRAP:
        tiles_trap(report);
        break;
    case AMX_MEANS_CPUID_FAULTS:
        cpuid_faults(report);
        break;
    case AMX_MEANS_SECCOMP:
        seccomp_traps(report);
        break;
    case AMX_MEANS_PTRACE:
        ptrace_works(report);
        break;
    case AMX_MEANS_PATCHING:
        code_can_be_written(report);
        break;
    case AMX_MEANS_SYNC_CORE:
        other_threads_notice(report);
        break;
    }
}

int amx_probe_means(int means, int timeout_ms, struct amx_probe *probe) {
    if (means < AMX_MEANS_TILES_TRAP || means > AMX_MEANS_SYNC_CORE)
        return -EINVAL;
    return machine_forked(try, &means, timeout_ms, probe);
}

#endif
