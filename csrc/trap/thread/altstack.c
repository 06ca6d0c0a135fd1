#define _GNU_SOURCE
#include "trap/thread/altstack.h"

#include "trap/cpu/emulated.h"
#include "trap/thread/thread.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t size_of(const stack_t *stack) {
    return stack->ss_flags & SS_DISABLE ? 0 : stack->ss_size;
}

void trap_note_altstack(void) {
    struct trap_thread *const thread = trap_thread();
    stack_t stack;
    if (thread != NULL && syscall(SYS_sigaltstack, NULL, &stack) == 0)
        thread->task.altstack_size = size_of(&stack);
}

int trap_sigaltstack(const stack_t *new_stack, stack_t *old_stack) {
    struct trap_thread *const thread = new_stack != NULL && trap_cpu() != NULL ? trap_thread() : NULL;
    if (thread != NULL) {
        const uint64_t lock = trap_lock(); /* against a request of another thread */
        const long refused = kernel_model_altstack(&thread->task, size_of(new_stack));
        trap_unlock(lock);
        if (refused)
            return (int)refused;
    }
    const int error = syscall(SYS_sigaltstack, new_stack, old_stack) == 0 ? 0 : -errno;
    if (error != 0 && thread != NULL)
        trap_note_altstack();
    return error;
}
