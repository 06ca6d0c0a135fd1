#include "trap/handler.h"

#include "trap/thread.h"
#include "trap/trap.h"

static void call(const struct sigaction *action, int signal, siginfo_t *info, void *context) {
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(signal, info, context);
    else
        action->sa_handler(signal);
}

static void make_initial(struct kernel_model_task *task) {
    amxemu_tilerelease(&task->tiles);
    task->data_live = 0;
}

static void call_and_restore(struct trap_thread *thread, struct amxemu_state *interrupted,
                             const struct sigaction *action, int signal, siginfo_t *info, void *context) {
    struct kernel_model_task *const task = &thread->task;
    const struct trap_memory_fault fault =
        thread->memory_fault; /* an instruction may have been interrupted */
    const int data_live = task->data_live;
    *interrupted = task->tiles;
    make_initial(task);
    call(action, signal, info, context);
    task->tiles = *interrupted;
    task->data_live = data_live;
    thread->memory_fault = fault;
}

__attribute__((noinline)) static void call_with_copy_on_stack(struct trap_thread *thread,
                                                              const struct sigaction *action, int signal,
                                                              siginfo_t *info, void *context) {
    struct amxemu_state interrupted;
    call_and_restore(thread, &interrupted, action, signal, info, context);
}

/* The copy that the kernel keeps in its frame is in the thread's record: stacks that hold a frame without
 * tiles are smaller. The stack is for handlers amid handlers, and after one that never came back. */
void trap_call_handler(const struct sigaction *action, int signal, siginfo_t *info, void *context) {
    struct trap_thread *const thread = trap_cpu() == NULL ? NULL : trap_thread_if_any();
    if (thread == NULL) {
        call(action, signal, info, context);
    } else if (kernel_model_xinuse(&thread->task) == 0) {
        call(action, signal, info, context);
        make_initial(&thread->task);
    } else if (!thread->has_interrupted) {
        thread->has_interrupted = 1;
        call_and_restore(thread, &thread->interrupted, action, signal, info, context);
        thread->has_interrupted = 0;
    } else {
        call_with_copy_on_stack(thread, action, signal, info, context);
    }
}
