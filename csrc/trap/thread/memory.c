#define _GNU_SOURCE /* REG_RIP */
#include "trap/thread/memory.h"
#include "trap/thread/thread.h"

/* 0, or 1 where an access faulted. trap_copy moves `size` bytes; trap_touch writes the byte at `at` as it is,
 * whatever other threads do to it. */
int trap_copy(void *to, const void *from, size_t size);
int trap_touch(void *at);
extern const char trap_copy_begin[], trap_copy_end[], trap_copy_faulted[];
__asm__(".pushsection .text\n"
        ".hidden trap_copy, trap_touch, trap_copy_begin, trap_copy_end, trap_copy_faulted\n"
        ".globl trap_copy, trap_touch, trap_copy_begin, trap_copy_end, trap_copy_faulted\n"
        ".type trap_copy, @function\n"
        ".type trap_touch, @function\n"
        ".p2align 4\n"
        "trap_copy_begin:\n"
        "trap_copy:\n"
        "  sub $16, %rdx\n"
        "  jb 2f\n"
        "1:movups (%rsi), %xmm0\n"
        "  movups %xmm0, (%rdi)\n"
        "  add $16, %rsi\n"
        "  add $16, %rdi\n"
        "  sub $16, %rdx\n"
        "  jae 1b\n"
        "2:add $16, %rdx\n"
        "  jz 4f\n"
        "3:movb (%rsi), %al\n"
        "  movb %al, (%rdi)\n"
        "  inc %rsi\n"
        "  inc %rdi\n"
        "  dec %rdx\n"
        "  jnz 3b\n"
        "4:xor %eax, %eax\n"
        "  ret\n"
        "trap_touch:\n"
        "  lock orb $0, (%rdi)\n"
        "  xor %eax, %eax\n"
        "  ret\n"
        "trap_copy_end:\n"
        "trap_copy_faulted:\n"
        "  mov $1, %eax\n"
        "  ret\n"
        ".size trap_copy, . - trap_copy\n"
        ".popsection\n");

enum { PAGE = 4096 };

static void *at(uint64_t address) {
    return (void *)(uintptr_t)address;
}

static size_t to_page_end(uint64_t address) {
    return PAGE - address % PAGE;
}

/* What is read or written at once is shorter than a page, so it lies in two at most. */
static size_t read_own(void *context, uint64_t address, void *to, size_t size) {
    const size_t head = to_page_end(address) < size ? to_page_end(address) : size;
    (void)context;
    if (trap_copy(to, at(address), head) != 0)
        return 0;
    if (head < size && trap_copy((uint8_t *)to + head, at(address + head), size - head) != 0)
        return head;
    return size;
}

/* All or nothing: both pages are found writable before either is written. */
static size_t write_own(void *context, uint64_t address, const void *from, size_t size) {
    const size_t head = to_page_end(address);
    (void)context;
    if (head < size) {
        if (trap_touch(at(address)) != 0)
            return 0;
        if (trap_touch(at(address + head)) != 0)
            return head;
    }
    return trap_copy(at(address), from, size) == 0 ? size : 0;
}

const struct amxemu_memory trap_own_memory = {read_own, write_own, NULL};

int trap_memory_fixup(int signal, const siginfo_t *info, ucontext_t *context) {
    greg_t *const rip = &context->uc_mcontext.gregs[REG_RIP];
    if (info->si_code <= 0 || (uintptr_t)*rip < (uintptr_t)trap_copy_begin ||
        (uintptr_t)*rip >= (uintptr_t)trap_copy_end)
        return 0;
    /* A thread without a record executes no instruction, and may hold the lock that making one takes. */
    struct trap_thread *const thread = trap_thread_if_any();
    if (thread != NULL) {
        thread->memory_fault = (struct trap_memory_fault){
            .signal = signal, .code = info->si_code, .err = (long)context->uc_mcontext.gregs[REG_ERR]};
    }
    *rip = (greg_t)(uintptr_t)trap_copy_faulted;
    return 1;
}
