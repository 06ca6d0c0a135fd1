/* The stages of a run: a provocation that executes the program again goes on in the new image. */
#ifndef AMX_PROVOKE_STAGE_H
#define AMX_PROVOKE_STAGE_H

#include "provoke/kernel.h"

extern const char *stage_name; /* NULL in the first image */
/* From the command line; `fault` and `name` may be NULL. */
void stage_enter(const char *name, char *id, int on_model, char *fault);
/* The process image again from its start, by k->execve: the provocation is run with this stage. Returns
 * -errno. */
long stage_exec(const struct kernel *k, const char *name);

#endif
