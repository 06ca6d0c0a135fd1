/* Which vector instructions may be used: what CPUID announces and XCR0 lets the registers keep. */
#ifndef AMXEMU_VECTORS_H
#define AMXEMU_VECTORS_H

enum amxemu_vectors {
    AMXEMU_HAS_AVX2 = 1 << 0,          /* with FMA and F16C, as every CPU has them together */
    AMXEMU_HAS_AVX_VNNI = 1 << 1,      /* VPDPBUSD on 256 bits, VEX */
    AMXEMU_HAS_AVX_VNNI_INT8 = 1 << 2, /* VPDPBSSD and its siblings, VEX */
    AMXEMU_HAS_AVX512 = 1 << 3,        /* F, BW, DQ, VL: what all but Xeon Phi have of it */
    AMXEMU_HAS_AVX512_VNNI = 1 << 4,   /* VPDPBUSD on 512 bits */
};
/* A set of these. What needs more than SSE2 and is not in it must not be executed. */
unsigned amxemu_vectors(void);

#endif
