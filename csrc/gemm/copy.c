/* Rows of bytes whose number only the call knows, without the call and the branches of a memcpy for each. */
#include <string.h>

#include "gemm/gemm.h"

#if defined(__SSE2__)
#include <immintrin.h>

/* What the mask leaves out does not fault, wherever it lies (SDM volume 1, Programming with Intel AVX-512:
 * faults of masked elements are suppressed). */
__attribute__((target("avx512f,avx512bw"))) static void copy_avx512(uint8_t *to, int64_t to_stride,
                                                                    const uint8_t *from, int64_t from_stride,
                                                                    int64_t rows, int64_t bytes,
                                                                    const uint8_t *padding) {
    const __m512i rest = _mm512_loadu_si512(padding);
    const __mmask64 mask = ~UINT64_C(0) >> (64 - bytes);
    for (int64_t row = 0; row < rows; row++, to += to_stride, from += from_stride) {
        _mm512_storeu_si512(to, _mm512_mask_loadu_epi8(rest, mask, from));
    }
}
#endif

void gemm_copy_rows(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t rows,
                    int64_t bytes, const uint8_t padding[64]) {
    if (bytes == GEMM_CHUNK) {
        for (int64_t row = 0; row < rows; row++, to += to_stride, from += from_stride) {
            memcpy(to, from, GEMM_CHUNK);
        }
        return;
    }
#if defined(__SSE2__)
    if (__builtin_cpu_supports("avx512bw")) {
        copy_avx512(to, to_stride, from, from_stride, rows, bytes, padding);
        return;
    }
#endif
    for (int64_t row = 0; row < rows; row++, to += to_stride, from += from_stride) {
        memcpy(to, padding, GEMM_CHUNK);
        memcpy(to, from, (size_t)bytes);
    }
}
