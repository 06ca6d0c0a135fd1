/* The kernel and the tile unit of this machine. */
#define _GNU_SOURCE /* clone */
#include "provoke/kernels/kernels.h"
#include "provoke/kernels/real_frames.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tools.h"

#include "fpstate.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>
#include <unistd.h>

static long real_arch_prctl(int op, uint64_t argument) {
    return system_call(SYS_arch_prctl, op, (long)argument, 0, 0, 0, 0);
}

/* By libc, in whose place `amx emulate` puts the model's answers. */
static long real_sigaltstack(const stack_t *set, stack_t *old) {
    return sigaltstack(set, old) == 0 ? 0 : -errno;
}

static pid_t real_fork(void) {
    const pid_t pid = fork();
    return pid < 0 ? -errno : pid;
}

struct birth {
    long parent;
    int (*child)(void *);
    void *argument;
};

static int live(void *argument) {
    const struct birth *const birth = argument;
    system_die_with(birth->parent);
    return birth->child(birth->argument);
}

static pid_t real_clone_run(uint64_t flags, int (*child)(void *), void *argument) {
    enum { STACK = 256 * 1024 };
    char *const stack = tool_map(STACK);
    struct birth *const birth = (void *)stack; /* the stack does not grow down to it */
    *birth = (struct birth){system_call(SYS_getpid, 0, 0, 0, 0, 0, 0), child, argument};
    const pid_t pid = clone(live, stack + STACK, (int)flags | SIGCHLD, birth);
    return pid < 0 ? -errno : pid;
}

static pid_t real_vfork_run(int (*child)(void *), void *argument) {
    return real_clone_run(CLONE_VM | CLONE_VFORK, child, argument);
}

static int real_thread_start(uint64_t *thread, void *(*run)(void *), void *argument) {
    pthread_t started;
    const int error = pthread_create(&started, NULL, run, argument);
    *thread = (uint64_t)started;
    return error;
}

static int real_thread_join(uint64_t thread) {
    return pthread_join((pthread_t)thread, NULL);
}

static long real_execve(const char *path, char *const argv[], char *const envp[]) {
    return system_call(SYS_execve, (long)path, (long)argv, (long)envp, 0, 0, 0);
}

/* One instruction and `ret` each, so that the instruction's address is known. Bytes, because assemblers may
 * lack AMX; the encodings are those of insn.h with RDI as the base and RSI as the stride. */
#define ROUTINE(name, before, bytes)                                                                         \
    __asm__(".pushsection .text\n"                                                                           \
            ".globl real_" name ", real_" name "_insn\n"                                                     \
            ".hidden real_" name ", real_" name "_insn\n"                                                    \
            ".type real_" name ", @function\n"                                                               \
            ".balign 16\n"                                                                                   \
            "real_" name ":\n" before "real_" name "_insn:\n"                                                \
            ".byte " bytes "\n"                                                                              \
            "ret\n"                                                                                          \
            ".popsection\n")

ROUTINE("ldtilecfg", "", "0xc4, 0xe2, 0x78, 0x49, 0x07");
ROUTINE("sttilecfg", "", "0xc4, 0xe2, 0x79, 0x49, 0x07");
ROUTINE("tilerelease", "", "0xc4, 0xe2, 0x78, 0x49, 0xc0");
ROUTINE("tilezero", "", "0xc4, 0xe2, 0x7b, 0x49, 0xc0");
ROUTINE("tileloadd", "", "0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x37");
ROUTINE("tilestored", "", "0xc4, 0xe2, 0x7a, 0x4b, 0x04, 0x37");
ROUTINE("tdpbssd", "", "0xc4, 0xe2, 0x6b, 0x5e, 0xc1"); /* TMM0 += TMM1 * TMM2 */
/* xrstor64 0(%rdi), with a displacement byte that makes it as long as most of the others. */
ROUTINE("xrstor", "mov %esi, %eax\nmov %rsi, %rdx\nshr $32, %rdx\n", "0x48, 0x0f, 0xae, 0x6f, 0x00");

#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN void real_ldtilecfg(const uint8_t config[64]);
HIDDEN void real_sttilecfg(uint8_t config[64]);
HIDDEN void real_tilerelease(void);
HIDDEN void real_tilezero(void);
HIDDEN void real_tileloadd(const void *rows, int64_t stride);
HIDDEN void real_tilestored(void *rows, int64_t stride);
HIDDEN void real_tdpbssd(void);
HIDDEN void real_xrstor(const uint8_t *area, uint64_t features);
HIDDEN extern const char real_ldtilecfg_insn[], real_sttilecfg_insn[], real_tilerelease_insn[],
    real_tilezero_insn[], real_tileloadd_insn[], real_tilestored_insn[], real_tdpbssd_insn[],
    real_xrstor_insn[];

enum { ROW_STRIDE = 64 };

static void load(const void *rows) {
    real_tileloadd(rows, ROW_STRIDE);
}

static void store(void *rows) {
    real_tilestored(rows, ROW_STRIDE);
}

static uintptr_t real_address_of(enum insn insn) {
    static const char *const addresses[INSNS] = {
        [INSN_LDTILECFG] = real_ldtilecfg_insn,     [INSN_STTILECFG] = real_sttilecfg_insn,
        [INSN_TILERELEASE] = real_tilerelease_insn, [INSN_TILEZERO] = real_tilezero_insn,
        [INSN_TILELOADD] = real_tileloadd_insn,     [INSN_TILESTORED] = real_tilestored_insn,
        [INSN_TDPBSSD] = real_tdpbssd_insn,         [INSN_XRSTOR] = real_xrstor_insn,
    };
    return (uintptr_t)addresses[insn];
}

/* uapi/asm/sigcontext.h: struct _fpx_sw_bytes at 464 of the FXSAVE image, the XSAVE header behind it. */
enum {
    SW_BYTES = 464,
    XSAVE_HEADER = 512,
    UC_FP_XSTATE = 1,
};

static void real_read_frame(const void *ucontext, struct frame *frame) {
    const ucontext_t *context = ucontext;
    memset(frame, 0, sizeof *frame);
    frame->has_uc_fp_xstate = (context->uc_flags & UC_FP_XSTATE) != 0;
    uint8_t *const area = (uint8_t *)context->uc_mcontext.fpregs;
    if (!area)
        return;
    frame->xstate = area;
    memcpy(&frame->magic1, area + SW_BYTES, 4);
    if (frame->magic1 != FP_XSTATE_MAGIC1)
        return;
    memcpy(&frame->extended_size, area + SW_BYTES + 4, 4);
    memcpy(&frame->xfeatures, area + SW_BYTES + 8, 8);
    memcpy(&frame->xstate_size, area + SW_BYTES + 16, 4);
    memcpy(&frame->xstate_bv, area + XSAVE_HEADER, 8);
    memcpy(&frame->xcomp_bv, area + XSAVE_HEADER + 8, 8);
    memcpy(&frame->magic2, area + frame->xstate_size, 4);
}

static void real_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    memset(registers, 0, 4 * sizeof *registers);
    __get_cpuid_count(leaf, subleaf, &registers[0], &registers[1], &registers[2], &registers[3]);
}

static uint64_t xgetbv(uint32_t index) {
    uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

enum { CPUID_1_ECX_OSXSAVE = 1 << 27, CPUID_D_1_EAX_XGETBV1 = 1 << 2 };

static uint64_t real_xcr0(void) {
    uint32_t registers[4];
    real_cpuid(1, 0, registers);
    return registers[2] & CPUID_1_ECX_OSXSAVE ? xgetbv(0) : 0;
}

static uint64_t real_xinuse(void) {
    uint32_t registers[4];
    real_cpuid(0xd, 1, registers);
    return real_xcr0() && registers[0] & CPUID_D_1_EAX_XGETBV1 ? xgetbv(1) : 0;
}

/* Under `amx emulate` XRSTOR runs on the CPU, which need not have tiles, and touches no emulated one. */
static int real_xrstor_reaches_tiles(void) {
    return getenv("AMX_EMULATE_CPU") == NULL;
}

static uint64_t real_auxv(uint64_t type) {
    return getauxval(type);
}

const struct kernel provoke_real_kernel = {
    .arch_prctl = real_arch_prctl,
    .sigaltstack = real_sigaltstack,
    .fork = real_fork,
    .vfork_run = real_vfork_run,
    .clone_run = real_clone_run,
    .thread_start = real_thread_start,
    .thread_join = real_thread_join,
    .execve = real_execve,
    .ldtilecfg = real_ldtilecfg,
    .sttilecfg = real_sttilecfg,
    .tilerelease = real_tilerelease,
    .tilezero = real_tilezero,
    .tileloadd = load,
    .tilestored = store,
    .tdpbssd = real_tdpbssd,
    .xrstor = real_xrstor,
    .xrstor_reaches_tiles = real_xrstor_reaches_tiles,
    .xinuse = real_xinuse,
    .address_of = real_address_of,
    .read_frame = real_read_frame,
    .cpuid = real_cpuid,
    .xcr0 = real_xcr0,
    .auxv = real_auxv,
    .sigreturn = real_sigreturn,
    .ptrace = real_ptrace,
    .sched_yield = real_sched_yield,
    .ioctl = real_ioctl,
    .read_core = real_read_core,
    .xstate_buffers = real_xstate_buffers,
    .xsave = real_xsave,
};
