/* Discovery, and what the interface does not offer. */
#include "provoke.h"

/* What a reading operation gives: 0 or -errno, and the value. */
static void disc_01(const struct kernel *k) {
    uint64_t supported = 0;
    see_int("result", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("supported", supported);
    see_bits("xcr0", k->xcr0());
}

const struct provocation provoke_disc[] = {
    {"DISC-01", "ARCH_GET_XCOMP_SUPP beside XCR0", disc_01, 0},
    {0},
};
