/* The XSAVE area. */
#include "provoke/harness/area.h"

struct xcomponent area_component(const struct kernel *k, uint32_t number) {
    uint32_t registers[4];
    k->cpuid(0xd, number, registers);
    return (struct xcomponent){registers[0], registers[1], registers[2]};
}

uint32_t area_end(const struct kernel *k, uint64_t features) {
    uint32_t end = AREA_EXTENDED;
    for (uint32_t number = 2; number < 63; number++) {
        if (!(features >> number & 1))
            continue;
        const struct xcomponent component = area_component(k, number);
        if (component.offset + component.size > end)
            end = component.offset + component.size;
    }
    return end;
}

uint64_t area_features(const struct kernel *k) {
    uint64_t features = 0;
    return k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uint64_t)(uintptr_t)&features) == 0 ? features : k->xcr0();
}
