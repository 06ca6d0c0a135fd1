/* CPUID as it is: no check of the highest leaf, no interpretation. */
#include "machine/machine.h"

#if AMX_STUBS

#include <errno.h>

int amx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    (void)leaf, (void)subleaf, (void)registers;
    return -ENOSYS;
}

#else

#include <cpuid.h>

int amx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
    return 0;
}

#endif
