#define _GNU_SOURCE /* REG_RIP */
#include "trap/answers/cpuid.h"

#include "trap/answers/announce.h"
#include "trap/answers/answers.h"
#include "trap/code/byte.h"
#include "trap/code/insn_length.h"
#include "trap/emulation.h"
#include "trap/host/cpu.h"
#include "trap/thread/memory.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int active;

/* ---- sites ---- */

/* Addresses of INT3s that stand for CPUID and XGETBV. Entries are never removed: one whose object is gone is
 * told by the bytes behind the INT3, and is good again if the object returns. Read without a lock. */
enum { SITES = 1 << 14, MOST = SITES / 4 * 3 };
static _Atomic uint64_t sites[SITES];
static unsigned site_count;
static _Atomic uint64_t unknown_places, refused_writes;

static unsigned slot_of(uint64_t address) {
    return (unsigned)(address * UINT64_C(0x9E3779B97F4A7C15) >> 50); /* Fibonacci hashing to 14 bits */
}

static int has_site(uint64_t address) {
    for (unsigned i = slot_of(address);; i = (i + 1) % SITES) {
        const uint64_t found = atomic_load_explicit(&sites[i], memory_order_acquire);
        if (found == address || found == 0)
            return found != 0;
    }
}

static int add_site(uint64_t address) {
    unsigned i = slot_of(address);
    if (has_site(address))
        return 1;
    if (site_count == MOST)
        return 0;
    while (sites[i] != 0)
        i = (i + 1) % SITES;
    atomic_store_explicit(&sites[i], address, memory_order_release);
    site_count++;
    return 1;
}

/* ---- making them trap ---- */

/* Code of a packed or self-modifying program, which may also read itself. */
static int is_writable(const struct code_image *image, const uint8_t *at) {
    const uint64_t address = (uintptr_t)at - image->base;
    for (size_t i = 0; i < image->count; i++) {
        const Elf64_Phdr *const h = &image->headers[i];
        if (h->p_type == PT_LOAD && address >= h->p_vaddr && address - h->p_vaddr < h->p_memsz)
            return (h->p_flags & PF_W) != 0;
    }
    return 0;
}

static void trap_site(void *context, enum code_kind kind, const uint8_t *at, unsigned length) {
    uint8_t *const opcode = (uint8_t *)(uintptr_t)at + length - (kind == CODE_CPUID ? 2 : 3);
    const struct code_image *const *const image = context;
    if (is_writable(*image, at) || !add_site((uintptr_t)opcode) || code_byte_write(opcode, CODE_INT3) != 0)
        refused_writes++;
}

void cpuid_trap_image(const struct code_image *image) {
    const struct code_sink sink = {trap_site, &image};
    const unsigned kinds = CODE_XGETBV | (cpuid_is_faulting() ? 0 : CODE_CPUID), before = site_count;
    unknown_places += code_scan(image, kinds, &sink);
    if (cpuid_is_faulting() || site_count != before)
        announce_look_at(image);
}

struct cpuid_missed cpuid_missed(void) {
    return (struct cpuid_missed){unknown_places, refused_writes};
}

/* A hypervisor may announce the flag and not have it (firecracker issue 1330). */
void cpuid_start(void) {
    uint32_t ignored[4];
    active = 1;
    if (cpuid_set_faulting(1) != 0)
        return;
    const uint64_t before = trap_answers.cpuid;
    cpuid_execute(0, 0, ignored);
    if (trap_answers.cpuid != before)
        trap_answers.cpuid = before;
    else
        cpuid_set_faulting(0);
}

/* ---- signals ---- */

static void put(greg_t *gregs, int name, uint32_t value) {
    gregs[name] = (greg_t)(uint64_t)value; /* clears the upper half, as in 64-bit mode */
}

static void do_cpuid(greg_t *gregs) {
    const uint32_t leaf = (uint32_t)gregs[REG_RAX], subleaf = (uint32_t)gregs[REG_RCX];
    uint32_t r[4];
    amx_trap_cpuid(leaf, subleaf, r);
    announce_add((uint64_t)gregs[REG_RIP], leaf, subleaf, r);
    put(gregs, REG_RAX, r[0]);
    put(gregs, REG_RBX, r[1]);
    put(gregs, REG_RCX, r[2]);
    put(gregs, REG_RDX, r[3]);
    trap_answers.cpuid++;
}

static int do_xgetbv(ucontext_t *context) {
    greg_t *const gregs = context->uc_mcontext.gregs;
    uint64_t value;
    if (trap_xgetbv((uint32_t)gregs[REG_RCX], context, &value) != 0)
        return 0;
    put(gregs, REG_RAX, (uint32_t)value);
    put(gregs, REG_RDX, (uint32_t)(value >> 32));
    trap_answers.xgetbv++;
    return 1;
}

static int general_protection(siginfo_t *info, greg_t *gregs) {
    enum { VECTOR_GP = 13 };
    memset(info, 0, sizeof *info);
    info->si_signo = SIGSEGV;
    info->si_code = SI_KERNEL;
    gregs[REG_TRAPNO] = VECTOR_GP;
    gregs[REG_ERR] = 0;
    return 0;
}

/* The instruction at `opcode`, the bytes after whose first are at `behind`. */
static int answer(const uint8_t *behind, siginfo_t *info, ucontext_t *context, uint64_t opcode) {
    enum { CPUID_2 = 0xA2, XGETBV_2 = 0x01, XGETBV_3 = 0xD0 };
    greg_t *const gregs = context->uc_mcontext.gregs;
    if (behind[0] == CPUID_2) {
        do_cpuid(gregs);
        gregs[REG_RIP] = (greg_t)opcode + 2;
        return 1;
    }
    if (behind[0] != XGETBV_2 || behind[1] != XGETBV_3)
        return 0;
    gregs[REG_RIP] = (greg_t)opcode;
    if (!do_xgetbv(context))
        return general_protection(info, gregs);
    gregs[REG_RIP] = (greg_t)opcode + 3;
    return 1;
}

/* CPUID that faulted is SIGSEGV at the instruction; XGETBV without OSXSAVE is SIGILL. */
static int at_instruction(siginfo_t *info, ucontext_t *context) {
    enum { MAX_INSTRUCTION = 15 };
    const uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    uint8_t code[MAX_INSTRUCTION + 3] = {0};
    size_t at = 0;
    trap_own_memory.read(NULL, rip, code, MAX_INSTRUCTION);
    while (at < MAX_INSTRUCTION - 3 && insn_is_prefix(code[at]))
        at++;
    return code[at] == 0x0F ? answer(&code[at + 1], info, context, rip + at) : 0;
}

int cpuid_handle(int signal, siginfo_t *info, ucontext_t *context) {
    const uint64_t opcode = (uint64_t)context->uc_mcontext.gregs[REG_RIP] - 1;
    if (!active || info->si_code <= 0)
        return 0;
    switch (signal) {
    case SIGTRAP:
        return has_site(opcode) ? answer((const uint8_t *)(uintptr_t)opcode + 1, info, context, opcode) : 0;
    case SIGSEGV:
        return info->si_code == SI_KERNEL && cpuid_is_faulting() ? at_instruction(info, context) : 0;
    case SIGILL:
        return at_instruction(info, context);
    default:
        return 0;
    }
}
