/* Runs one instruction on this CPU. */
#define _GNU_SOURCE
#include "run.h"

#include "encode.h"
#include "native.h"
#include "registers.h"

#include "trap/patch/patch.h"
#include "trap/thread/thread.h"
#include "trap/trap.h"
#include "amx.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_GS = 0x1001, ARCH_GET_FS = 0x1003 };
enum { ALTERNATE_STACK = 1 << 18 }; /* far beyond AT_MINSIGSTKSZ with tiles in the frame */

static enum lane lane;
static uint8_t alternate_stack[ALTERNATE_STACK];
static volatile struct outcome seen;
static uint64_t resume;

/* Signals of the instruction end it; RIP is moved on, so that sigreturn restores the tiles as they were. Any
 * other signal is an error of this program. */
static void on_signal(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *context = opaque;
    const int by_cpu = info->si_code == SI_KERNEL;

    if ((uint64_t)context->uc_mcontext.gregs[REG_RIP] != CODE_INSN ||
        (signal == SIGILL && lane == LANE_NATIVE && info->si_code != ILL_ILLOPN)) {
        static const char message[] = "differential: a signal of its own\n";
        if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
            _exit(3);
        _exit(3);
    }
    seen.fault = 0;
    if (signal == SIGILL) {
        seen.kind = AMXEMU_UD;
    } else if (signal == SIGBUS) {
        seen.kind = AMXEMU_SS;
    } else if (by_cpu) {
        seen.kind = AMXEMU_GP;
    } else {
        seen.kind = AMXEMU_PF;
        seen.fault = (uint64_t)(uintptr_t)info->si_addr;
    }
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)resume;
}

int cpu_has_usable_tiles(void) {
    return native_request() == 0;
}

/* -EEXIST where the OS has enabled tiles, so that not every instruction traps; a patched one need not.
 *
 * As in a whole program, where the alternate stack is used: RSP is an operand here, and no stack. */
static int emulate(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    const struct amx_trap_options options = {.cpu = "dmr", .patch = lane == LANE_PATCHED};
    if (lane == LANE_TRAPPED && native_os_has_tiles())
        return -EEXIST;
    if (lane == LANE_PATCHED)
        trap_patch_generated();
    const int error = trap_start(&options, 1);
    return error ? error : amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

int cpu_prepare(enum lane wanted) {
    static const int signals[3] = {SIGILL, SIGSEGV, SIGBUS};
    const stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof alternate_stack};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    lane = wanted;
    if (lane == LANE_EMULATED)
        return 0;
    if (sigaltstack(&stack, NULL) != 0)
        return -errno;
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < 3; i++)
        if (sigaction(signals[i], &action, NULL) != 0)
            return -errno;
    return lane == LANE_NATIVE ? native_request() : emulate();
}

uint64_t cpu_fs_base(void) {
    uint64_t base = 0;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
    return base;
}

void cpu_set(const struct amxemu_state *state) {
    if (lane == LANE_NATIVE)
        native_set(state);
    else
        trap_thread()->task.tiles = *state;
}

void cpu_get(struct amxemu_state *state) {
    if (lane == LANE_NATIVE)
        native_get(state);
    else
        *state = trap_thread()->task.tiles;
}

enum { RAX = 0 };

/* As the preload library has mprotect(): only code that cannot be written is patched. */
static void protect_code(int protection) {
    const long arguments[5] = {ARENA_CODE, PAGE, protection};
    if (lane == LANE_PATCHED && trap_patch_remap(ARENA_CODE, PAGE, SYS_mprotect, arguments) != 0) {
        perror("differential: mprotect");
        exit(3);
    }
}

/* The instruction, and a jump that needs no register. */
static void emit(const struct insn *insn) {
    static const uint8_t jmp_rip_0[] = {0xFF, 0x25, 0, 0, 0, 0};
    const uint64_t target = (uintptr_t)registers_leave;
    uint8_t *at = (uint8_t *)(uintptr_t)CODE_INSN;
    protect_code(PROT_READ | PROT_WRITE);
    memcpy(at, insn->bytes, insn->length);
    at += insn->length;
    resume = (uint64_t)(uintptr_t)at;
    memcpy(at, jmp_rip_0, sizeof jmp_rip_0);
    memcpy(at + sizeof jmp_rip_0, &target, sizeof target);
    protect_code(PROT_READ | PROT_EXEC);
}

/* As a trap there would; its first execution is already the thunk's. */
static void patch(const struct insn *insn) {
    static const uint8_t jmp = 0xE9;
    struct amxemu_insn decoded;
    if (amxemu_decode(insn->bytes, insn->length, &decoded) != AMXEMU_VALID || decoded.apx)
        return;
    trap_site_seen(CODE_INSN, &decoded);
    if (memcmp((const void *)(uintptr_t)CODE_INSN, &jmp, sizeof jmp) != 0) {
        fprintf(stderr, "differential: an instruction could not be patched\n");
        exit(3);
    }
}

int cpu_can_run(const struct insn *insn) {
    for (int i = 0; i < insn->registers; i++)
        if (lane == LANE_PATCHED && insn->set[i].number == RSP)
            return 0;
    return 1;
}

struct outcome cpu_run(const struct insn *insn, uint8_t zmm[ZMM_BYTES], int *disturbed) {
    struct random r = {insn->others};
    static struct registers before, after;

    registers_fill(&before, &r);
    for (int i = 0; i < insn->registers; i++)
        before.gpr[insn->set[i].number] = insn->set[i].value;
    before.mxcsr = insn->mxcsr;
    if (is_row(insn->op))
        memcpy(before.vector[insn->zmm], zmm, ZMM_BYTES);
    emit(insn);
    if (lane == LANE_PATCHED)
        patch(insn);
    if (insn->gs_base)
        syscall(SYS_arch_prctl, ARCH_SET_GS, insn->gs_base);
    seen.kind = AMXEMU_OK;
    seen.fault = 0;
    registers_run(&before, CODE_INSN, &after);
    if (insn->gs_base)
        syscall(SYS_arch_prctl, ARCH_SET_GS, 0UL);
    if (is_row(insn->op)) {
        memcpy(zmm, after.vector[insn->zmm], ZMM_BYTES);
        memcpy(before.vector[insn->zmm], zmm, ZMM_BYTES);
    }
    *disturbed = memcmp(&before, &after, sizeof before) != 0;
    return (struct outcome){seen.kind, seen.fault};
}

uint32_t cpu_missing(void) {
    struct address form = {.base = RAX, .index = NO_REGISTER, .with_sib = 1};
    uint8_t zmm[ZMM_BYTES] = {0};
    struct amxemu_state state = {.palette = 1};
    uint32_t missing = 0;
    int disturbed;

    for (unsigned t = 0; t < 3; t++) {
        state.rows[t] = 1;
        state.colsb[t] = 4;
    }
    for (enum amxemu_op op = AMXEMU_TDPBSSD; op < AMXEMU_OPS; op++) {
        struct insn insn = {
            .valid = 1,
            .op = op,
            .d = 0,
            .a = 1,
            .b = 2,
            .row_constant = 1,
            .mxcsr = MXCSR_DEFAULT,
            .registers = 1,
            .set = {{.number = RAX, .value = ARENA}},
        };
        struct random r = {0};
        encode(&r, &insn, &form, 0);
        cpu_set(&state);
        if (cpu_run(&insn, zmm, &disturbed).kind == AMXEMU_UD)
            missing |= UINT32_C(1) << op;
    }
    return missing;
}
