/* Tile instructions on the model: its state changes, or its fault becomes a signal. */
#include "provoke/kernels/model_insn.h"
#include "provoke/kernels/model_tasks.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"

#include "kernel_model/kernel_model.h"

#include <string.h>

/* ---- faults ------------------------------------------------------------------------------------------- */

/* One routine for each instruction: rt_tgsigqueueinfo to this thread. The signal arrives before the kernel
 * returns to the routine, so that RIP in its frame is the jump behind `syscall`, as long as the instruction
 * it stands for: the instruction's address. A handler that adds its length to RIP comes to `skipped`. Result:
 * 0 to try again, 1 skipped, or -errno. */
#define RAISE(name, jump)                                                                                    \
    __asm__(".pushsection .text\n"                                                                           \
            ".globl model_raise_" name ", model_" name "_insn\n"                                             \
            ".hidden model_raise_" name ", model_" name "_insn\n"                                            \
            ".type model_raise_" name ", @function\n"                                                        \
            ".balign 16\n"                                                                                   \
            "model_raise_" name ":\n"                                                                        \
            "mov %rcx, %r10\n"                                                                               \
            "mov $297, %eax\n"                                                                               \
            "syscall\n"                                                                                      \
            "model_" name "_insn:\n" jump ".long 1f - . - 4\n" /* jmp 1f */                                  \
            "mov $1, %eax\n"                                   /* skipped */                                 \
            "1: ret\n"                                                                                       \
            ".popsection\n")
#define FIVE_BYTES ".byte 0xe9\n"
#define SIX_BYTES  ".byte 0x3e, 0xe9\n"

RAISE("ldtilecfg", FIVE_BYTES);
RAISE("sttilecfg", FIVE_BYTES);
RAISE("tilerelease", FIVE_BYTES);
RAISE("tilezero", FIVE_BYTES);
RAISE("tileloadd", SIX_BYTES);
RAISE("tilestored", SIX_BYTES);
RAISE("tdpbssd", FIVE_BYTES);
RAISE("xrstor", FIVE_BYTES);

typedef long raiser(pid_t process, pid_t thread, int signo, const siginfo_t *info);
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN raiser model_raise_ldtilecfg, model_raise_sttilecfg, model_raise_tilerelease, model_raise_tilezero,
    model_raise_tileloadd, model_raise_tilestored, model_raise_tdpbssd, model_raise_xrstor;
HIDDEN extern const char model_ldtilecfg_insn[], model_sttilecfg_insn[], model_tilerelease_insn[],
    model_tilezero_insn[], model_tileloadd_insn[], model_tilestored_insn[], model_tdpbssd_insn[],
    model_xrstor_insn[];

static const struct {
    raiser *raise;
    const char *address;
} insns[INSNS] = {
    [INSN_LDTILECFG] = {model_raise_ldtilecfg, model_ldtilecfg_insn},
    [INSN_STTILECFG] = {model_raise_sttilecfg, model_sttilecfg_insn},
    [INSN_TILERELEASE] = {model_raise_tilerelease, model_tilerelease_insn},
    [INSN_TILEZERO] = {model_raise_tilezero, model_tilezero_insn},
    [INSN_TILELOADD] = {model_raise_tileloadd, model_tileloadd_insn},
    [INSN_TILESTORED] = {model_raise_tilestored, model_tilestored_insn},
    [INSN_TDPBSSD] = {model_raise_tdpbssd, model_tdpbssd_insn},
    [INSN_XRSTOR] = {model_raise_xrstor, model_xrstor_insn},
};

static uintptr_t model_address_of(enum insn insn) {
    return (uintptr_t)insns[insn].address;
}

/* force_sig_info_to_task(): a fault that is blocked or ignored is unblocked and kills. */
static void force(int signo) {
    const uint64_t bit = UINT64_C(1) << (signo - 1);
    struct sigaction action;
    uint64_t blocked;
    system_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&blocked, sizeof blocked, 0, 0);
    sigaction(signo, NULL, &action);
    if (!(blocked & bit) && action.sa_handler != SIG_IGN)
        return;
    action = (struct sigaction){.sa_handler = SIG_DFL};
    sigaction(signo, &action, NULL);
    system_call(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&bit, 0, sizeof bit, 0, 0);
}

/* The fault's signal. Its handler starts with tiles in INIT; where it returns, they are as before, where it
 * jumps out, they stay INIT. True: try the instruction again. */
static int try_again(enum insn insn, struct kernel_model_fault fault) {
    struct kernel_model_task *const task = model_current();
    const struct amxemu_state interrupted = task->tiles;
    const int data_live = task->data_live;
    const pid_t process = (pid_t)system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    const pid_t thread = (pid_t)system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = fault.signal;
    info.si_code = fault.code;
    info.si_addr = fault.at_insn ? (void *)insns[insn].address : NULL;
    force(fault.signal);
    kernel_model_tilerelease(task);
    const long result = insns[insn].raise(process, thread, fault.signal, &info);
    if (result < 0)
        provoke_broken("rt_tgsigqueueinfo: %s", strerror((int)-result));
    task->tiles = interrupted;
    task->data_live = data_live;
    return result == 0;
}

/* ---- instructions ------------------------------------------------------------------------------------- */

/* An instruction is whole or not at all to the handler of an asynchronous signal; a page fault of its own may
 * come in between, as on hardware. */
static uint64_t begin_insn(void) {
    static const int synchronous[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
    uint64_t blocked = UINT64_MAX, previous;
    for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
        blocked &= ~(UINT64_C(1) << (synchronous[i] - 1));
    system_call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&blocked, (long)&previous, sizeof blocked, 0, 0);
    return previous;
}

static void end_insn(uint64_t previous) {
    system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&previous, 0, sizeof previous, 0, 0);
}

#define EXECUTE(insn, call)                                                                                  \
    for (;;) {                                                                                               \
        const uint64_t mask = begin_insn();                                                                  \
        const struct kernel_model_fault fault = (call);                                                      \
        end_insn(mask);                                                                                      \
        if (!fault.signal || !try_again(insn, fault))                                                        \
            return;                                                                                          \
    }

static void model_ldtilecfg(const uint8_t config[64]) {
    EXECUTE(INSN_LDTILECFG, kernel_model_ldtilecfg(model_current(), config))
}
static void model_sttilecfg(uint8_t config[64]) {
    kernel_model_sttilecfg(model_current(), config);
}
static void model_tilerelease(void) {
    const uint64_t mask = begin_insn();
    kernel_model_tilerelease(model_current());
    end_insn(mask);
}
static void model_tilezero(void) {
    EXECUTE(INSN_TILEZERO, kernel_model_tilezero(model_current()))
}
static void model_tileloadd(const void *rows) {
    EXECUTE(INSN_TILELOADD, kernel_model_tileloadd(model_current(), rows))
}
static void model_tilestored(void *rows) {
    EXECUTE(INSN_TILESTORED, kernel_model_tilestored(model_current(), rows))
}
static void model_tdpbssd(void) {
    EXECUTE(INSN_TDPBSSD, kernel_model_tdpbssd(model_current()))
}
static void model_xrstor(const uint8_t *area, uint64_t of) {
    EXECUTE(INSN_XRSTOR, kernel_model_xrstor(model_current(), area, of))
}

void model_add_insns(struct kernel *table) {
    table->ldtilecfg = model_ldtilecfg;
    table->sttilecfg = model_sttilecfg;
    table->tilerelease = model_tilerelease;
    table->tilezero = model_tilezero;
    table->tileloadd = model_tileloadd;
    table->tilestored = model_tilestored;
    table->tdpbssd = model_tdpbssd;
    table->xrstor = model_xrstor;
    table->address_of = model_address_of;
}
