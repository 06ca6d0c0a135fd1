/* XCR0 and XINUSE. Both instructions fault where they do not exist, so CPUID is asked first. */
#include "machine/machine.h"

#include <errno.h>

#if AMX_STUBS

int amx_xgetbv(uint32_t index, uint64_t *value) {
    (void)index, (void)value;
    return -ENOSYS;
}

#else

#include <cpuid.h>

enum { CPUID_1_ECX_OSXSAVE = 1 << 27, CPUID_D_1_EAX_XGETBV1 = 1 << 2 };

/* index 0: XCR0; 1: XINUSE of this thread (SDM vol. 1, 13.2). -ENODEV where the instruction would raise #UD
 * or #GP. */
int amx_xgetbv(uint32_t index, uint64_t *value) {
    uint32_t eax, ebx, ecx, edx;
    if (index > 1)
        return -EINVAL;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & CPUID_1_ECX_OSXSAVE))
        return -ENODEV;
    if (index == 1 && (!__get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx) || !(eax & CPUID_D_1_EAX_XGETBV1)))
        return -ENODEV;
    /* .byte: the mnemonic needs -mxsave in some assemblers. */
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(eax), "=d"(edx) : "c"(index));
    *value = ((uint64_t)edx << 32) | eax;
    return 0;
}

#endif
