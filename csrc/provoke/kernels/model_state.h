/* What the kernel keeps and shows of tile state outside of signal frames, for the model. */
#ifndef AMX_PROVOKE_MODEL_STATE_H
#define AMX_PROVOKE_MODEL_STATE_H

#include "provoke/kernel.h"

/* Replaces entries of the model's table, which must be complete. */
void model_add_state(struct kernel *table);

#endif
