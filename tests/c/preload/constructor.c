/* A library whose constructor asks CPUID, and XGETBV in a function of it. */
#include <cpuid.h>

static unsigned tile;

__attribute__((constructor)) static void ask(void) {
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    tile = d >> 24 & 1;
}

unsigned tile_in_constructor(void) {
    return tile;
}

unsigned xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
