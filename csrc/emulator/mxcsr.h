/* The floating-point environment around arithmetic that has its own. Memory accesses stay on their side. */
#ifndef AMXEMU_MXCSR_H
#define AMXEMU_MXCSR_H

#include <stdint.h>

/* Every exception masked, nearest even. */
enum {
    AMXEMU_RESET_MXCSR = 0x1F80,     /* denormals count */
    AMXEMU_TILE_UNIT_MXCSR = 0x9FC0, /* FTZ and DAZ */
};

#ifdef __x86_64__
/* Returns what it was. */
static inline uint32_t amxemu_exchange_mxcsr(uint32_t value) {
    uint32_t before;
    __asm__ volatile("stmxcsr %0" : "=m"(before) : : "memory");
    __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
    return before;
}
#endif

#endif
