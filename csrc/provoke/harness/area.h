/* The XSAVE area, as the kernel shows it in signal frames, ptrace and core files. */
#ifndef AMX_PROVOKE_AREA_H
#define AMX_PROVOKE_AREA_H

#include "provoke/kernel.h"

#include <string.h>

/* Standard format: SDM vol. 1, 13.4; the software-reserved bytes: struct _fpx_sw_bytes, asm/sigcontext.h. */
enum {
    AREA_MAGIC1 = 464,
    AREA_EXTENDED_SIZE = 468,
    AREA_XFEATURES = 472,
    AREA_XSTATE_SIZE = 480,
    AREA_XSTATE_BV = 512,
    AREA_XCOMP_BV = 520,
    AREA_RESERVED = 528,
    AREA_EXTENDED = 576,
    AREA_MAX = 64 * 1024, /* a buffer larger than any area */
};
#define AREA_XCOMP_COMPACTED (UINT64_C(1) << 63)

static inline uint64_t area_get(const uint8_t *area, size_t offset) {
    uint64_t value;
    memcpy(&value, area + offset, sizeof value);
    return value;
}
static inline void area_put(uint8_t *area, size_t offset, uint64_t value) {
    memcpy(area + offset, &value, sizeof value);
}
static inline void area_put32(uint8_t *area, size_t offset, uint32_t value) {
    memcpy(area + offset, &value, sizeof value);
}

struct xcomponent {
    uint32_t size, offset, flags; /* CPUID.D.n: EAX, EBX, ECX */
};
struct xcomponent area_component(const struct kernel *k, uint32_t number);
/* Where the last of these components ends, which is what the kernel calls the size of the state. */
uint32_t area_end(const struct kernel *k, uint64_t features);
/* What the kernel saves for user space: ARCH_GET_XCOMP_SUPP, XCR0 before 5.16. */
uint64_t area_features(const struct kernel *k);

#endif
