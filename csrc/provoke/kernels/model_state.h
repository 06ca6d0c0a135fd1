/* What the kernel keeps and shows of tile state outside of signal frames, for the model. */
#ifndef AMX_PROVOKE_MODEL_STATE_H
#define AMX_PROVOKE_MODEL_STATE_H

#include "provoke/kernel.h"

#include "kernel_model/kernel_model.h"

/* Replaces entries of the model's table, which must be complete. */
void model_add_state(struct kernel *table);
/* The first thread of a process, at the same address in it and in its tracer (model.c). */
struct kernel_model_task *model_first_task(void);

#endif
