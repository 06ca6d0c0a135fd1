/* Stores past the caches, which tiles have none of: finished blocks are copied from a buffer in L1. */
#include <string.h>

#include "gemm/gemm.h"

#if defined(__SSE2__)
#include <immintrin.h>

/* The widest stores there are: fewer instructions beside the products. */
__attribute__((target("avx512f"))) static void store_avx512(uint8_t *to, int64_t to_row, const uint8_t *from,
                                                            int64_t rows, int64_t bytes) {
    for (int64_t row = 0; row < rows; row++, to += to_row, from += bytes) {
        for (int64_t i = 0; i < bytes; i += 64) {
            _mm512_stream_si512((void *)(to + i), _mm512_loadu_si512(from + i));
        }
    }
}
static void store_sse2(uint8_t *to, int64_t to_row, const uint8_t *from, int64_t rows, int64_t bytes) {
    for (int64_t row = 0; row < rows; row++, to += to_row, from += bytes) {
        for (int64_t i = 0; i < bytes; i += 16) {
            _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
        }
    }
}

void gemm_store_past_caches(uint8_t *to, int64_t to_row, const uint8_t *from, int64_t rows, int64_t bytes) {
    if (__builtin_cpu_supports("avx512f")) {
        store_avx512(to, to_row, from, rows, bytes);
    } else {
        store_sse2(to, to_row, from, rows, bytes);
    }
}

void gemm_stores_done(void) {
    _mm_sfence();
}

#else

void gemm_store_past_caches(uint8_t *to, int64_t to_row, const uint8_t *from, int64_t rows, int64_t bytes) {
    for (int64_t row = 0; row < rows; row++, to += to_row, from += bytes) {
        memcpy(to, from, (size_t)bytes);
    }
}

void gemm_stores_done(void) {}

#endif
