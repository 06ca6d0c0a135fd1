/* The floating-point environment around arithmetic that has its own. Memory accesses stay on their side. */
#ifndef AMXEMU_MXCSR_H
#define AMXEMU_MXCSR_H

#include <stdint.h>

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
