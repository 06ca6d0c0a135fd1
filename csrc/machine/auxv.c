/* The auxiliary vector, where the kernel states the worst-case size of a signal frame (AT_MINSIGSTKSZ). */
#include "machine/machine.h"

#if defined(__linux__)

#include <sys/auxv.h>

uint64_t amx_getauxval(uint64_t type) {
    return getauxval((unsigned long)type);
}

#else

uint64_t amx_getauxval(uint64_t type) {
    (void)type;
    return 0;
}

#endif
