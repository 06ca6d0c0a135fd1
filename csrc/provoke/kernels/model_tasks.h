/* The processes and threads that the model knows. */
#ifndef AMX_PROVOKE_MODEL_TASKS_H
#define AMX_PROVOKE_MODEL_TASKS_H

#include "kernel_model/kernel_model.h"

/* Blocks all signals of this thread; returns the mask that was. */
uint64_t model_lock(void);
void model_unlock(uint64_t previous);

struct kernel_model_task *model_current(void); /* of the calling thread */
/* The first thread of a process, at the same address in it and in its tracer. */
struct kernel_model_task *model_first_task(void);

/* With the lock held: places for the calling thread and its process, to be filled. */
struct kernel_model_task *model_new_task(void);
struct kernel_model_process *model_new_process(void);
void model_forget_task(struct kernel_model_task *task);
void model_forget_process(struct kernel_model_process *process);

/* In a child with a memory of its own, where what was copied are the parent's threads, and the lock in
 * whatever state another thread had it. */
void model_forget_all(void);
void model_reset_lock(void);

#endif
