/* Runs one instruction on this CPU, between code that loads the registers it names and code that restores
 * ours. */
#define _GNU_SOURCE
#include "run.h"

#include "encode.h"
#include "native.h"

#include "trap/thread.h"
#include "amx.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_GS = 0x1001, ARCH_GET_FS = 0x1003 };
enum { ALTERNATE_STACK = 1 << 18 }; /* far beyond AT_MINSIGSTKSZ with tiles in the frame */

static enum lane lane;
static uint8_t alternate_stack[ALTERNATE_STACK];
static uint64_t saved_rsp;
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

/* -EEXIST where the OS has enabled tiles, so that not every instruction traps. */
static int emulate(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    const struct amx_trap_options options = {.cpu = "dmr"};
    if (native_os_has_tiles())
        return -EEXIST;
    const int error = amx_trap_start(&options);
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

struct emitter {
    uint8_t *at;
};

static void put(struct emitter *e, const void *bytes, size_t size) {
    memcpy(e->at, bytes, size);
    e->at += size;
}

static void put_mov(struct emitter *e, unsigned number, uint64_t value) {
    const uint8_t opcode[2] = {(uint8_t)(0x48 | number >> 3), (uint8_t)(0xB8 | (number & 7))};
    put(e, opcode, sizeof opcode);
    put(e, &value, sizeof value);
}

enum { RAX = 0 };

static uint8_t zmm_before[ZMM_BYTES], zmm_after[ZMM_BYTES];

/* vmovdqu64 between a ZMM register and the memory at `bytes` */
static void put_zmm(struct emitter *e, unsigned number, const uint8_t *bytes, int storing) {
    const uint8_t move[6] = {
        0x62,
        (uint8_t)((~number >> 3 & 1) << 7 | 0x61 | (~number >> 4 & 1) << 4),
        0xFE,
        0x48,
        storing ? 0x7F : 0x6F,
        (uint8_t)((number & 7) << 3),
    };
    put_mov(e, RAX, (uint64_t)(uintptr_t)bytes);
    put(e, move, sizeof move);
}

static void emit(const struct insn *insn) {
    static const uint8_t push[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
    static const uint8_t pop[] = {0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3};
    static const uint8_t store_rsp[] = {0x48, 0x89, 0x20}, load_rsp[] = {0x48, 0x8B, 0x20};
    uint8_t *const code = (uint8_t *)(uintptr_t)ARENA_CODE;
    uint8_t *const at = (uint8_t *)(uintptr_t)CODE_INSN;
    struct emitter e = {code};

    put(&e, push, sizeof push);
    put_mov(&e, RAX, (uint64_t)(uintptr_t)&saved_rsp);
    put(&e, store_rsp, sizeof store_rsp);
    if (is_row(insn->op))
        put_zmm(&e, insn->zmm, zmm_before, 0);
    for (int i = 0; i < insn->registers; i++)
        put_mov(&e, insn->set[i].number, insn->set[i].value);
    const uint8_t jump = 0xE9;
    put(&e, &jump, 1);
    const int32_t distance = (int32_t)(at - (e.at + 4));
    put(&e, &distance, sizeof distance);

    e.at = at;
    put(&e, insn->bytes, insn->length);
    resume = (uint64_t)(uintptr_t)e.at;
    if (is_row(insn->op))
        put_zmm(&e, insn->zmm, zmm_after, 1);
    put_mov(&e, RAX, (uint64_t)(uintptr_t)&saved_rsp);
    put(&e, load_rsp, sizeof load_rsp);
    put(&e, pop, sizeof pop);
}

struct outcome cpu_run(const struct insn *insn, uint32_t *mxcsr, uint8_t zmm[ZMM_BYTES]) {
    const uint32_t ours = MXCSR_DEFAULT;

    memcpy(zmm_before, zmm, ZMM_BYTES);
    emit(insn);
    if (insn->gs_base)
        syscall(SYS_arch_prctl, ARCH_SET_GS, insn->gs_base);
    seen.kind = AMXEMU_OK;
    seen.fault = 0;
    __asm__ volatile("ldmxcsr %0" : : "m"(insn->mxcsr) : "memory");
    ((void (*)(void))(uintptr_t)ARENA_CODE)();
    __asm__ volatile("stmxcsr %0" : "=m"(*mxcsr) : : "memory");
    __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
    if (insn->gs_base)
        syscall(SYS_arch_prctl, ARCH_SET_GS, 0UL);
    if (is_row(insn->op))
        memcpy(zmm, zmm_after, ZMM_BYTES);
    return (struct outcome){seen.kind, seen.fault};
}

uint32_t cpu_missing(void) {
    struct address form = {.base = RAX, .index = NO_REGISTER, .with_sib = 1};
    uint8_t zmm[ZMM_BYTES] = {0};
    struct amxemu_state state = {.palette = 1};
    uint32_t missing = 0, mxcsr;

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
        if ((is_row(op) && !__builtin_cpu_supports("avx512f")) ||
            cpu_run(&insn, &mxcsr, zmm).kind == AMXEMU_UD)
            missing |= UINT32_C(1) << op;
    }
    return missing;
}
