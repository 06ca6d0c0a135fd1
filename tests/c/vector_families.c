/* The families of csrc/vector/ against plain loops, bit for bit.
 *
 *     vector_families SEED COUNT
 *
 * COUNT blocks of each family and kind: all numbers of rows, some chunks, C from nothing or from sums, data
 * over the whole range, and for floats NaN, infinities and denormals in some. For integers the loops are
 * here; for floats they are the scalar reference of the tile machine. Prints a line for each. Exit status
 * 0: all equal; 1: a difference; 2: wrong usage. Compiled with tests/c/avx512_model it runs the families
 * whose instructions are modelled there, on a CPU with AVX2; else those that the CPU has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "emulator/mxcsr.h"
#include "emulator/product.h"
#include "emulator/vectors.h"
#include "random.h"
#include "vector/exact.h"
#include "vector/families.h"

enum { MOST_ROWS = 31, MOST_CHUNKS = 5, COLUMNS = 32 };

static const struct {
    const struct vector_family *family;
    int is_float;
} families[] = {
    {&vector_int8_sse2, 0},          {&vector_int8_avx2, 0},   {&vector_int8_avx512bw, 0},
#if AMX_HAS_AVX_VNNI
    {&vector_int8_avx_vnni, 0},
#endif
#if AMX_HAS_AVX_VNNI_INT8
    {&vector_int8_avx_vnni_int8, 0},
#endif
    {&vector_int8_avx512_vnni, 0},   {&vector_floats_avx2, 1}, {&vector_floats_avx512, 1},
};
static const char *const kinds[] = {"ss", "su", "us", "uu", "bf16", "fp16"};

static int last_words; /* of the last chunk */

static uint16_t any_float(enum vector_kind kind, int special) {
    static const uint16_t bf16[] = {0x7F80, 0xFF80, 0x7FC1, 0xFFA0, 0x0001,
                                    0x8070, 0x0080, 0x0000, 0x8000, 0x7F7F};
    static const uint16_t fp16[] = {0x7C00, 0xFC00, 0x7E01, 0xFD00, 0x0001,
                                    0x83FF, 0x0400, 0x0000, 0x8000, 0x7BFF};
    if (below(100) < special) {
        return (kind == VECTOR_BF16 ? bf16 : fp16)[below(10)];
    }
    const uint16_t bits = (uint16_t)random64();
    if (kind == VECTOR_BF16) { /* around 1, or small enough for tiny products */
        return (uint16_t)((bits & 0x807F) | ((special > 0 && below(4) == 0 ? 0x30 : 0x7B) + below(8)) << 7);
    }
    return (uint16_t)((bits & 0x83FF) | (9 + below(12)) << 10);
}

static void fill(uint8_t *to, size_t size, enum vector_kind kind, int special) {
    for (size_t i = 0; i < size; i += 2) {
        const uint16_t two = kind >= VECTOR_BF16 ? any_float(kind, special) : (uint16_t)random64();
        memcpy(to + i, &two, 2);
    }
}

static uint8_t a[MOST_ROWS][MOST_CHUNKS][64];
static uint8_t b[MOST_CHUNKS + 1][2][16][64];
static int32_t before[MOST_ROWS][COLUMNS + 16], got[MOST_ROWS][COLUMNS + 16], want[MOST_ROWS][COLUMNS];
static _Alignas(64) uint8_t prepared_a[MOST_ROWS][MOST_CHUNKS * 128 + 64], prepared_b[MOST_CHUNKS * 4096];

static int value(uint8_t byte, int is_signed) {
    return is_signed ? (int8_t)byte : byte;
}

static void expect_integers(enum vector_kind kind, int rows, int chunks) {
    const int a_signed = kind == VECTOR_SS || kind == VECTOR_SU,
              b_signed = kind == VECTOR_SS || kind == VECTOR_US;
    for (int r = 0; r < rows; r++) {
        for (int n = 0; n < COLUMNS; n++) {
            uint32_t sum = (uint32_t)before[r][n];
            for (int k = 0; k < 64 * chunks; k++) {
                const uint8_t x = a[r][k / 64][k % 64], y = b[k / 64][n / 16][k % 64 / 4][n % 16 * 4 + k % 4];
                sum += (uint32_t)(value(x, a_signed) * value(y, b_signed));
            }
            want[r][n] = (int32_t)sum;
        }
    }
}

/* By the reference of the tile machine, 16 rows and columns at a time. */
static void expect_floats(enum vector_kind kind, int rows, int chunks) {
    for (int first = 0; first < rows; first += 16) {
        const int m = rows - first < 16 ? rows - first : 16;
        for (int tile = 0; tile < 2; tile++) {
            uint8_t d[16][64], x[16][64];
            for (int r = 0; r < m; r++) {
                memcpy(d[r], &before[first + r][16 * tile], 64);
            }
            for (int q = 0; q < chunks; q++) {
                for (int r = 0; r < m; r++) {
                    memcpy(x[r], a[first + r][q], 64);
                }
                const struct amxemu_product p = {
                    d, (const uint8_t (*)[64])x, (const uint8_t (*)[64])b[q][tile], (unsigned)m, 16, 16};
                amxemu_float_scalar(&p, kind == VECTOR_BF16 ? AMXEMU_FLOAT_BF16 : AMXEMU_FLOAT_FP16);
            }
            for (int r = 0; r < m; r++) {
                memcpy(&want[first + r][16 * tile], d[r], 64);
            }
        }
    }
}

/* Columns `first` ... of the panel, as many as the family takes, or one tile. */
static void multiply(const struct vector_family *family, enum vector_kind kind, int rows, int chunks,
                     int first, int columns, int few, int starts) {
    struct vector_block on = {
        .a = prepared_a[0],
        .a_row = sizeof prepared_a[0],
        .b = b[0][first / 16][0],
        .b_chunk = 2048,
        .prepared = prepared_b,
        .chunks = chunks,
        .last_words = last_words,
        .rows = rows,
        .columns = columns,
        .from = (const uint8_t *)&before[0][first],
        .from_row = starts ? 0 : sizeof before[0],
        .c = (uint8_t *)&got[0][first],
        .c_row = sizeof got[0],
        .results = (uint8_t *)&got[0][first],
        .results_row = sizeof got[0],
        .kind = kind,
    };
#if defined(__x86_64__)
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AMXEMU_TILE_UNIT_MXCSR);
    if (few) {
        family->multiply_few(&on);
    } else {
        family->multiply(&on);
    }
    amxemu_exchange_mxcsr(mxcsr);
#endif
}

/* Behind the last words A and B hold what the driver pads them with (csrc/gemm/pack.c). */
static void pad(enum vector_kind kind, int chunks) {
    for (int k = 4 * last_words; k < 64; k++) {
        for (int r = 0; r < MOST_ROWS; r++) {
            a[r][chunks - 1][k] = kind >= VECTOR_BF16 && k % 2 != 0 ? 0x80 : 0;
        }
        for (int n = 0; n < 16; n++) {
            for (int tile = 0; tile < 2; tile++) {
                b[chunks - 1][tile][k / 4][4 * n + k % 4] = 0;
            }
        }
    }
}

static int differs(const struct vector_family *family, enum vector_kind kind) {
    const int few = family->few > 0 && below(4) == 0;
    const int rows = 1 + below(few ? family->few : MOST_ROWS), chunks = 1 + below(MOST_CHUNKS);
    const int special = below(3) == 0 ? 3 : 0, starts = below(2),
              columns = few ? COLUMNS : 16 * (below(2) ? family->tiles : 1);
    fill(a[0][0], sizeof a, kind, special);
    fill(b[0][0][0], sizeof b, kind, special);
    last_words = below(2) ? 16 : 1 + below(16);
    pad(kind, chunks);
    for (int r = 0; r < MOST_ROWS; r++) {
        for (int n = 0; n < COLUMNS; n++) {
            const float sum = (float)below(2000) - 1000;
            memcpy(&before[r][n], &sum, 4);
            if (kind < VECTOR_BF16 || below(200) < special) {
                before[r][n] = (int32_t)random64();
            }
        }
    }
    family->prepare_a(&(struct vector_rows){prepared_a[0], sizeof prepared_a[0], a[0][0], sizeof a[0], 64,
                                            MOST_ROWS, chunks, kind});
    if (starts) {
        memset(before, 0, sizeof before);
    }
    if (kind < VECTOR_BF16) {
        expect_integers(kind, rows, chunks);
    } else {
        expect_floats(kind, rows, chunks);
    }
    memset(got, 0x55, sizeof got);
    for (int first = 0; first < COLUMNS; first += columns) {
        multiply(family, kind, rows, chunks, first, columns, few, starts);
    }
    for (int r = 0; r < MOST_ROWS; r++) {
        for (int n = 0; n < COLUMNS; n++) {
            if (got[r][n] != (r < rows ? want[r][n] : 0x55555555)) {
                printf("%s %s: %d rows, %d chunks, %d words, %s of %d, %s: row %d, column %d is %08x, "
                       "not %08x\n",
                       family->name, kinds[kind], rows, chunks, last_words, few ? "few" : "block", columns,
                       starts ? "from 0" : "from sums", r, n, (unsigned)got[r][n],
                       r < rows ? (unsigned)want[r][n] : 0x55555555u);
                return 1;
            }
        }
    }
    return 0;
}

int main(int count, char **words) {
    if (count != 3 || (state = strtoull(words[1], NULL, 0) * 2 + 1) == 0) {
        fprintf(stderr, "usage: vector_families SEED COUNT\n");
        return 2;
    }
    const int blocks = atoi(words[2]);
    unsigned has = amxemu_vectors();
#ifdef AVX512_MODEL
    has |= has & AMXEMU_HAS_AVX2 ? ~0u : 0;
#endif
    int wrong = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct vector_family *family = families[i].family;
        if ((family->needs & ~has) != 0 || (families[i].is_float && !vector_floats_are_exact())) {
            printf("%s %s: not here\n", family->name, families[i].is_float ? "floats" : "int8");
            continue;
        }
        const int first = families[i].is_float ? VECTOR_BF16 : VECTOR_SS,
                  end = families[i].is_float ? VECTOR_KINDS : VECTOR_BF16;
        for (int kind = first; kind < end; kind++) {
            int differing = 0;
            for (int block = 0; block < blocks && !differing; block++) {
                differing = differs(family, (enum vector_kind)kind);
            }
            printf("%s %s: %s\n", family->name, kinds[kind], differing ? "differs" : "equal");
            wrong |= differing;
        }
    }
    return wrong;
}
