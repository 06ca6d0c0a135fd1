/* Signal frames for the model of the kernel. */
#ifndef AMX_PROVOKE_MODEL_FRAMES_H
#define AMX_PROVOKE_MODEL_FRAMES_H

#include "provoke/kernel.h"

/* Whether this thread's state has room for tile data. */
int model_expanded(void);
/* Replaces entries of the model's table, which must be complete. */
void model_add_frames(struct kernel *table);

#endif
