/* See trap.h. Outcomes become the signals that the kernel sends for the CPU's exceptions. */
#define _GNU_SOURCE
#include "trap.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { PAGE = 4096, MAX_INSTRUCTION = 15, ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004 };

static struct sigaction previous;
static atomic_ulong executed;

/* One pointer and mmap, not the state itself: static TLS of a library loaded late has no room for 8 KiB, and
 * the lazy kind calls malloc, which a signal handler may not. */
static _Thread_local struct amxemu_state *tiles __attribute__((tls_model("initial-exec")));

EXPORT struct amxemu_state *trap_state(void) {
    if (tiles == NULL) {
        void *page = mmap(NULL, sizeof *tiles, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        tiles = page == MAP_FAILED ? NULL : page;
    }
    return tiles;
}

EXPORT unsigned long trap_count(void) {
    return atomic_load(&executed);
}

static size_t to_page_end(uint64_t address) {
    return PAGE - address % PAGE;
}

/* Memory through the kernel, which refuses where an access of our own would fault inside the handler. */
static int copy(long call, uint64_t address, void *local, size_t size) {
    const struct iovec here = {local, size}, there = {(void *)(uintptr_t)address, size};
    return syscall(call, getpid(), &here, 1UL, &there, 1UL, 0UL) == (long)size;
}

static size_t read_checked(void *context, uint64_t address, void *to, size_t size) {
    const size_t head = to_page_end(address) < size ? to_page_end(address) : size;
    (void)context;
    if (!copy(SYS_process_vm_readv, address, to, head))
        return 0;
    if (head < size && !copy(SYS_process_vm_readv, address + head, (uint8_t *)to + head, size - head))
        return head;
    return size;
}

/* All or nothing: when the row crosses into another page, the first page's bytes are tried with what they
 * hold. */
static size_t write_checked(void *context, uint64_t address, const void *from, size_t size) {
    const size_t head = to_page_end(address) < size ? to_page_end(address) : size;
    uint8_t bytes[AMXEMU_COLSB], before[AMXEMU_COLSB];
    (void)context;
    memcpy(bytes, from, size);
    if (head < size) {
        if (!copy(SYS_process_vm_readv, address, before, head) ||
            !copy(SYS_process_vm_writev, address, before, head))
            return 0;
        if (!copy(SYS_process_vm_writev, address + head, bytes + head, size - head))
            return head;
    }
    return copy(SYS_process_vm_writev, address, bytes, head) ? size : 0;
}

static const struct amxemu_memory checked_memory = {read_checked, write_checked, NULL};

static const int gregs_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/* The ZMM registers of the interrupted code: where the standard XSAVE format of the frame keeps their parts
 * (SDM vol. 1, 13.5; the software-reserved bytes: Linux, fpu/signal.c). */
enum { SSE = 1, AVX = 2, ZMM_HI256 = 6, HI16_ZMM = 7, XSTATE_LEAF = 0xD };
enum { XMM_AT = 160, SOFTWARE_AT = 464, XFEATURES_AT = SOFTWARE_AT + 8, XSTATE_BV_AT = 512 };
enum { UPPER_ZMM = 16 };

static int frame_has_zmm(const uint8_t *frame) {
    const uint64_t needed = 1 << SSE | 1 << AVX | 1 << ZMM_HI256 | 1 << HI16_ZMM;
    uint32_t magic;
    uint64_t features;
    memcpy(&magic, frame + SOFTWARE_AT, sizeof magic);
    memcpy(&features, frame + XFEATURES_AT, sizeof features);
    return magic == FP_XSTATE_MAGIC1 && (features & needed) == needed;
}

/* A component that was in its INIT state becomes one of zeros. */
static void put_part(uint8_t *frame, unsigned component, unsigned offset, const uint8_t *bytes, size_t size) {
    uint32_t length = 256, at = XMM_AT, ecx, edx;
    uint64_t in_use;
    memcpy(&in_use, frame + XSTATE_BV_AT, sizeof in_use);
    if (component != SSE)
        __cpuid_count(XSTATE_LEAF, component, length, at, ecx, edx);
    if (!(in_use >> component & 1))
        memset(frame + at, 0, length);
    in_use |= UINT64_C(1) << component;
    memcpy(frame + XSTATE_BV_AT, &in_use, sizeof in_use);
    memcpy(frame + at + offset, bytes, size);
}

static void put_zmm(uint8_t *frame, unsigned number, const uint8_t bytes[AMXEMU_COLSB]) {
    if (number >= UPPER_ZMM) {
        put_part(frame, HI16_ZMM, (number - UPPER_ZMM) * 64, bytes, 64);
        return;
    }
    put_part(frame, SSE, number * 16, bytes, 16);
    put_part(frame, AVX, number * 16, bytes + 16, 16);
    put_part(frame, ZMM_HI256, number * 32, bytes + 32, 32);
}

static struct amxemu_registers registers_of(const ucontext_t *context, const struct amxemu_insn *insn) {
    struct amxemu_registers r = {.rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP]};
    for (int i = 0; i < 16; i++)
        r.gpr[i] = (uint64_t)context->uc_mcontext.gregs[gregs_of[i]];
    if (insn->segment >= 0) {
        syscall(SYS_arch_prctl, ARCH_GET_FS, &r.fs_base);
        syscall(SYS_arch_prctl, ARCH_GET_GS, &r.gs_base);
    }
    return r;
}

static void chain(int signal, siginfo_t *info, void *context) {
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else { /* then the kernel kills, also where SIGILL is ignored */
        const struct sigaction fatal = {.sa_handler = SIG_DFL};
        sigaction(SIGILL, &fatal, NULL);
    }
}

/* Stays pending until the handler returns, because its mask blocks it; then RIP is at the AMX instruction. */
static void queue(int signal, int code, uint64_t address) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = signal;
    info.si_code = code;
    info.si_addr = (void *)(uintptr_t)address;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), signal, &info);
}

static void on_sigill(int signal, siginfo_t *info, void *opaque) {
    const int saved_errno = errno;
    ucontext_t *context = opaque;
    const uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    uint8_t crossing[MAX_INSTRUCTION];
    const uint8_t *code = (const uint8_t *)(uintptr_t)rip;
    size_t size = sizeof crossing;
    struct amxemu_insn insn;
    struct amxemu_fault fault = {0};
    enum amxemu_outcome outcome = AMXEMU_UD;

    if (to_page_end(rip) < size) { /* what follows the instruction may not be mapped */
        size = read_checked(NULL, rip, crossing, sizeof crossing);
        code = crossing;
    }
    if (trap_state() != NULL && amxemu_decode(code, size, &insn) == AMXEMU_VALID) {
        struct amxemu_registers r = registers_of(context, &insn);
        uint8_t *const frame = (uint8_t *)context->uc_mcontext.fpregs;
        const int writes_zmm = insn.op >= AMXEMU_TILEMOVROW;
        uint8_t zmm[32][AMXEMU_COLSB];
        if (writes_zmm && frame_has_zmm(frame))
            r.zmm = zmm;
        outcome = amxemu_step(tiles, &r, &insn, &checked_memory, &fault);
        if (writes_zmm && outcome == AMXEMU_OK)
            put_zmm(frame, insn.d, zmm[insn.d]);
        context->uc_mcontext.gregs[REG_RIP] = (greg_t)r.rip;
        atomic_fetch_add_explicit(&executed, 1, memory_order_relaxed);
    }
    errno = saved_errno;
    switch (outcome) {
    case AMXEMU_OK:
        break;
    case AMXEMU_UD:
        chain(signal, info, opaque);
        break;
    case AMXEMU_GP:
        queue(SIGSEGV, SI_KERNEL, 0);
        break;
    case AMXEMU_SS:
        queue(SIGBUS, SI_KERNEL, 0);
        break;
    case AMXEMU_PF:
        queue(SIGSEGV, SEGV_MAPERR, fault.address);
        break;
    }
}

static void forget_data(void) {
    if (tiles != NULL)
        memset(tiles->tile, 0, sizeof tiles->tile);
}

EXPORT int trap_os_has_tiles(void) {
    enum { OSXSAVE = 1 << 27, TILECFG_TILEDATA = 3 << 17 };
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & TILECFG_TILEDATA) == TILECFG_TILEDATA;
}

EXPORT int trap_install(void) {
    struct sigaction action = {.sa_sigaction = on_sigill, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (trap_os_has_tiles())
        return -EEXIST;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGSEGV);
    sigaddset(&action.sa_mask, SIGBUS);
    if (sigaction(SIGILL, &action, &previous) != 0)
        return -errno;
    return -pthread_atfork(NULL, NULL, forget_data);
}
