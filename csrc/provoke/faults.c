/* Kernels with one deliberate fault, which the checks must find. */
#include "provoke.h"
#include "see_list.h"

const struct kernel *provoke_faulty_kernel(const struct kernel *base, const char *fault) {
    (void)base, (void)fault;
    return NULL;
}

void provoke_list_faults(void) {}
