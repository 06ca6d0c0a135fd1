/* Which family multiplies: the best that CPUID and XCR0 allow, or one that was chosen by name. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emulator/vectors.h"
#include "vector/exact.h"
#include "vector/families.h"

#ifdef __x86_64__
/* Best first. */
static const struct vector_family *const int8[] = {
    &vector_int8_avx512_vnni,
#if AMX_HAS_AVX_VNNI_INT8
    &vector_int8_avx_vnni_int8,
#endif
#if AMX_HAS_AVX_VNNI
    &vector_int8_avx_vnni,
#endif
    &vector_int8_avx512bw,      &vector_int8_avx2, &vector_int8_sse2, NULL,
};
static const struct vector_family *const floats[] = {&vector_floats_avx512, &vector_floats_avx2, NULL};
#else
static const struct vector_family *const int8[] = {NULL}, *const floats[] = {NULL};
#endif

static int is_float(enum vector_kind kind) {
    return kind >= VECTOR_BF16;
}

const struct vector_family *vector_nth(enum vector_kind kind, int index) {
    const unsigned has = amxemu_vectors();
    if (is_float(kind) && !vector_floats_are_exact()) {
        return NULL;
    }
    for (const struct vector_family *const *each = is_float(kind) ? floats : int8; *each != NULL; each++) {
        if (((*each)->needs & ~has) == 0 && index-- == 0) {
            return *each;
        }
    }
    return NULL;
}

/* Asking the CPU takes longer than a small product. */
static const struct vector_family undecided;
static const struct vector_family *chosen[VECTOR_KINDS] = {&undecided, &undecided, &undecided,
                                                           &undecided, &undecided, &undecided};

const struct vector_family *vector_selected(enum vector_kind kind) {
    const struct vector_family *family = __atomic_load_n(&chosen[kind], __ATOMIC_RELAXED);
    if (family == &undecided) {
        family = vector_nth(kind, 0);
        __atomic_store_n(&chosen[kind], family, __ATOMIC_RELAXED);
    }
    return family;
}

int vector_select(enum vector_kind kind, const char *name) {
    const struct vector_family *family = vector_nth(kind, 0);
    for (int i = 1; name != NULL && family != NULL && strcmp(family->name, name) != 0; i++) {
        family = vector_nth(kind, i);
    }
    if (name != NULL && family == NULL) {
        return -ENOTSUP;
    }
    __atomic_store_n(&chosen[kind], family, __ATOMIC_RELAXED);
    return 0;
}
