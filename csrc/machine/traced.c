/* Whether this process is a tracee of ours: its tracer answers a question that the kernel does not know. */
#include "machine/machine.h"

#if AMX_STUBS

int amx_is_traced(void) {
    return 0;
}

#else

#include "machine/traced.h"

/* Where CPUID announces tiles; elsewhere no tracer of ours is there, and a filter may kill for the question.
 */
int amx_is_traced(void) {
    enum { LEAF_FEATURES = 7, AMX_TILE = 1 << 24 };
    uint32_t leaf0[4], leaf7[4];
    amx_cpuid(0, 0, leaf0);
    if (leaf0[0] < LEAF_FEATURES)
        return 0;
    amx_cpuid(LEAF_FEATURES, 0, leaf7);
    return leaf7[3] & AMX_TILE && trap_is_traced();
}

#endif
