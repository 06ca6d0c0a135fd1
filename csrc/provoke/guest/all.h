/* A whole run: what it is, the machine, the place, and each provocation of a plan in a process of its own. */
#ifndef AMX_PROVOKE_ALL_H
#define AMX_PROVOKE_ALL_H

#include "provoke/guest/plan.h"

/* To where frames.h was told. 0, EXIT_BROKEN where something could not be written, or it ends by the signal
 * that this process was told to end by. */
int guest_all(const struct guest_plan *plan, const struct guest_run *run);

#endif
