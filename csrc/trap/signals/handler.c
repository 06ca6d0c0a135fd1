#include "trap/signals/handler.h"

#include "trap/cpu/emulated.h"
#include "trap/thread/thread.h"

#include <sys/mman.h>

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

/* ---- what was interrupted ---- */

/* A free one; else that of a handler which jumped out of a frame at the same place; else the oldest, as those
 * beyond any depth of nesting are of handlers that jumped out, too. NULL without memory. Another signal may
 * come amid this: what it takes it gives back before this goes on, or it never goes on. */
static struct trap_interrupted *keep(struct trap_thread *thread, uintptr_t context) {
    enum { KEPT = 32 };
    struct trap_interrupted *found = NULL, *oldest = NULL;
    unsigned count = 0;
    for (struct trap_interrupted *each = thread->interrupted; each != NULL; each = each->next, count++) {
        if (each->context == 0 || each->context == context)
            found = each;
        if (oldest == NULL || each->number < oldest->number)
            oldest = each;
    }
    if (found == NULL && count >= KEPT)
        found = oldest;
    if (found == NULL) {
        found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (found == MAP_FAILED)
            return NULL;
        found->next = thread->interrupted;
        thread->interrupted = found;
    }
    found->context = context;
    found->number = ++thread->interruptions;
    return found;
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

/* The copy that the kernel keeps in its frame is in memory of its own: stacks that hold a frame without tiles
 * are smaller. */
void trap_call_handler(const struct sigaction *action, int signal, siginfo_t *info, void *context) {
    struct trap_thread *const thread = trap_cpu() == NULL ? NULL : trap_thread_if_any();
    if (thread == NULL) {
        call(action, signal, info, context);
        return;
    }
    if (kernel_model_xinuse(&thread->task) == 0) {
        call(action, signal, info, context);
        make_initial(&thread->task);
        return;
    }
    struct trap_interrupted *const kept = keep(thread, (uintptr_t)context);
    if (kept == NULL) {
        call_with_copy_on_stack(thread, action, signal, info, context);
        return;
    }
    call_and_restore(thread, &kept->tiles, action, signal, info, context);
    kept->context = 0;
}
