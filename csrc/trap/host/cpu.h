/* What the CPU itself answers while the program is told something else. Async-signal-safe. */
#ifndef TRAP_HOST_CPU_H
#define TRAP_HOST_CPU_H

#include <stdint.h>

void cpuid_of_host(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);

/* The instruction alone, which may fault. */
void cpuid_execute(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
/* Makes it fault from now on, in every thread that inherits that, or lets it be (ARCH_SET_CPUID): 0, or -1
 * where CPU or kernel cannot. */
int cpuid_set_faulting(int faulting);
int cpuid_is_faulting(void);

enum { XGETBV_XCR0 = 0, XGETBV_XINUSE = 1 };
/* 0 where the CPU cannot tell. */
uint64_t xgetbv_of_host(uint32_t index);

#endif
