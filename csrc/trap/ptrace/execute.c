/* What the instruction that stopped a tracee does. */
#include "machine/machine.h"
#include "trap/answers/announce.h"
#include "trap/code/insn_length.h"
#include "trap/cpu/virtual_cpu.h"
#include "trap/ptrace/ptrace.h"
#include "trap/trace/record.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum {
    USER_CS_64 = 0x33, /* __USER_CS: 64-bit mode */
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

/* On a CPU with tiles, configuration instructions in generated code run unseen. Their configuration is taken
 * out of the CPU, so that one which is there again was loaded again, and zeroed the tiles. */
static int follow_native_config(const struct tracer *tracer, struct tracee *tracee) {
    uint8_t config[AMXEMU_CONFIG_BYTES];
    const int found = tracer->hybrid ? tracer_take_config(tracee->tid, config) : 0;
    if (found <= 0)
        return found;
    amxemu_ldtilecfg(&tracee->task.tiles, config);
    tracee->task.data_live = 0;
    if (tracee->process->trace)
        trap_trace_record_config(tracee->process->trace, tracee->tid, &tracee->task.tiles);
    return 0;
}

static int execute_amx(struct tracer *tracer, struct tracee *tracee, const struct user_regs_struct *u,
                       uint64_t address, const struct amxemu_insn *insn, struct trap_fault *fault) {
    const pid_t tid = tracee->tid;
    const struct amxemu_memory memory = tracer_memory(tracee);
    struct amxemu_registers r = registers_of(u, address);
    uint8_t zmm[32][64];

    const int unknown = follow_native_config(tracer, tracee);
    if (unknown)
        return unknown;
    if (writes_zmm(insn->op) && tracer_get_zmm(tid, zmm) == 0)
        r.zmm = zmm;
    *fault = trap_execute(tracer->cpu, &tracee->task, &r, insn, &memory);
    if (trap_is_page_fault(fault))
        *fault = tracer_page_fault(tid, fault->address,
                                   insn->op == AMXEMU_TILESTORED || insn->op == AMXEMU_STTILECFG);
    tracer->counts.traps++;
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
                         uint64_t next, int concerned) {
    const uint32_t leaf = (uint32_t)u->rax, subleaf = (uint32_t)u->rcx;
    struct user_regs_struct after = *u;
    uint32_t first[4], host[4], answer[4];
    uint64_t xcr0 = 0; /* it has none */
    amx_cpuid(0, 0, first);
    amx_cpuid(leaf, subleaf, host);
    amx_xgetbv(0, &xcr0);
    virtual_cpuid(tracer->cpu, leaf, subleaf, host, first[0], xcr0, answer);
    announce_add_to(concerned, leaf, subleaf, answer);
    after.rax = answer[0], after.rbx = answer[1], after.rcx = answer[2], after.rdx = answer[3];
    after.rip = next;
    tracer->counts.cpuid++;
    return ptrace(PTRACE_SETREGS, tracee->tid, NULL, &after) == 0 ? 1 : -errno;
}

static int execute_xgetbv(struct tracer *tracer, struct tracee *tracee, const struct user_regs_struct *u,
                          uint64_t address, uint64_t next, struct trap_fault *fault) {
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
        after.rip = next;
    }
    return ptrace(PTRACE_SETREGS, tracee->tid, NULL, &after) == 0 ? 1 : -errno;
}

static int starts_with(const uint8_t *code, size_t size, const uint8_t *wanted, size_t length) {
    return size >= length && memcmp(code, wanted, length) == 0;
}

int tracer_execute(struct tracer *tracer, struct tracee *tracee, uint64_t address,
                   const struct tracer_site *site, struct trap_fault *fault) {
    struct user_regs_struct u;
    struct amxemu_insn insn;
    uint8_t code[INSN_MAX_LENGTH];
    size_t prefixes = 0;

    *fault = (struct trap_fault){0};
    if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0)
        return -errno;
    if (u.cs != USER_CS_64)
        return 0;
    const size_t size = tracer_read(tracee->tid, address, code, sizeof code);
    if (site && size)
        code[0] = site->byte;
    if (amxemu_decode(code, size, &insn) == AMXEMU_VALID)
        return execute_amx(tracer, tracee, &u, address, &insn, fault);
    while (prefixes < size && insn_is_prefix(code[prefixes]))
        prefixes++;
    const uint64_t opcode = address + prefixes;
    if (starts_with(code + prefixes, size - prefixes, cpuid_code, sizeof cpuid_code))
        return execute_cpuid(tracer, tracee, &u, opcode + sizeof cpuid_code, site && site->concerned);
    if (starts_with(code + prefixes, size - prefixes, xgetbv_code, sizeof xgetbv_code))
        return execute_xgetbv(tracer, tracee, &u, address, opcode + sizeof xgetbv_code, fault);
    return 0;
}
