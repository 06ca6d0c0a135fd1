/* Processes and threads that begin and end on the model. */
#define _GNU_SOURCE /* CLONE_VM */
#include "provoke/kernels/model_births.h"
#include "provoke/kernels/kernels.h"
#include "provoke/kernels/model_tasks.h"
#include "provoke/harness/tools.h"

#include "kernel_model/kernel_model.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/* What a new process starts from, taken before it exists. */
struct birth {
    struct kernel_model_process process;
    struct kernel_model_task task;
    int shares_memory, keeps_altstack;
    int (*child)(void *);
    void *argument;
};

static void conceive(struct birth *birth, uint64_t flags) {
    struct kernel_model_task *const parent = model_current();
    birth->process = *parent->process;
    birth->task = *parent;
    birth->shares_memory = (flags & CLONE_VM) != 0;
    birth->keeps_altstack = (flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM;
}

/* In the child, with the lock held. */
static void be_born(const struct birth *birth) {
    if (!birth->shares_memory)
        model_forget_all(); /* what was copied are the parent's threads */
    struct kernel_model_process *const process = model_new_process();
    kernel_model_process_clone(&birth->process, process);
    kernel_model_task_clone(&birth->task, model_new_task(), process, birth->keeps_altstack);
}

static pid_t model_fork(void) {
    struct birth birth;
    const uint64_t mask = model_lock();
    conceive(&birth, 0);
    const pid_t pid = provoke_real_kernel.fork();
    if (pid == 0)
        be_born(&birth);
    model_unlock(mask);
    return pid;
}

static int run_child(void *argument) {
    const struct birth *const birth = argument;
    uint64_t mask;
    if (!birth->shares_memory)
        model_reset_lock();
    mask = model_lock();
    be_born(birth);
    model_unlock(mask);
    const int status = birth->child(birth->argument);
    if (birth->shares_memory) {
        mask = model_lock();
        struct kernel_model_task *const task = model_current();
        struct kernel_model_process *const process = task->process;
        model_forget_task(task);
        model_forget_process(process);
        model_unlock(mask);
    }
    return status;
}

static pid_t model_clone_run(uint64_t flags, int (*child)(void *), void *argument) {
    struct birth *const birth = tool_map(sizeof *birth); /* outlives this call where memory is shared */
    birth->child = child;
    birth->argument = argument;
    const uint64_t mask = model_lock();
    conceive(birth, flags);
    model_unlock(mask);
    return provoke_real_kernel.clone_run(flags, run_child, birth);
}

static pid_t model_vfork_run(int (*child)(void *), void *argument) {
    return model_clone_run(CLONE_VM | CLONE_VFORK, child, argument);
}

struct thread_birth {
    struct kernel_model_task parent;
    struct kernel_model_process *process;
    void *(*run)(void *);
    void *argument;
};

static void *run_thread(void *argument) {
    struct thread_birth *const birth = argument;
    uint64_t mask = model_lock();
    kernel_model_task_clone(&birth->parent, model_new_task(), birth->process, 0);
    model_unlock(mask);
    void *const result = birth->run(birth->argument);
    mask = model_lock();
    model_forget_task(model_current());
    model_unlock(mask);
    free(birth);
    return result;
}

static int model_thread_start(uint64_t *thread, void *(*run)(void *), void *argument) {
    struct thread_birth *const birth = aligned_alloc(_Alignof(struct thread_birth), sizeof *birth);
    if (!birth)
        return ENOMEM;
    birth->parent = *model_current();
    birth->process = birth->parent.process;
    birth->run = run;
    birth->argument = argument;
    return provoke_real_kernel.thread_start(thread, run_thread, birth);
}

void model_add_births(struct kernel *table) {
    table->fork = model_fork;
    table->vfork_run = model_vfork_run;
    table->clone_run = model_clone_run;
    table->thread_start = model_thread_start;
}
