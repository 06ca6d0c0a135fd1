/* bfloat16 and float16 on AVX-512F, by VFMADD on binary32. VDPBF16PS is of no use here: it adds both products
 * of a word to one chain. Nor is VFMADD*PH, which rounds to 16 bits.
 *
 * Registers  12 rows of 16 columns: 12 of even chains, 12 of odd ones; 2 of a row of B, even and odd; one
 *            mask. Numbers of A are repeated by the instruction that multiplies them: two such loads a cycle
 * Layout     a chunk of a row of A: its 32 elements as binary32. B: bfloat16 as it comes, widened between the
 *            products, where it costs nothing; float16, whose widening would, as 16 rows of even and odd
 *            elements of all columns in turn
 * Order      docs/numerics.md: both chains; their sum; the accumulator, which rests in memory, plus that
 * NaN        which one comes out is not VFMADD's to say: vector_redo() decides, before anything is stored
 * B          of float16 is prepared by the first rows, while they multiply
 * Few rows   one row by both column tiles of a panel, widened in registers
 * Edges      rows that are left over go by 4, 2 and 1; columns are always computed
 * Ceiling    16/17 of VFMADD: for 32 products an element takes two additions
 */
#include "emulator/vectors.h"
#include "vector/families.h"

#ifdef __x86_64__
#include <immintrin.h>

#ifndef AVX512 /* tests put a model of the instructions in their place */
#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define FMA(sum, number, b)                                                                                  \
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*(const float *)(number)))
#else
#define FMA(sum, number, b) ((sum) = _mm512_fmadd_ps(_mm512_set1_ps(*(const float *)(number)), b, sum))
#endif
#define INLINE static inline __attribute__((always_inline)) AVX512

enum { ROWS = 12, STEPS = 16, A_CHUNK = 2 * 4 * STEPS, B_CHUNK = 2 * 4 * STEPS * VECTOR_COLUMNS };
enum { AS_IT_COMES, PREPARES, PREPARED }; /* a row of B */

struct pair {
    __m512 even, odd;
};

/* 16 words to 16 even and 16 odd elements as binary32. */
INLINE struct pair widen_bf16(const uint8_t *from) {
    const __m512i x = _mm512_loadu_si512(from);
    return (struct pair){
        _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
        _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xFFFF0000))),
    };
}

/* VPMOVDW keeps the lower half of each word. */
INLINE struct pair widen_fp16(const uint8_t *from) {
    const __m512i x = _mm512_loadu_si512(from);
    return (struct pair){
        _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)),
        _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16))),
    };
}

INLINE struct pair row_of_b(const uint8_t *words, float *prepared, int step, const int how,
                            const enum vector_kind kind) {
    float *const even = prepared + step * 2 * VECTOR_COLUMNS, *const odd = even + VECTOR_COLUMNS;
    if (how == PREPARED) {
        return (struct pair){_mm512_loadu_ps(even), _mm512_loadu_ps(odd)};
    }
    words += step * VECTOR_CHUNK;
    const struct pair wide = kind == VECTOR_BF16 ? widen_bf16(words) : widen_fp16(words);
    if (how == PREPARES) {
        _mm512_storeu_ps(even, wide.even);
        _mm512_storeu_ps(odd, wide.odd);
    }
    return wide;
}

INLINE __m512 numbers(const uint8_t *from, const enum vector_kind kind) {
    const __m256i halves = _mm256_loadu_si256((const __m256i *)from);
    return kind == VECTOR_BF16 ? _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))
                               : _mm512_cvtph_ps(halves);
}

INLINE void widen_a(const struct vector_rows *on, const enum vector_kind kind) {
    for (int64_t r = 0; r < on->rows; r++) {
        uint8_t *to = on->to + r * on->to_row;
        const uint8_t *from = on->from + r * on->from_row;
        for (int64_t q = 0; q < on->chunks; q++, to += A_CHUNK, from += on->from_chunk) {
            _mm512_storeu_ps((float *)to, numbers(from, kind));
            _mm512_storeu_ps((float *)(to + A_CHUNK / 2), numbers(from + VECTOR_CHUNK / 2, kind));
        }
    }
}

AVX512 static void prepare_a(const struct vector_rows *on) {
    if (on->kind == VECTOR_BF16) {
        widen_a(on, VECTOR_BF16);
    } else {
        widen_a(on, VECTOR_FP16);
    }
}

INLINE void step(__m512 *even, __m512 *odd, const struct vector_rows_of_a *a, int s, const struct pair b,
                 const int rows) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        FMA(even[r], vector_row_of_a(a, r) + 8 * s, b.even);
        FMA(odd[r], vector_row_of_a(a, r) + 8 * s + 4, b.odd);
    }
}

/* Both chains of a chunk of 16 steps, or of `some`, if that is not 0. */
INLINE void chains(__m512 *even, __m512 *odd, const struct vector_rows_of_a *a, const uint8_t *words,
                   float *prepared, const int how, const enum vector_kind kind, const int rows, int some) {
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        even[r] = odd[r] = _mm512_setzero_ps();
    }
    if (some > 0) {
        struct vector_rows_of_a at = *a;
        for (int s = 0; s < some; s++) {
            step(even, odd, &at, 0, row_of_b(words, prepared, s, how, kind), rows);
            vector_go_on(&at, rows, 8);
        }
        return;
    }
#pragma GCC unroll 16
    for (int s = 0; s < STEPS; s++) {
        step(even, odd, a, s, row_of_b(words, prepared, s, how, kind), rows);
    }
}

INLINE int has_nan(const __m512 *sums, const int rows) {
    __mmask16 found = 0;
#pragma GCC unroll 12
    for (int r = 0; r + 1 < rows; r += 2) {
        found |= _mm512_cmp_ps_mask(sums[r], sums[r + 1], _CMP_UNORD_Q);
    }
    return (found | (rows % 2 ? _mm512_cmp_ps_mask(sums[rows - 1], sums[rows - 1], _CMP_UNORD_Q) : 0)) != 0;
}

/* Rows `first` ... by one column tile. Sums rest in memory: the chains take all registers. */
INLINE void group(const struct vector_block *on, int64_t first, const int rows, const int how,
                  const enum vector_kind kind, int some) {
    _Alignas(64) float sums[ROWS][VECTOR_COLUMNS];
    struct vector_rows_of_a a = vector_a_from(on, first, rows);
    float *prepared = (float *)on->prepared;
    const uint8_t *words = on->b, *before = on->from + first * on->from_row;
    int64_t before_row = on->from_row;
    __m512 even[ROWS], odd[ROWS];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        vector_fetch_results(on, first + r, 1);
    }
    for (int64_t q = 0;; q++, prepared += B_CHUNK / 4, words += on->b_chunk) {
        vector_fetch_ahead(on, first / ROWS, q);
        chains(even, odd, &a, words, prepared, how, kind, rows, some);
        vector_go_on(&a, rows, A_CHUNK);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            even[r] = _mm512_add_ps(_mm512_loadu_ps(before + r * before_row), _mm512_add_ps(even[r], odd[r]));
        }
        if (q + 1 == on->chunks) {
            break;
        }
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            _mm512_store_ps(sums[r], even[r]);
        }
        before = (const uint8_t *)sums;
        before_row = sizeof sums[0];
    }
    if (has_nan(even, rows)) {
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            _mm512_store_ps(sums[r], even[r]);
        }
        vector_redo(on, first, rows, sums[0], VECTOR_COLUMNS);
        return;
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        _mm512_storeu_ps(on->c + (first + r) * on->c_row, even[r]);
    }
}

INLINE void all_rows(const struct vector_block *on, const enum vector_kind kind, int some) {
    const int then = kind == VECTOR_BF16 ? AS_IT_COMES : PREPARED;
    int64_t row = 0;
    if (on->rows >= ROWS) {
        group(on, 0, ROWS, kind == VECTOR_BF16 ? AS_IT_COMES : PREPARES, kind, some);
        row = ROWS;
    } else if (kind != VECTOR_BF16) {
        group(on, 0, 1, PREPARES, kind, some);
        row = 1;
    }
    for (; row + ROWS <= on->rows; row += ROWS) {
        group(on, row, ROWS, then, kind, some);
    }
    for (; row + 4 <= on->rows; row += 4) {
        group(on, row, 4, then, kind, some);
    }
    for (; row + 2 <= on->rows; row += 2) {
        group(on, row, 2, then, kind, some);
    }
    if (row < on->rows) {
        group(on, row, 1, then, kind, some);
    }
}

AVX512 static void all_kinds(const struct vector_block *on) {
    if (on->kind == VECTOR_BF16) {
        all_rows(on, VECTOR_BF16, 0);
    } else {
        all_rows(on, VECTOR_FP16, 0);
    }
}

AVX512 static void add_some(const struct vector_block *on) {
    const int some = on->last_words;
    if (some < 1) {
        __builtin_unreachable();
    }
    if (on->kind == VECTOR_BF16) {
        all_rows(on, VECTOR_BF16, some);
    } else {
        all_rows(on, VECTOR_FP16, some);
    }
}

/* Whole chunks; then, of a last one that K does not fill, the words that there are, to what C has by then. */
static void multiply(const struct vector_block *on) {
    struct vector_block whole = *on;
    whole.chunks -= on->last_words < STEPS;
    if (whole.chunks > 0) {
        all_kinds(&whole);
    }
    if (whole.chunks < on->chunks) {
        const struct vector_block last = vector_behind(&whole, A_CHUNK);
        add_some(&last);
    }
}

/* One row by a panel, in the order in which it lies. */
INLINE void multiply_row(const struct vector_block *on, int64_t row, const enum vector_kind kind) {
    enum { PANEL = 2 * VECTOR_COLUMNS };
    _Alignas(64) float sums[PANEL];
    struct vector_rows_of_a a = vector_a_from(on, row, 1);
    const uint8_t *words = on->b;
    memcpy(sums, on->from + row * on->from_row, sizeof sums);
    for (int64_t q = 0; q < on->chunks; q++, words += on->b_chunk) {
#pragma GCC unroll 2
        for (int tile = 0; tile < 2; tile++) {
            const uint8_t *const lines = words + tile * VECTOR_TILE;
            float *const sum = sums + tile * VECTOR_COLUMNS;
            __m512 even, odd;
            for (int s = 0; s < STEPS; s++) {
                vector_fetch_line(lines + s * VECTOR_CHUNK);
            }
            chains(&even, &odd, &a, lines, NULL, AS_IT_COMES, kind, 1, 0);
            _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), _mm512_add_ps(even, odd)));
        }
        vector_go_on(&a, 1, A_CHUNK);
    }
    if (_mm512_cmp_ps_mask(_mm512_load_ps(sums), _mm512_load_ps(sums + VECTOR_COLUMNS), _CMP_UNORD_Q) != 0) {
        vector_redo(on, row, 1, sums, PANEL);
    } else {
        memcpy(on->c + row * on->c_row, sums, sizeof sums);
    }
}

AVX512 static void multiply_few(const struct vector_block *on) {
    for (int64_t row = 0; row < on->rows; row++) {
        if (on->kind == VECTOR_BF16) {
            multiply_row(on, row, VECTOR_BF16);
        } else {
            multiply_row(on, row, VECTOR_FP16);
        }
    }
}

const struct vector_family vector_floats_avx512 = {
    .name = "avx512",
    .needs = AMXEMU_HAS_AVX512,
    .rows = ROWS,
    .tiles = 1,
    .cycles = 256,
    .a_bytes = A_CHUNK,
    .b_bytes = B_CHUNK,
    .deepest = 32,
    .prepare_a = prepare_a,
    .multiply = multiply,
    .few = 1,
    .multiply_few = multiply_few,
};
#endif
