/* Signal frames for the model of the kernel. */
#ifndef AMX_PROVOKE_MODEL_FRAMES_H
#define AMX_PROVOKE_MODEL_FRAMES_H

#include "provoke/kernel.h"

/* Replaces entries of the model's table, which must be complete. */
void model_add_frames(struct kernel *table);

#endif
