/* Tile instructions of the model. */
#ifndef AMX_PROVOKE_MODEL_INSN_H
#define AMX_PROVOKE_MODEL_INSN_H

#include "provoke/kernel.h"

/* Replaces entries of the table. */
void model_add_insns(struct kernel *table);

#endif
