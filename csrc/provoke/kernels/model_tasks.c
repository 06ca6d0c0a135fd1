/* Who is running on the model.
 *
 * Tasks are found by their thread id, not in TLS: a CLONE_VM child shares its parent's TLS but has a tile
 * state and a permission of its own. Tile instructions take no lock, since a task's state is its own and its
 * process's permission one atomic word; everything else takes one lock with all signals blocked.
 */
#include "provoke/kernels/model_tasks.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"

#include "kernel_model/kernel_model.h"

#include <stdatomic.h>

enum { TASKS = 256, PROCESSES = 64 };
static struct {
    _Atomic pid_t thread; /* 0: free */
    struct kernel_model_task task;
} tasks[TASKS];
static struct {
    pid_t pid; /* 0: free */
    struct kernel_model_process process;
} processes[PROCESSES];
static atomic_flag locked = ATOMIC_FLAG_INIT;

static pid_t thread_id(void) {
    return (pid_t)system_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static pid_t process_id(void) {
    return (pid_t)system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

uint64_t model_lock(void) {
    const uint64_t all = UINT64_MAX;
    uint64_t previous;
    system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&previous, sizeof all, 0, 0);
    while (atomic_flag_test_and_set(&locked))
        system_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    return previous;
}

void model_unlock(uint64_t previous) {
    atomic_flag_clear(&locked);
    system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&previous, 0, sizeof previous, 0, 0);
}

struct kernel_model_task *model_current(void) {
    const pid_t thread = thread_id();
    for (int i = 0; i < TASKS; i++)
        if (atomic_load_explicit(&tasks[i].thread, memory_order_relaxed) == thread)
            return &tasks[i].task;
    provoke_broken("the model knows no thread %d", (int)thread);
}

/* With the lock held. */
struct kernel_model_task *model_new_task(void) {
    for (int i = 0; i < TASKS; i++)
        if (tasks[i].thread == 0) {
            tasks[i].thread = thread_id();
            return &tasks[i].task;
        }
    provoke_broken("more than %d threads", TASKS);
}

struct kernel_model_process *model_new_process(void) {
    for (int i = 0; i < PROCESSES; i++)
        if (processes[i].pid == 0) {
            processes[i].pid = process_id();
            return &processes[i].process;
        }
    provoke_broken("more than %d processes in one memory", PROCESSES);
}

struct kernel_model_task *model_first_task(void) {
    return &tasks[0].task;
}

void model_forget_task(struct kernel_model_task *task) {
    kernel_model_task_exit(task);
    for (int i = 0; i < TASKS; i++)
        if (&tasks[i].task == task)
            tasks[i].thread = 0;
}

void model_forget_process(struct kernel_model_process *process) {
    for (int i = 0; i < PROCESSES; i++)
        if (&processes[i].process == process)
            processes[i].pid = 0;
}

void model_forget_all(void) {
    for (int i = 0; i < TASKS; i++)
        tasks[i].thread = 0;
    for (int i = 0; i < PROCESSES; i++)
        processes[i].pid = 0;
}

void model_reset_lock(void) {
    atomic_flag_clear(&locked);
}
