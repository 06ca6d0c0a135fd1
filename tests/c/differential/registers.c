#include "registers.h"

#include <stddef.h>
#include <string.h>

/* The image lies where the assembly finds it relative to RIP: no register may point to it. */
static struct registers image __asm__("differential_registers") __attribute__((used));
_Static_assert(offsetof(struct registers, flags) == 128, "as the assembly has it");
_Static_assert(offsetof(struct registers, mask) == 136, "as the assembly has it");
_Static_assert(offsetof(struct registers, mxcsr) == 200, "as the assembly has it");
_Static_assert(offsetof(struct registers, vector) == 208, "as the assembly has it");

static uint64_t target __asm__("differential_target") __attribute__((used));
static uint32_t own_mxcsr __asm__("differential_own_mxcsr") __attribute__((used)) = 0x1F80;
static uint64_t own_rsp __asm__("differential_own_rsp") __attribute__((used));
static uint64_t width __asm__("differential_width") __attribute__((used)); /* 16, 32, 64 bytes; 0: unknown */

#define R(n)                     "differential_registers+8*" n "(%rip)"
#define EACH(numbers, statement) ".irp n," numbers "\n" statement "\n.endr\n"
#define TO_15                    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
#define TO_31                    TO_15 ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
#define VECTOR                   "differential_registers+208+64*\\n(%rip)"
#define MASK                     "differential_registers+136+8*\\n(%rip)"

void registers_enter(void);
__asm__(
    ".text\n"
    ".type registers_enter, @function\n"
    "registers_enter:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, differential_own_rsp(%rip)\n"
    "cmpq $32, differential_width(%rip)\n"
    "je 2f\n"
    "ja 3f\n" EACH(
        TO_15,
        "movups " VECTOR
        ", %xmm\\n") "jmp 4f\n"
                     "2:\n" EACH(TO_15,
                                 "vmovups " VECTOR
                                 ", %ymm\\n") "jmp 4f\n"
                                              "3:\n" EACH(TO_31, "vmovups " VECTOR ", %zmm\\n") EACH(
                                                  "0,1,2,3,4,5,6,7",
                                                  "kmovq " MASK ", %k\\n") "4:\n"
                                                                           "ldmxcsr "
                                                                           "differential_registers+200(%rip)"
                                                                           "\n"
                                                                           "pushq "
                                                                           "differential_registers+128(%rip)"
                                                                           "\n"
                                                                           "popfq\n" /* no instruction below
                                                                                        changes flags */
                                                                           "mov " R("0") ", %rax\nmov " R("1") ", %rcx\nmov " R("2") ", %rdx\nmov " R("3") ", %rbx\n"
                                                                                                                                                           "mov " R("4") ", %rsp\nmov " R("5") ", %rbp\nmov " R("6") ", %rsi\nmov " R("7") ", %rdi\n" EACH("8,9,10,11,12,13,14,15", "mov " R(
                                                                                                                                                                                                                                                                                        "\\n") ", %r\\n") "jmp *differential_target(%rip)\n"
                                                                                                                                                                                                                                                                                                          ".globl registers_leave\n"
                                                                                                                                                                                                                                                                                                          ".type registers_leave, @function\n"
                                                                                                                                                                                                                                                                                                          "registers_leave:\n"
                                                                                                                                                                                                                                                                                                          "mov %rax, " R("0") "\nmov %rcx, " R("1") "\nmov %rdx, " R("2") "\nmov %rbx, " R("3") "\n"
                                                                                                                                                                                                                                                                                                                                                                                                "mov %rsp, " R(
                                                                                                                                                                                                                                                                                                                                                                                                    "4") "\nmov %rbp, " R("5") "\nmov %rsi, " R("6") "\nmov %rdi, " R("7") "\n" EACH("8,9,10,11,12,13,14,15",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "mov %r\\n, " R(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "\\n")) "mov differential_own_rsp(%rip), %rsp\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "pushfq\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "popq differential_registers+128(%rip)\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "cld\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "stmxcsr differential_registers+200(%rip)\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "cmpq $32, differential_width(%rip)\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "je 2f\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "ja 3f\n" EACH(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     TO_15, "movups %xmm\\n, " VECTOR) "jmp 4f\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "2:\n" EACH(TO_15, "vmovups %ymm\\n, " VECTOR) "vzeroupper\njmp 4f\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      "3:\n" EACH(TO_31, "vmovups %zmm\\n, " VECTOR) EACH("0,1,2,3,4,5,6,7", "kmovq %k\\n, " MASK) "vzeroupper\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "4:\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "ldmxcsr differential_own_mxcsr(%rip)\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\n"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "ret\n");

unsigned registers_width(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw"))
        return 64;
    return __builtin_cpu_supports("avx") ? 32 : 16;
}

void registers_limit(unsigned bytes) {
    width = bytes < registers_width() ? bytes : registers_width();
}

enum { STACK_BYTES = 1 << 16, ABOVE = 1024 };
static _Alignas(64) uint8_t stack[STACK_BYTES];
static uint8_t *const top = stack + STACK_BYTES - ABOVE;

/* Carry, parity, adjust, zero, sign, direction, overflow. */
enum { FLAGS = 0xCD5, FLAGS_ALWAYS = 0x202 };

void registers_fill(struct registers *registers, struct random *r) {
    if (width == 0)
        width = registers_width();
    memset(registers, 0, sizeof *registers);
    for (int i = 0; i < 16; i++)
        registers->gpr[i] = random64(r);
    registers->gpr[RSP] = (uintptr_t)top - below(r, 64); /* no code aligns for us */
    registers->flags = (random64(r) & FLAGS) | FLAGS_ALWAYS;
    for (size_t i = 0; i < sizeof registers->stack; i++)
        registers->stack[i] = (uint8_t)random64(r);
    const unsigned count = width == 64 ? 32 : 16;
    const int uppers = !one_in(r, 4); /* often zero in programs, and in no other way to be told apart */
    for (unsigned i = 0; i < count; i++)
        for (unsigned at = 0; at < (uppers || i >= 16 ? width : 16); at += 8) {
            const uint64_t bits = random64(r);
            memcpy(registers->vector[i] + at, &bits, sizeof bits);
        }
    for (int i = 0; i < 8 && width == 64; i++)
        registers->mask[i] = random64(r);
}

void registers_run(const struct registers *before, uint64_t code, struct registers *after) {
    uint8_t *const around = (uint8_t *)(uintptr_t)before->gpr[RSP] - RED_ZONE;
    const int on_stack = around >= stack && around < stack + STACK_BYTES;
    image = *before;
    target = code;
    if (on_stack)
        memcpy(around, before->stack, sizeof before->stack);
    registers_enter();
    *after = image;
    if (on_stack)
        memcpy(after->stack, around, sizeof after->stack);
}
