/* The kernels that a provocation can be made on. */
#ifndef AMX_PROVOKE_KERNELS_H
#define AMX_PROVOKE_KERNELS_H

#include "provoke/kernel.h"

extern const struct kernel provoke_real_kernel; /* this machine's */
/* A model of the kernel's permission machine with the tiles emulated. */
const struct kernel *provoke_model_kernel(void);

#endif
