/* Processes and threads that begin and end on the model. */
#ifndef AMX_PROVOKE_MODEL_BIRTHS_H
#define AMX_PROVOKE_MODEL_BIRTHS_H

#include "provoke/kernel.h"

/* Replaces entries of the table. */
void model_add_births(struct kernel *table);

#endif
