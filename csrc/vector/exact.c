/* Whether VFMADD and VCVTPH2PS do under FTZ and DAZ what they do on real CPUs (SDM vol. 1, 4.9.1.5
 * and 14.4.1): QEMU 7.2 flushes what would round to a normal number, and has VCVTPH2PS obey DAZ. */
#include "vector/exact.h"

#include "emulator/mxcsr.h"
#include "emulator/product.h"
#include "emulator/vectors.h"

#ifdef __x86_64__
#include <immintrin.h>

/* Not inlined, and of a volatile operand, so that the CPU computes it and no compiler. */
__attribute__((target("avx2,f16c"), noinline)) static float widen(const volatile int *half) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(*half)));
}

int vector_floats_are_exact(void) {
    if ((amxemu_vectors() & AMXEMU_HAS_AVX2) == 0) {
        return 0;
    }
    const volatile int least = 1; /* 2^-24 */
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR);
    const float wide = widen(&least);
    amxemu_exchange_mxcsr(mxcsr);
    return wide == 0x1p-24f && amxemu_flushes_what_was_rounded();
}
#else
int vector_floats_are_exact(void) {
    return 0;
}
#endif
