/* What runs beside CTX-03. */
#ifndef AMX_PROVOKE_CTX_PROBES_H
#define AMX_PROVOKE_CTX_PROBES_H

#include "provoke/kernel.h"

/* The rest of CTX-03. */
void ctx_probes(const struct kernel *k);

#endif
