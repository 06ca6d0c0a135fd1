/* Whether this build has a machine layer at all. */
#include "machine/machine.h"

int amx_is_stub(void) {
#if AMX_STUBS
    return 1;
#else
    return 0;
#endif
}
