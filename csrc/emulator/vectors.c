/* SDM vol. 2, CPUID, leaves 1 and 7; vol. 1, "Detection of AVX Instructions" and the same of AVX-512: what
 * software must find before it uses them. */
#include "vectors.h"

#include <stdint.h>

#ifdef __x86_64__
#include <cpuid.h>

enum {
    CPUID_1_ECX_FMA = 1 << 12,
    CPUID_1_ECX_OSXSAVE = 1 << 27,
    CPUID_1_ECX_AVX = 1 << 28,
    CPUID_1_ECX_F16C = 1 << 29,
    CPUID_7_EBX_AVX2 = 1 << 5,
    CPUID_7_EBX_AVX512F = 1 << 16,
    CPUID_7_EBX_AVX512DQ = 1 << 17,
    CPUID_7_EBX_AVX512BW = 1 << 30,
    CPUID_7_ECX_AVX512_VNNI = 1 << 11,
    CPUID_7_1_EAX_AVX_VNNI = 1 << 4,
    CPUID_7_1_EDX_AVX_VNNI_INT8 = 1 << 4,
    XCR0_AVX = 0x6,    /* SSE, AVX */
    XCR0_AVX512 = 0xE6 /* and opmask, ZMM_Hi256, Hi16_ZMM */
};
static const uint32_t CPUID_7_EBX_AVX512VL = UINT32_C(1) << 31;

static uint32_t xcr0_low(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has_all(uint32_t word, uint32_t bits) {
    return (word & bits) == bits;
}

unsigned amxemu_vectors(void) {
    const uint32_t avx = CPUID_1_ECX_FMA | CPUID_1_ECX_OSXSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_F16C;
    const uint32_t avx512 =
        CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512DQ | CPUID_7_EBX_AVX512BW | CPUID_7_EBX_AVX512VL;
    uint32_t eax, ebx, ecx, edx, eax1 = 0, ebx1, ecx1, edx1 = 0;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has_all(ecx, avx))
        return 0;
    const uint32_t xcr0 = xcr0_low();
    if (!has_all(xcr0, XCR0_AVX) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) ||
        !(ebx & CPUID_7_EBX_AVX2))
        return 0;
    if (eax >= 1)
        __cpuid_count(7, 1, eax1, ebx1, ecx1, edx1);
    unsigned found = AMXEMU_HAS_AVX2;
    if (eax1 & CPUID_7_1_EAX_AVX_VNNI)
        found |= AMXEMU_HAS_AVX_VNNI;
    if (edx1 & CPUID_7_1_EDX_AVX_VNNI_INT8)
        found |= AMXEMU_HAS_AVX_VNNI_INT8;
    if (has_all(xcr0, XCR0_AVX512) && has_all(ebx, avx512)) {
        found |= AMXEMU_HAS_AVX512;
        if (ecx & CPUID_7_ECX_AVX512_VNNI)
            found |= AMXEMU_HAS_AVX512_VNNI;
    }
    return found;
}
#else
unsigned amxemu_vectors(void) {
    return 0;
}
#endif
