#define _GNU_SOURCE
#include "trap/host/address.h"

#include "trap/host/cpu.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* CPUID says what the CPU can. Whether Linux uses it shows in what a process may map: nothing at 2^47 or
 * above with four levels of page tables; with five it gets what it asks for there, and only then
 * (Documentation/arch/x86/x86_64/5level-paging.rst). By the system call: a program may have an mmap of its
 * own. */
int address_la57(void) {
    enum { EAX, ECX = 2, LEAF_FEATURES = 7, CPUID_7_ECX_LA57 = 1 << 16, PAGE = 4096 };
    const unsigned long beyond = 1UL << 48;
    uint32_t r[4];

    cpuid_of_host(0, 0, r);
    if (r[EAX] < LEAF_FEATURES)
        return 0;
    cpuid_of_host(LEAF_FEATURES, 0, r);
    if (!(r[ECX] & CPUID_7_ECX_LA57))
        return 0;
    const long mapped = syscall(SYS_mmap, beyond, (long)PAGE, (long)PROT_NONE,
                                (long)(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE), -1L, 0L);
    if (mapped == -1) /* no room for a page tells nothing; Linux uses it unless told not to */
        return 1;
    syscall(SYS_munmap, mapped, (long)PAGE);
    return (unsigned long)mapped >> 47 != 0;
}
