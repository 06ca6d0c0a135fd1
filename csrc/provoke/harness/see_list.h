/* Lines that are no observations: what there is to run. */
#ifndef AMX_PROVOKE_SEE_LIST_H
#define AMX_PROVOKE_SEE_LIST_H

#include "provoke/kernel.h"

void see_provocation(const struct provocation *provocation);
void see_fault(const char *name, const char *what);

#endif
