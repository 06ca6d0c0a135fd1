/* Operands into panels of tiles (layout: gemm.h).
 *
 * Padding beyond K. Integers: zeros. Floats: a product is defined over ceil(K/2) pairs of which only an odd
 * last element is padded with +0, while the tiles here always hold 16 pairs in a chunk. The pairs that do not
 * exist are -0 in A and +0 in B: their product is -0, and e + (-0) = e for every e that a chain can hold, -0
 * and NaN included, so they change nothing.
 */
#include <string.h>

#include "gemm/gemm.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline int64_t min64(int64_t x, int64_t y) {
    return x < y ? x : y;
}

/* rows x columns elements from anywhere to rows of `to_stride` bytes, elements adjacent. */
static void gather(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t rows, int64_t columns,
                   int64_t row_stride, int64_t column_stride, int element) {
    for (int64_t r = 0; r < rows; r++, to += to_stride, from += row_stride) {
        if (column_stride == element) {
            memcpy(to, from, (size_t)(columns * element));
        } else if (element == 1) {
            for (int64_t c = 0; c < columns; c++) {
                to[c] = from[c * column_stride];
            }
        } else {
            for (int64_t c = 0; c < columns; c++) {
                memcpy(to + 2 * c, from + c * column_stride, 2);
            }
        }
    }
}

/* A's padding in one tile row whose first `valid` elements are set. */
static void pad_a_row(uint8_t *row, int64_t valid, int element) {
    if (element == 1) {
        memset(row + valid, 0, (size_t)(GEMM_CHUNK - valid));
        return;
    }
    for (int64_t k = valid; k < GEMM_CHUNK / 2; k++) {
        int existing_pair = k == valid && valid % 2 != 0;
        row[2 * k] = 0;
        row[2 * k + 1] = existing_pair ? 0x00 : 0x80;
    }
}

void gemm_pack_a(uint8_t *panel, int64_t height, const struct gemm_matrix *a, int64_t first_row,
                 int64_t first_chunk, int64_t chunks) {
    const int64_t rows = min64(height, a->rows - first_row);
    const int64_t chunk_elements = GEMM_CHUNK / a->element;
    for (int64_t chunk = 0; chunk < chunks; chunk++, panel += height * GEMM_CHUNK) {
        const int64_t k = (first_chunk + chunk) * chunk_elements;
        const int64_t valid = min64(chunk_elements, a->columns - k);
        gather(panel, GEMM_CHUNK, a->data + first_row * a->row_stride + k * a->column_stride, rows, valid,
               a->row_stride, a->column_stride, a->element);
        for (int64_t row = 0; valid < chunk_elements && row < rows; row++) {
            pad_a_row(panel + row * GEMM_CHUNK, valid, a->element);
        }
    }
}

/* 16 columns of g rows of K, elements adjacent in each row, into one 64-byte row of a B tile: [column][k %
 * g]. */
static inline void interleave(uint8_t *to, const uint8_t *from, int64_t row_stride, int element) {
#if defined(__SSE2__)
    __m128i out[4];
    if (element == 1) {
        const __m128i r0 = _mm_loadu_si128((const __m128i *)(from));
        const __m128i r1 = _mm_loadu_si128((const __m128i *)(from + row_stride));
        const __m128i r2 = _mm_loadu_si128((const __m128i *)(from + 2 * row_stride));
        const __m128i r3 = _mm_loadu_si128((const __m128i *)(from + 3 * row_stride));
        const __m128i low01 = _mm_unpacklo_epi8(r0, r1), high01 = _mm_unpackhi_epi8(r0, r1);
        const __m128i low23 = _mm_unpacklo_epi8(r2, r3), high23 = _mm_unpackhi_epi8(r2, r3);
        out[0] = _mm_unpacklo_epi16(low01, low23);
        out[1] = _mm_unpackhi_epi16(low01, low23);
        out[2] = _mm_unpacklo_epi16(high01, high23);
        out[3] = _mm_unpackhi_epi16(high01, high23);
    } else {
        const __m128i r0a = _mm_loadu_si128((const __m128i *)(from));
        const __m128i r0b = _mm_loadu_si128((const __m128i *)(from + 16));
        const __m128i r1a = _mm_loadu_si128((const __m128i *)(from + row_stride));
        const __m128i r1b = _mm_loadu_si128((const __m128i *)(from + row_stride + 16));
        out[0] = _mm_unpacklo_epi16(r0a, r1a);
        out[1] = _mm_unpackhi_epi16(r0a, r1a);
        out[2] = _mm_unpacklo_epi16(r0b, r1b);
        out[3] = _mm_unpackhi_epi16(r0b, r1b);
    }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(to + 16 * i), out[i]);
    }
#else
    const int g = 4 / element;
    for (int c = 0; c < GEMM_ROWS; c++) {
        for (int k = 0; k < g; k++) {
            memcpy(to + 4 * c + k * element, from + k * row_stride + c * element, (size_t)element);
        }
    }
#endif
}

/* One B tile from a matrix whose columns are contiguous in K (a transposed view): [column][64 bytes of K] to
 * [4 bytes of K][column], a transposition of 16 x 16 words of 4 bytes. */
static void transpose_words(uint8_t *tile, const uint8_t *from, int64_t column_stride) {
#if defined(__SSE2__)
    for (int c = 0; c < 16; c += 4) {
        for (int k = 0; k < 16; k += 4) {
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
#else
    for (int c = 0; c < 16; c++) {
        for (int k = 0; k < 16; k++) {
            memcpy(tile + k * GEMM_CHUNK + 4 * c, from + c * column_stride + 4 * k, 4);
        }
    }
#endif
}

/* One B tile: `valid` elements of K and `columns` columns of it exist, the rest becomes zero. */
static void pack_b_tile(uint8_t *tile, const struct gemm_matrix *b, const uint8_t *from, int64_t valid,
                        int64_t columns) {
    const int64_t chunk_elements = GEMM_CHUNK / b->element;
    const int g = 4 / b->element;
    uint8_t strip[64 * 16]; /* up to 64 rows of 16 elements, or 32 of 16 x 2 bytes */
    int64_t row_stride = b->row_stride;
    if (valid == chunk_elements && columns == GEMM_ROWS) {
        if (b->row_stride == b->element) {
            transpose_words(tile, from, b->column_stride);
            return;
        }
        if (b->column_stride != b->element) {
            gather(strip, GEMM_ROWS * b->element, from, valid, columns, b->row_stride, b->column_stride,
                   b->element);
            from = strip;
            row_stride = GEMM_ROWS * b->element;
        }
    } else {
        memset(strip, 0, sizeof strip);
        gather(strip, GEMM_ROWS * b->element, from, valid, columns, b->row_stride, b->column_stride,
               b->element);
        from = strip;
        row_stride = GEMM_ROWS * b->element;
    }
    for (int64_t k = 0; k < GEMM_ROWS; k++) {
        interleave(tile + k * GEMM_CHUNK, from + k * g * row_stride, row_stride, b->element);
    }
}

void gemm_pack_b(uint8_t *panel, const struct gemm_matrix *b, int64_t first_column, int64_t first_chunk,
                 int64_t chunks) {
    const int64_t columns = min64(GEMM_PANEL, b->columns - first_column);
    const int64_t chunk_elements = GEMM_CHUNK / b->element;
    for (int64_t chunk = 0; chunk < chunks; chunk++, panel += GEMM_STEP) {
        const int64_t k = (first_chunk + chunk) * chunk_elements;
        const int64_t valid = min64(chunk_elements, b->rows - k);
        for (int64_t c = 0; c < columns; c += GEMM_ROWS) {
            pack_b_tile(panel + c / GEMM_ROWS * GEMM_TILE, b,
                        b->data + k * b->row_stride + (first_column + c) * b->column_stride, valid,
                        min64(GEMM_ROWS, columns - c));
        }
    }
}
