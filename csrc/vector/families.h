/* The families, each in its own file. */
#ifndef AMX_VECTOR_FAMILIES_H
#define AMX_VECTOR_FAMILIES_H

#include "vector/vector.h"

extern const struct vector_family vector_int8_sse2, vector_int8_avx2, vector_int8_avx512bw,
    vector_int8_avx_vnni, vector_int8_avx_vnni_int8, vector_int8_avx512_vnni;
extern const struct vector_family vector_floats_avx2, vector_floats_avx512;

#endif
