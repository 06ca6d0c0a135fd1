/* Elements of B into rows of its tiles: 64 bytes are [column 0-15][4 bytes of K].
 *
 * With AVX-512 a row is one store, so the store buffer holds four times as many lines that are on their way
 * as with 16 bytes a store. Every CPU with tiles has it.
 */
#include <string.h>

#include "gemm/gemm.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* No fault, whatever lies there; no difference where it cannot be asked for. */
static inline void prefetch(const uint8_t *from, int64_t offset) {
    __builtin_prefetch((const void *)((uintptr_t)from + (uintptr_t)offset));
}

/* Tile i covers a g-th of a line of each of g rows: it asks for a whole line of one of them. */
static inline void prefetch_row(const uint8_t *from, int64_t row_stride, int64_t ahead, int64_t tile,
                                int element) {
    const int64_t g = 4 / element;
    if (ahead != 0) {
        prefetch(from, ahead + tile % g * row_stride + tile / g * GEMM_CHUNK);
    }
}

/* 16 columns of g rows. */
typedef void row_interleaver(uint8_t *to, const uint8_t *row, int64_t row_stride, int element);

/* Always inlined, as is what it calls then: for each instruction set and element a loop without a call. */
static inline __attribute__((always_inline)) void
interleave_tiles(row_interleaver *interleave_one, uint8_t *to, int64_t panel_bytes, const uint8_t *from,
                 int64_t row_stride, int64_t ahead, int64_t groups, int64_t tiles, int element) {
    const int64_t g = 4 / element;
    for (int64_t k = 0; k < groups; k++, to += GEMM_CHUNK, from += g * row_stride) {
        uint8_t *tile_row = to;
        for (int64_t tile = 0; tile < tiles; tile++) {
            interleave_one(tile_row, from + tile * GEMM_ROWS * element, row_stride, element);
            prefetch_row(from, row_stride, ahead, tile, element);
            tile_row += tile % 2 == 0 ? GEMM_TILE : panel_bytes - GEMM_TILE;
        }
    }
}

#if defined(__SSE2__)

static inline void interleave_row(uint8_t *to, const uint8_t *row, int64_t row_stride, int element) {
    __m128i out[4];
    if (element == 1) {
        const __m128i r0 = _mm_loadu_si128((const __m128i *)(row));
        const __m128i r1 = _mm_loadu_si128((const __m128i *)(row + row_stride));
        const __m128i r2 = _mm_loadu_si128((const __m128i *)(row + 2 * row_stride));
        const __m128i r3 = _mm_loadu_si128((const __m128i *)(row + 3 * row_stride));
        const __m128i low01 = _mm_unpacklo_epi8(r0, r1), high01 = _mm_unpackhi_epi8(r0, r1);
        const __m128i low23 = _mm_unpacklo_epi8(r2, r3), high23 = _mm_unpackhi_epi8(r2, r3);
        out[0] = _mm_unpacklo_epi16(low01, low23);
        out[1] = _mm_unpackhi_epi16(low01, low23);
        out[2] = _mm_unpacklo_epi16(high01, high23);
        out[3] = _mm_unpackhi_epi16(high01, high23);
    } else {
        const __m128i r0a = _mm_loadu_si128((const __m128i *)(row));
        const __m128i r0b = _mm_loadu_si128((const __m128i *)(row + 16));
        const __m128i r1a = _mm_loadu_si128((const __m128i *)(row + row_stride));
        const __m128i r1b = _mm_loadu_si128((const __m128i *)(row + row_stride + 16));
        out[0] = _mm_unpacklo_epi16(r0a, r1a);
        out[1] = _mm_unpackhi_epi16(r0a, r1a);
        out[2] = _mm_unpacklo_epi16(r0b, r1b);
        out[3] = _mm_unpackhi_epi16(r0b, r1b);
    }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(to + 16 * i), out[i]);
    }
}

/* The g rows side by side in one register; then each lane's four columns of them, then their elements. */
__attribute__((target("avx512f,avx512bw"))) static inline void
interleave_row_avx512(uint8_t *to, const uint8_t *row, int64_t row_stride, int element) {
    const __m512i columns = element == 1
                                ? _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
                                : _mm512_setr_epi32(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const __m512i elements = _mm512_broadcast_i32x4(
        element == 1 ? _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
                     : _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    __m512i all;
    if (element == 1) {
        all = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)row));
        all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + row_stride)), 1);
        all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + 2 * row_stride)), 2);
        all = _mm512_inserti32x4(all, _mm_loadu_si128((const __m128i *)(row + 3 * row_stride)), 3);
    } else {
        all = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)row));
        all = _mm512_inserti64x4(all, _mm256_loadu_si256((const __m256i *)(row + row_stride)), 1);
    }
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(_mm512_permutexvar_epi32(columns, all), elements));
}
__attribute__((target("avx512f,avx512bw"))) static void
interleave_avx512(uint8_t *to, int64_t panel_bytes, const uint8_t *from, int64_t row_stride, int64_t ahead,
                  int64_t groups, int64_t tiles, int element) {
    if (element == 1) {
        interleave_tiles(interleave_row_avx512, to, panel_bytes, from, row_stride, ahead, groups, tiles, 1);
    } else {
        interleave_tiles(interleave_row_avx512, to, panel_bytes, from, row_stride, ahead, groups, tiles, 2);
    }
}

/* A transposition of 16 x 16 words of 4 bytes. */
static void transpose(uint8_t *tile, const uint8_t *from, int64_t column_stride) {
    for (int c = 0; c < GEMM_ROWS; c += 4) {
        for (int k = 0; k < GEMM_ROWS; k += 4) {
            const uint8_t *source = from + c * column_stride + 4 * k;
            const __m128i c0 = _mm_loadu_si128((const __m128i *)(source));
            const __m128i c1 = _mm_loadu_si128((const __m128i *)(source + column_stride));
            const __m128i c2 = _mm_loadu_si128((const __m128i *)(source + 2 * column_stride));
            const __m128i c3 = _mm_loadu_si128((const __m128i *)(source + 3 * column_stride));
            const __m128i low01 = _mm_unpacklo_epi32(c0, c1), high01 = _mm_unpackhi_epi32(c0, c1);
            const __m128i low23 = _mm_unpacklo_epi32(c2, c3), high23 = _mm_unpackhi_epi32(c2, c3);
            uint8_t *to = tile + k * GEMM_CHUNK + 4 * c;
            _mm_storeu_si128((__m128i *)(to), _mm_unpacklo_epi64(low01, low23));
            _mm_storeu_si128((__m128i *)(to + GEMM_CHUNK), _mm_unpackhi_epi64(low01, low23));
            _mm_storeu_si128((__m128i *)(to + 2 * GEMM_CHUNK), _mm_unpacklo_epi64(high01, high23));
            _mm_storeu_si128((__m128i *)(to + 3 * GEMM_CHUNK), _mm_unpackhi_epi64(high01, high23));
        }
    }
}

/* The same, of columns i, i + 4, i + 8 and i + 12 in the lanes of register i. */
__attribute__((target("avx512f"))) static void transpose_avx512(uint8_t *tile, const uint8_t *from,
                                                                int64_t column_stride) {
    const int64_t lane = 4 * column_stride;
    for (int k = 0; k < GEMM_ROWS; k += 4) {
        __m512i c[4];
        for (int i = 0; i < 4; i++) {
            const uint8_t *source = from + i * column_stride + 4 * k;
            c[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)source));
            c[i] = _mm512_inserti32x4(c[i], _mm_loadu_si128((const __m128i *)(source + lane)), 1);
            c[i] = _mm512_inserti32x4(c[i], _mm_loadu_si128((const __m128i *)(source + 2 * lane)), 2);
            c[i] = _mm512_inserti32x4(c[i], _mm_loadu_si128((const __m128i *)(source + 3 * lane)), 3);
        }
        const __m512i low01 = _mm512_unpacklo_epi32(c[0], c[1]), high01 = _mm512_unpackhi_epi32(c[0], c[1]);
        const __m512i low23 = _mm512_unpacklo_epi32(c[2], c[3]), high23 = _mm512_unpackhi_epi32(c[2], c[3]);
        uint8_t *to = tile + k * GEMM_CHUNK;
        _mm512_storeu_si512(to, _mm512_unpacklo_epi64(low01, low23));
        _mm512_storeu_si512(to + GEMM_CHUNK, _mm512_unpackhi_epi64(low01, low23));
        _mm512_storeu_si512(to + 2 * GEMM_CHUNK, _mm512_unpacklo_epi64(high01, high23));
        _mm512_storeu_si512(to + 3 * GEMM_CHUNK, _mm512_unpackhi_epi64(high01, high23));
    }
}

#else

static inline void interleave_row(uint8_t *to, const uint8_t *row, int64_t row_stride, int element) {
    for (int c = 0; c < GEMM_ROWS; c++) {
        for (int k = 0; k < 4 / element; k++) {
            memcpy(to + 4 * c + k * element, row + k * row_stride + c * element, (size_t)element);
        }
    }
}

static void transpose(uint8_t *tile, const uint8_t *from, int64_t column_stride) {
    for (int c = 0; c < GEMM_ROWS; c++) {
        for (int k = 0; k < GEMM_ROWS; k++) {
            memcpy(tile + k * GEMM_CHUNK + 4 * c, from + c * column_stride + 4 * k, 4);
        }
    }
}

#endif

static void interleave(uint8_t *to, int64_t panel_bytes, const uint8_t *from, int64_t row_stride,
                       int64_t ahead, int64_t groups, int64_t tiles, int element) {
    if (element == 1) {
        interleave_tiles(interleave_row, to, panel_bytes, from, row_stride, ahead, groups, tiles, 1);
    } else {
        interleave_tiles(interleave_row, to, panel_bytes, from, row_stride, ahead, groups, tiles, 2);
    }
}

void gemm_interleave(uint8_t *to, int64_t panel_bytes, const uint8_t *from, int64_t row_stride, int64_t ahead,
                     int64_t groups, int64_t tiles, int element) {
#if defined(__SSE2__)
    if (__builtin_cpu_supports("avx512bw")) {
        interleave_avx512(to, panel_bytes, from, row_stride, ahead, groups, tiles, element);
        return;
    }
#endif
    interleave(to, panel_bytes, from, row_stride, ahead, groups, tiles, element);
}

void gemm_transpose(uint8_t *tile, const uint8_t *from, int64_t column_stride, int64_t ahead) {
    for (int64_t c = 0; ahead != 0 && c < GEMM_ROWS; c++) {
        prefetch(from, c * column_stride + ahead);
    }
#if defined(__SSE2__)
    if (__builtin_cpu_supports("avx512f")) {
        transpose_avx512(tile, from, column_stride);
        return;
    }
#endif
    transpose(tile, from, column_stride);
}
