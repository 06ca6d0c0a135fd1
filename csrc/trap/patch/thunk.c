#define _GNU_SOURCE
#include "trap/patch/thunk.h"

#include "trap/code/memory.h"
#include "trap/code/write.h"
#include "trap/cpu/emulated.h"
#include "trap/thread/native_config.h"
#include "trap/thread/run.h"

#include <cpuid.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- entry: registers into a frame and out of it again ---- */

/* On the program's stack. The instruction reads general registers there and writes ZMM registers there. */
struct frame {
    _Alignas(64) uint8_t zmm[32][AMXEMU_COLSB]; /* as wide as this CPU's are, 64 bytes apart */
    uint64_t mask[8];
    struct amxemu_registers registers;
    uint32_t mxcsr;
    uint8_t uppers_zero; /* bits 128 and up of registers 0-15 */
};
/* The same for the assembly. */
#define MASKS  "2048"
#define GPRS   "2112"
#define MXCSR  "2288"
#define UPPERS "2292"
#define SIZE   "2304"
_Static_assert(offsetof(struct frame, mask) == 2048, "MASKS");
_Static_assert(offsetof(struct frame, registers.gpr) == 2112, "GPRS");
_Static_assert(offsetof(struct frame, mxcsr) == 2288, "MXCSR");
_Static_assert(offsetof(struct frame, uppers_zero) == 2292, "UPPERS");
_Static_assert(sizeof(struct frame) == 2304, "SIZE");
_Static_assert(offsetof(struct trap_thunk, site) == 0, "read by the assembly");

#define REGISTERS_1_TO_15        "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define REGISTERS_0_TO_15        "0," REGISTERS_1_TO_15
#define REGISTERS_0_TO_31        REGISTERS_0_TO_15 ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define EACH(numbers, statement) ".irp n," numbers "\n" statement "\n.endr\n"

/* By moves, not by XSAVE: XSAVEC and XRSTOR take ten times as long on some CPUs. But moves leave the upper
 * halves in use, and SSE code slow, until a VZEROUPPER; where they were zero, one ends the restoring. Another
 * is for the compiler's own SSE code in between. */
#define SAVE_SSE    EACH(REGISTERS_0_TO_15, "movaps %xmm\\n, 64*\\n(%rsp)")
#define RESTORE_SSE EACH(REGISTERS_0_TO_15, "movaps 64*\\n(%rsp), %xmm\\n")

#define SAVE_AVX                                                                                             \
    EACH(REGISTERS_0_TO_15, "vmovaps %ymm\\n, 64*\\n(%rsp)")                                                 \
    EACH(REGISTERS_1_TO_15, "vorps %ymm\\n, %ymm0, %ymm0")                                                   \
    "vextractf128 $1, %ymm0, %xmm0\n"                                                                        \
    "vptest %xmm0, %xmm0\n"                                                                                  \
    "sete " UPPERS "(%rsp)\n"                                                                                \
    "vzeroupper\n"
#define ZERO_UPPERS_AGAIN                                                                                    \
    "cmpb $0, " UPPERS "(%rsp)\n"                                                                            \
    "je 3f\n"                                                                                                \
    "vzeroupper\n"                                                                                           \
    "3:\n"
#define RESTORE_AVX EACH(REGISTERS_0_TO_15, "vmovaps 64*\\n(%rsp), %ymm\\n") ZERO_UPPERS_AGAIN

#define SAVE_AVX512                                                                                          \
    EACH(REGISTERS_0_TO_31, "vmovaps %zmm\\n, 64*\\n(%rsp)")                                                 \
    EACH("0,1,2,3,4,5,6,7", "kmovq %k\\n, " MASKS "+8*\\n(%rsp)")                                            \
    EACH(REGISTERS_1_TO_15, "vporq %zmm\\n, %zmm0, %zmm0")                                                   \
    "vptestnmq %zmm0, %zmm0, %k0\n"                                                                          \
    "kmovq %k0, %rcx\n"                                                                                      \
    "or $3, %cl\n"                                                                                           \
    "cmp $0xff, %cl\n"                                                                                       \
    "sete " UPPERS "(%rsp)\n"                                                                                \
    "vzeroupper\n"
#define RESTORE_AVX512                                                                                       \
    EACH(REGISTERS_0_TO_31, "vmovaps 64*\\n(%rsp), %zmm\\n")                                                 \
    EACH("0,1,2,3,4,5,6,7", "kmovq " MASKS "+8*\\n(%rsp), %k\\n")                                            \
    ZERO_UPPERS_AGAIN

/* Comes from a thunk by a jump, RAX naming it, and goes where trap_thunk_execute() says, with RSP as it came.
 * No return that a shadow stack would not know. Of the stack the thunk has taken the red zone, a word for the
 * unwinder, and one with RAX, in which there is later where to go on: 144 bytes. What unwinds finds in the
 * first the instruction that the call stands for, as if a signal had interrupted it. */
#define ENTRY(name, save, restore)                                                                           \
    __asm__(".pushsection .text\n"                                                                           \
            ".p2align 6\n"                                                                                   \
            ".hidden " name "\n"                                                                             \
            ".globl " name "\n"                                                                              \
            ".type " name ", @function\n" name ":\n"                                                         \
            ".cfi_startproc\n"                                                                               \
            ".cfi_signal_frame\n"                                                                            \
            ".cfi_def_cfa rsp, 144\n"                                                                        \
            ".cfi_undefined rip\n"                                                                           \
            "pushfq\n"                                                                                       \
            ".cfi_adjust_cfa_offset 8\n"                                                                     \
            "cld\n"                                                                                          \
            "push %rbp\n"                                                                                    \
            ".cfi_adjust_cfa_offset 8\n"                                                                     \
            ".cfi_offset rbp, -160\n"                                                                        \
            "mov %rsp, %rbp\n"                                                                               \
            ".cfi_def_cfa_register rbp\n"                                                                    \
            "sub $" SIZE ", %rsp\n"                                                                          \
            "and $-64, %rsp\n" /**/                                                                          \
            "mov %rcx, " GPRS "+8*1(%rsp)\n"                                                                 \
            "mov %rdx, " GPRS "+8*2(%rsp)\n"                                                                 \
            "mov %rbx, " GPRS "+8*3(%rsp)\n"                                                                 \
            "mov %rsi, " GPRS "+8*6(%rsp)\n"                                                                 \
            "mov %rdi, " GPRS "+8*7(%rsp)\n" /**/                                                            \
            EACH("8,9,10,11,12,13,14,15",                                                                    \
                 "mov %r\\n, " GPRS                                                                          \
                 "+8*\\n(%rsp)") "mov 16(%rbp), %rcx\n"                                                      \
                                 "mov %rcx, " GPRS "+8*0(%rsp)\n"                                            \
                                 "lea 160(%rbp), %rcx\n"                                                     \
                                 "mov %rcx, " GPRS "+8*4(%rsp)\n"                                            \
                                 "mov (%rbp), %rcx\n"                                                        \
                                 "mov %rcx, " GPRS "+8*5(%rsp)\n"                                            \
                                 "mov (%rax), %rcx\n"                                                        \
                                 "mov %rcx, 24(%rbp)\n"                                                      \
                                 ".cfi_offset rip, -136\n" /* the status flags of MXCSR do not matter to the \
                                                              callee */                                      \
                                 "stmxcsr " MXCSR "(%rsp)\n"                                                 \
                                 "movl $0x1f80, 16(%rbp)\n"                                                  \
                                 "mov " MXCSR "(%rsp), %ecx\n"                                               \
                                 "and $0xffffffc0, %ecx\n"                                                   \
                                 "cmp $0x1f80, %ecx\n"                                                       \
                                 "je 1f\n"                                                                   \
                                 "ldmxcsr 16(%rbp)\n"                                                        \
                                 "1:\n" save "mov %rsp, %rdi\n"                                              \
                                 "mov %rax, %rsi\n"                                                          \
                                 "call trap_thunk_execute\n"                                                 \
                                 "stmxcsr 16(%rbp)\n"                                                        \
                                 "mov " MXCSR "(%rsp), %ecx\n"                                               \
                                 "cmp %ecx, 16(%rbp)\n"                                                      \
                                 "je 2f\n"                                                                   \
                                 "ldmxcsr " MXCSR "(%rsp)\n"                                                 \
                                 "2:\n"                                                                      \
                                 "mov %rax, 16(%rbp)\n" restore "mov " GPRS "+8*0(%rsp), %rax\n"             \
                                 "mov " GPRS "+8*1(%rsp), %rcx\n"                                            \
                                 "mov " GPRS "+8*2(%rsp), %rdx\n"                                            \
                                 "mov " GPRS "+8*6(%rsp), %rsi\n"                                            \
                                 "mov " GPRS "+8*7(%rsp), %rdi\n" /**/                                       \
            EACH("8,9,10,11", "mov " GPRS "+8*\\n(%rsp), %r\\n") "mov %rbp, %rsp\n"                          \
                                                                 "pop %rbp\n"                                \
                                                                 ".cfi_restore rbp\n"                        \
                                                                 ".cfi_def_cfa rsp, 152\n"                   \
                                                                 "popfq\n"                                   \
                                                                 ".cfi_adjust_cfa_offset -8\n"               \
                                                                 "jmp *(%rsp)\n"                             \
                                                                 ".cfi_endproc\n"                            \
                                                                 ".size " name ", . - " name "\n"            \
                                                                 ".popsection\n")
ENTRY("trap_thunk_enter_sse", SAVE_SSE, RESTORE_SSE);
ENTRY("trap_thunk_enter_avx", SAVE_AVX, RESTORE_AVX);
ENTRY("trap_thunk_enter_avx512", SAVE_AVX512, RESTORE_AVX512);
void trap_thunk_enter_sse(void);
void trap_thunk_enter_avx(void);
void trap_thunk_enter_avx512(void);
uint64_t trap_thunk_execute(struct frame *frame, const struct trap_thunk *thunk) __attribute__((used));

enum {
    CPUID_1_ECX_OSXSAVE = 1 << 27,
    CPUID_1_ECX_AVX = 1 << 28,
    CPUID_7_EBX_AVX512F = 1 << 16,
    CPUID_7_EBX_AVX512BW = 1 << 30,
    XCR0_AVX = 1 << 2,
    XCR0_AVX512 = 7 << 5,
};

static void (*enter)(void); /* one of the three */

static uint32_t xcr0_low(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* By what the OS has enabled, since a program may use that whatever CPUID says. */
int trap_thunk_prepare(void) {
    uint32_t eax, ebx = 0, ecx = 0, edx;
    uint32_t enabled = 0;

    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & CPUID_1_ECX_OSXSAVE)
        enabled = xcr0_low();
    if (!(enabled & XCR0_AVX)) {
        enter = trap_thunk_enter_sse;
        return 0;
    }
    if (!(ecx & CPUID_1_ECX_AVX))
        return -ENOTSUP;
    if (!(enabled & XCR0_AVX512)) {
        enter = trap_thunk_enter_avx;
        return 0;
    }
    const uint32_t needed = CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512BW;
    if ((enabled & XCR0_AVX512) != XCR0_AVX512 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) ||
        (ebx & needed) != needed)
        return -ENOTSUP;
    enter = trap_thunk_enter_avx512;
    return 0;
}

/* ---- thunks: one after another in blocks, their data behind them ---- */

enum { THUNK_BYTES = 64, THUNKS = 256, CODE_BYTES = THUNK_BYTES * THUNKS, MAX_BLOCKS = 256 };
struct block {
    uint8_t code[THUNKS][THUNK_BYTES];
    struct trap_thunk thunks[THUNKS];
};
_Static_assert(sizeof(struct trap_thunk) == THUNK_BYTES,
               "then the way from code to data is the same for all");
_Static_assert(sizeof(struct block) % 4096 == 0, "whole pages");

static struct block *_Atomic blocks[MAX_BLOCKS]; /* never unmapped: a thread may be inside */
static atomic_uint block_count;
static unsigned in_use[MAX_BLOCKS];

enum { AFTER_LEA = 19, AT_DONE = 25, AT_RETRY = 39, AT_FAULT = 53, AT_UD2 = 61 };
enum { STACK_TAKEN = 144 }; /* as the entries have it */
#define LE32(x)                                                                                              \
    (unsigned)(x) & 0xFF, (unsigned)(x) >> 8 & 0xFF, (unsigned)(x) >> 16 & 0xFF, (unsigned)(x) >> 24 & 0xFF
#define LEA_RSP                     0x48, 0x8D, 0xA4, 0x24
#define TO_DATA(field, end_of_insn) LE32(CODE_BYTES + offsetof(struct trap_thunk, field) - (end_of_insn))

/* clang-format off */
static const uint8_t code_of_every_thunk[] = {
    LEA_RSP, LE32(-STACK_TAKEN),                /* lea -STACK_TAKEN(%rsp), %rsp: leaves the flags alone */
    0x48, 0x89, 0x04, 0x24,                     /* mov %rax, (%rsp) */
    0x48, 0x8D, 0x05, TO_DATA(site, AFTER_LEA), /* lea data(%rip), %rax */
    0xFF, 0x25, TO_DATA(entry, AT_DONE),        /* jmp *data.entry(%rip) */
    LEA_RSP, LE32(STACK_TAKEN),                 /* done: */
    0xFF, 0x25, TO_DATA(next, AT_RETRY),        /* jmp *data.next(%rip) */
    LEA_RSP, LE32(STACK_TAKEN),                 /* retry: */
    0xFF, 0x25, TO_DATA(site, AT_FAULT),        /* jmp *data.site(%rip) */
    LEA_RSP, LE32(STACK_TAKEN),                 /* fault: */
    0x0F, 0x0B,                                 /* ud2 */
};
/* clang-format on */
_Static_assert(sizeof code_of_every_thunk == AT_UD2 + 2, "where its parts begin");

static struct block *new_block(uint64_t site) {
    const unsigned count = atomic_load_explicit(&block_count, memory_order_relaxed);
    if (count == MAX_BLOCKS)
        return NULL;
    struct block *const block = (struct block *)code_memory_near(site, sizeof *block);
    if (block == NULL)
        return NULL;
    memset(block->code, 0xCC, sizeof block->code);
    for (unsigned i = 0; i < THUNKS; i++)
        memcpy(block->code[i], code_of_every_thunk, sizeof code_of_every_thunk);
    if (code_memory_seal(block->code[0], sizeof block->code) != 0) {
        code_memory_free((uint8_t *)block, sizeof *block);
        return NULL;
    }
    atomic_store_explicit(&blocks[count], block, memory_order_release);
    atomic_store_explicit(&block_count, count + 1, memory_order_release);
    return block;
}

static struct trap_thunk *free_thunk_in(unsigned number) {
    struct block *const block = blocks[number];
    for (unsigned i = 0; i < THUNKS; i++)
        if (block->thunks[i].site == 0) {
            in_use[number]++;
            return &block->thunks[i];
        }
    return NULL;
}

static struct trap_thunk *find_free(uint64_t site) {
    for (unsigned i = 0; i < block_count; i++)
        if (in_use[i] < THUNKS && code_memory_reaches(site, blocks[i]->code[0], CODE_BYTES))
            return free_thunk_in(i);
    return new_block(site) == NULL ? NULL : free_thunk_in(block_count - 1);
}

struct trap_thunk *trap_thunk_new(uint64_t site) {
    struct trap_thunk *const thunk = find_free(site);
    if (thunk != NULL)
        thunk->site = site;
    return thunk;
}

void trap_thunk_set(struct trap_thunk *thunk, uint64_t site, const struct amxemu_insn *insn) {
    *thunk = (struct trap_thunk){site, site + insn->length, (uintptr_t)enter, *insn};
}

void trap_thunk_free(struct trap_thunk *thunk) {
    for (unsigned i = 0; i < block_count; i++)
        if (thunk >= blocks[i]->thunks && thunk < blocks[i]->thunks + THUNKS)
            in_use[i]--;
    thunk->site = 0;
}

uint64_t trap_thunk_code(const struct trap_thunk *thunk) {
    return (uintptr_t)thunk - CODE_BYTES;
}

uint64_t trap_thunk_fault_site(uint64_t rip) {
    const unsigned count = atomic_load_explicit(&block_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        const struct block *const block = atomic_load_explicit(&blocks[i], memory_order_acquire);
        const uint64_t offset = rip - (uintptr_t)block->code;
        if (offset < CODE_BYTES && offset % THUNK_BYTES == AT_UD2)
            return block->thunks[offset / THUNK_BYTES].site;
    }
    return 0;
}

/* ---- execution ---- */

static uint64_t segment_base(int operation) {
    uint64_t base = 0;
    syscall(SYS_arch_prctl, operation, &base);
    return base;
}

/* Returns where to go on. Once emulation has ended, that is what stands at the site again, the program's own
 * affair, unless it could not be put back. */
uint64_t trap_thunk_execute(struct frame *frame, const struct trap_thunk *thunk) {
    enum { ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004 };
    const uint64_t code = trap_thunk_code(thunk);
    struct amxemu_registers *const r = &frame->registers;
    struct trap_thread *const thread = trap_thread();

    if (thread != NULL && trap_is_hybrid())
        trap_follow_config(thread);
    r->rip = thunk->site;
    r->egpr = NULL;
    r->zmm = thunk->entry == (uintptr_t)trap_thunk_enter_avx512 ? frame->zmm : NULL;
    if (thunk->insn.segment >= 0) {
        r->fs_base = segment_base(ARCH_GET_FS);
        r->gs_base = segment_base(ARCH_GET_GS);
    }
    if (thread != NULL && trap_run(thread, r, &thunk->insn).signal == 0)
        return code + AT_DONE;
    return code + (trap_cpu() == NULL && *(const uint8_t *)thunk->site != JMP ? AT_RETRY : AT_FAULT);
}
