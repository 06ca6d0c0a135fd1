/* Tile instructions of the model. */
#ifndef AMX_PROVOKE_MODEL_INSN_H
#define AMX_PROVOKE_MODEL_INSN_H

#include "provoke/kernel.h"

#include "kernel_model/kernel_model.h"

/* Replaces entries of the table. */
void model_add_insns(struct kernel *table);
/* In model.c: the task of the calling thread. */
struct kernel_model_task *model_current(void);

#endif
