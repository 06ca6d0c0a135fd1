#define _GNU_SOURCE
#include "trap/host/cpu.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012 }; /* 1: it answers, 0: it faults */

static int faulting;

int cpuid_set_faulting(int to) {
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, !to) != 0)
        return -1;
    faulting = to;
    return 0;
}

int cpuid_is_faulting(void) {
    return faulting;
}

/* Not <cpuid.h>'s, which compilers may move or leave out. */
void cpuid_execute(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    __asm__ volatile("cpuid"
                     : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]), "=d"(registers[3])
                     : "a"(leaf), "c"(subleaf)
                     : "memory");
}

void cpuid_of_host(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    if (faulting)
        syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    cpuid_execute(leaf, subleaf, registers);
    if (faulting)
        syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
}

uint64_t xgetbv_of_host(uint32_t index) {
    enum { OSXSAVE = 1 << 27, XSTATE_LEAF = 0xD, XGETBV_1 = 1 << 2 };
    uint32_t r[4], eax, edx;
    cpuid_of_host(1, 0, r);
    if (!(r[2] & OSXSAVE))
        return 0;
    if (index == XGETBV_XINUSE) {
        cpuid_of_host(XSTATE_LEAF, 1, r);
        if (!(r[0] & XGETBV_1))
            return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(index));
    return (uint64_t)edx << 32 | eax;
}
