/* Which family multiplies by 4-bit weights: the best that CPUID and XCR0 allow, or one chosen by name. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emulator/vectors.h"
#include "vector/nibble_families.h"

/* Best first. */
static const struct nibbles_family *const families[] = {
#ifdef __x86_64__
    &nibbles_avx512_vnni,
#if AMX_HAS_AVX_VNNI
    &nibbles_avx_vnni,
#endif
    &nibbles_avx2,
#endif
    &nibbles_plain,       NULL,
};

const struct nibbles_family *nibbles_nth(int index) {
    const unsigned has = amxemu_vectors();
    for (const struct nibbles_family *const *each = families; *each != NULL; each++) {
        if (((*each)->needs & ~has) == 0 && index-- == 0) {
            return *each;
        }
    }
    return NULL;
}

/* NULL: not decided yet. Asking the CPU takes longer than a small product. */
static const struct nibbles_family *chosen;

const struct nibbles_family *nibbles_selected(void) {
    const struct nibbles_family *family = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (family == NULL) {
        family = nibbles_nth(0);
        __atomic_store_n(&chosen, family, __ATOMIC_RELAXED);
    }
    return family;
}

int nibbles_select(const char *name) {
    const struct nibbles_family *family = nibbles_nth(0);
    for (int i = 1; name != NULL && family != NULL && strcmp(family->name, name) != 0; i++) {
        family = nibbles_nth(i);
    }
    if (family == NULL) {
        return -ENOTSUP;
    }
    __atomic_store_n(&chosen, family, __ATOMIC_RELAXED);
    return 0;
}
