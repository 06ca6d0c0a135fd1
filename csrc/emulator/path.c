/* Which arithmetic path the products take. */
#include "emulator.h"

#include <errno.h>
#include <stdatomic.h>

#ifdef __x86_64__
#include <cpuid.h>

enum {
    CPUID_1_ECX_FMA = 1 << 12,
    CPUID_1_ECX_OSXSAVE = 1 << 27,
    CPUID_1_ECX_AVX = 1 << 28,
    CPUID_1_ECX_F16C = 1 << 29,
    CPUID_7_EBX_AVX2 = 1 << 5,
    XCR0_SSE_AVX = 0x6,
};

static uint32_t xcr0_low(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

enum amxemu_path amxemu_best_path(void) {
    const uint32_t needed = CPUID_1_ECX_FMA | CPUID_1_ECX_OSXSAVE | CPUID_1_ECX_AVX | CPUID_1_ECX_F16C;
    uint32_t eax, ebx, ecx, edx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & needed) != needed)
        return AMXEMU_SCALAR;
    if ((xcr0_low() & XCR0_SSE_AVX) != XCR0_SSE_AVX)
        return AMXEMU_SCALAR;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & CPUID_7_EBX_AVX2))
        return AMXEMU_SCALAR;
    return AMXEMU_AVX2;
}
#else
enum amxemu_path amxemu_best_path(void) {
    return AMXEMU_SCALAR;
}
#endif

enum { UNDECIDED = -1 };
static atomic_int selected = UNDECIDED;

enum amxemu_path amxemu_selected_path(void) {
    int path = atomic_load_explicit(&selected, memory_order_relaxed);
    if (path == UNDECIDED) {
        path = amxemu_best_path();
        atomic_store_explicit(&selected, path, memory_order_relaxed);
    }
    return (enum amxemu_path)path;
}

int amxemu_select_path(enum amxemu_path path) {
    if (path != AMXEMU_SCALAR && (path != AMXEMU_AVX2 || amxemu_best_path() != AMXEMU_AVX2))
        return -ENOTSUP;
    atomic_store_explicit(&selected, path, memory_order_relaxed);
    return 0;
}
