/* What glibc found at its beginning, before this library was there, and tells by <sys/platform/x86.h>. */
#include "trap/emulation.h"
#include "trap/preload/interpose.h"

#include <stdint.h>

/* As in that header, which is newer than some C libraries. */
struct cpuid_feature {
    uint32_t cpuid[4], active[4]; /* eax, ebx, ecx, edx */
};

REAL(const struct cpuid_feature *, __x86_get_cpuid_feature_leaf, unsigned);

/* Places of AMX in leaf 7, by glibc's number for its subleaves 0 and 1. */
static const struct {
    unsigned number, subleaf;
    uint32_t amx[4];
} leaves[] = {
    {1, 0, {0, 0, 0, 1 << 22 | 1 << 24 | 1 << 25}},
    {6, 1, {1 << 21, 0, 0, 1 << 8}},
};
enum { LEAVES = sizeof leaves / sizeof *leaves };

INTERPOSED const struct cpuid_feature *__x86_get_cpuid_feature_leaf(unsigned number);
const struct cpuid_feature *__x86_get_cpuid_feature_leaf(unsigned number) {
    static struct cpuid_feature completed[LEAVES];
    static const struct cpuid_feature nothing;
    const struct cpuid_feature *const found =
        LIBCS(__x86_get_cpuid_feature_leaf) != NULL ? real___x86_get_cpuid_feature_leaf(number) : &nothing;
    for (int i = 0; i < LEAVES; i++) {
        uint32_t emulated[4];
        if (leaves[i].number != number || amx_trap_cpuid(7, leaves[i].subleaf, emulated) != 0)
            continue;
        struct cpuid_feature *const c = &completed[i]; /* the same whoever writes it */
        for (int r = 0; r < 4; r++) {
            c->cpuid[r] = (found->cpuid[r] & ~leaves[i].amx[r]) | (emulated[r] & leaves[i].amx[r]);
            c->active[r] = (found->active[r] & ~leaves[i].amx[r]) | (emulated[r] & leaves[i].amx[r]);
        }
        return c;
    }
    return found;
}
