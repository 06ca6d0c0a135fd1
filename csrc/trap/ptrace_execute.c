/* What the instruction that stopped a tracee does. */
#include "trap/ptrace.h"
#include "trap/trace.h"
#include "trap/virtual_cpu.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum {
    MAX_LENGTH = 15,
    USER_CS_64 = 0x33, /* __USER_CS: 64-bit mode */
    XFEATURE_MASK_XTILE = 3 << 17,
};
static const uint8_t cpuid_code[] = {0x0f, 0xa2}, xgetbv_code[] = {0x0f, 0x01, 0xd0};

static int write_rip(pid_t tid, uint64_t rip) {
    return ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, regs.rip), rip) == 0 ? 0 : -errno;
}

static int writes_zmm(enum amxemu_op op) {
    return op >= AMXEMU_TILEMOVROW && op < AMXEMU_OPS;
}

static struct amxemu_registers registers_of(const struct user_regs_struct *u, uint64_t rip) {
    return (struct amxemu_registers){
        .gpr = {u->rax, u->rcx, u->rdx, u->rbx, u->rsp, u->rbp, u->rsi, u->rdi, u->r8, u->r9, u->r10, u->r11,
                u->r12, u->r13, u->r14, u->r15},
        .rip = rip,
        .fs_base = u->fs_base,
        .gs_base = u->gs_base,
    };
}

/* On a CPU with tiles what only configures them runs unseen where no INT3 of ours stands: then its
 * configuration is not INIT, and what we hold for the tracee's tiles is wrong. */
static int has_escaped(const struct tracer *tracer, pid_t tid) {
    return tracer->hybrid && tracer_xinuse(tid) & XFEATURE_MASK_XTILE;
}

static int execute_amx(struct tracer *tracer, struct tracee *tracee, const struct user_regs_struct *u,
                       uint64_t address, const struct amxemu_insn *insn, struct trap_fault *fault) {
    const pid_t tid = tracee->tid;
    const struct amxemu_memory memory = tracer_memory(tracee);
    struct amxemu_registers r = registers_of(u, address);
    uint8_t zmm[32][64];

    if (has_escaped(tracer, tid))
        return -ENOTRECOVERABLE;
    if (writes_zmm(insn->op) && tracer_get_zmm(tid, zmm) == 0)
        r.zmm = zmm;
    *fault = trap_execute(tracer->cpu, &tracee->task, &r, insn, &memory);
    if (trap_is_page_fault(fault))
        *fault = tracer_page_fault(tid, fault->address,
                                   insn->op == AMXEMU_TILESTORED || insn->op == AMXEMU_STTILECFG);
    tracer->counts.instructions += !fault->signal;
    tracer->counts.faults += fault->signal != 0;
    if (tracee->process->trace)
        trap_trace_record(tracee->process->trace, tid, insn, address, &tracee->task.tiles, fault);
    if (!fault->signal && r.zmm) {
        const int error = tracer_set_zmm(tid, insn->d, zmm[insn->d]);
        if (error)
            return error;
    }
    const int error = r.rip == u->rip ? 0 : write_rip(tid, r.rip);
    return error ? error : 1;
}

static int execute_cpuid(struct tracer *tracer, struct tracee *tracee, const struct user_regs_struct *u,
                         uint64_t address) {
    const uint32_t leaf = (uint32_t)u->rax, subleaf = (uint32_t)u->rcx;
    struct user_regs_struct after = *u;
    uint32_t first[4], host[4], answer[4];
    amx_cpuid(0, 0, first);
    amx_cpuid(leaf, subleaf, host);
    virtual_cpuid(tracer->cpu, leaf, subleaf, host, first[0], answer);
    after.rax = answer[0], after.rbx = answer[1], after.rcx = answer[2], after.rdx = answer[3];
    after.rip = address + sizeof cpuid_code;
    tracer->counts.cpuid++;
    return ptrace(PTRACE_SETREGS, tracee->tid, NULL, &after) == 0 ? 1 : -errno;
}

static int execute_xgetbv(struct tracer *tracer, struct tracee *tracee, const struct user_regs_struct *u,
                          uint64_t address, struct trap_fault *fault) {
    const uint32_t index = (uint32_t)u->rcx;
    struct user_regs_struct after = *u;
    uint64_t value = 0;
    tracer->counts.xgetbv++;
    if (index > 1) {
        *fault = (struct trap_fault){SIGSEGV, SI_KERNEL, 0}; /* #GP */
        after.rip = address;
    } else if (index == 1) {
        value = virtual_xinuse(tracer_xinuse(tracee->tid), kernel_model_xinuse(&tracee->task));
    } else {
        amx_xgetbv(0, &value);
        value = virtual_xcr0(value);
    }
    if (!fault->signal) {
        after.rax = (uint32_t)value;
        after.rdx = value >> 32;
        after.rip = address + sizeof xgetbv_code;
    }
    return ptrace(PTRACE_SETREGS, tracee->tid, NULL, &after) == 0 ? 1 : -errno;
}

int tracer_execute(struct tracer *tracer, struct tracee *tracee, uint64_t address, const uint8_t *byte,
                   struct trap_fault *fault) {
    struct user_regs_struct u;
    struct amxemu_insn insn;
    uint8_t code[MAX_LENGTH];

    *fault = (struct trap_fault){0};
    if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0)
        return -errno;
    if (u.cs != USER_CS_64)
        return 0;
    const size_t size = tracer_read(tracee->tid, address, code, sizeof code);
    if (byte && size)
        code[0] = *byte;
    if (size >= sizeof cpuid_code && memcmp(code, cpuid_code, sizeof cpuid_code) == 0)
        return execute_cpuid(tracer, tracee, &u, address);
    if (size >= sizeof xgetbv_code && memcmp(code, xgetbv_code, sizeof xgetbv_code) == 0)
        return execute_xgetbv(tracer, tracee, &u, address, fault);
    if (amxemu_decode(code, size, &insn) != AMXEMU_VALID)
        return 0;
    return execute_amx(tracer, tracee, &u, address, &insn, fault);
}
