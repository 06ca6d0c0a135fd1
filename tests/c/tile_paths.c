/* The arithmetic paths of the software tile machine against the scalar one, bit for bit.
 *
 *     tile_paths SEED COUNT
 *
 * COUNT products of each instruction: all shapes, operands that reach the corners of the arithmetic, rubbish
 * outside the shapes, any rounding mode and flags of the caller in MXCSR, which must stay. Prints what this
 * CPU has, and a line for each instruction and path. Exit status 0: all equal; 1: a difference; 2: wrong
 * usage. Compiled with tests/c/avx512_model it runs AVX-512's paths where there is AVX2, else those that the
 * CPU has.
 */
#include <immintrin.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "differential/data.h"
#include "emulator/mxcsr.h"
#include "emulator/product.h"
#include "emulator/vectors.h"

#ifdef AVX512_MODEL
enum { NEEDS_AVX512 = AMXEMU_HAS_AVX2, NEEDS_VNNI = AMXEMU_HAS_AVX2 };
#else
enum { NEEDS_AVX512 = AMXEMU_HAS_AVX512, NEEDS_VNNI = AMXEMU_HAS_AVX512_VNNI };
#endif

typedef uint8_t tile[AMXEMU_ROWS][AMXEMU_COLSB];
typedef void int8_product(const struct amxemu_product *p, int a_signed, int b_signed);
typedef void float_product(const struct amxemu_product *p, enum amxemu_float type);

static const struct path {
    const char *name;
    unsigned needs_for_int8, needs_for_floats;
    int8_product *int8;
    float_product *floats;
} paths[] = {
    {"avx2", AMXEMU_HAS_AVX2, AMXEMU_HAS_AVX2, amxemu_int8_avx2, amxemu_float_avx2},
    {"avx512", NEEDS_VNNI, NEEDS_AVX512, amxemu_int8_avx512_vnni, amxemu_float_avx512},
};
enum { PATHS = sizeof paths / sizeof *paths };

static const struct instruction {
    const char *name;
    enum family family;
    int a_signed, b_signed;
    enum amxemu_float type;
} instructions[] = {
    {"TDPBSSD", FAMILY_INT8, 1, 1, 0},
    {"TDPBSUD", FAMILY_INT8, 1, 0, 0},
    {"TDPBUSD", FAMILY_INT8, 0, 1, 0},
    {"TDPBUUD", FAMILY_INT8, 0, 0, 0},
    {"TDPBF16PS", FAMILY_BF16, 0, 0, AMXEMU_FLOAT_BF16},
    {"TDPFP16PS", FAMILY_FP16, 0, 0, AMXEMU_FLOAT_FP16},
    {"TCMMRLFP16PS", FAMILY_COMPLEX, 0, 0, AMXEMU_FLOAT_COMPLEX_REAL},
    {"TCMMIMFP16PS", FAMILY_COMPLEX, 0, 0, AMXEMU_FLOAT_COMPLEX_IMAGINARY},
};

static void fill(struct random *r, enum family family, tile t) {
    static const uint8_t extremes[] = {0x80, 0x7F, 0xFF, 0x00, 0x01};
    uint8_t *const bytes = t[0];
    if (family != FAMILY_INT8 || one_in(r, 2)) {
        fill_data(r, family, bytes, sizeof(tile));
        return;
    }
    const unsigned first = below(r, sizeof extremes), kinds = 1 + below(r, sizeof extremes - first);
    for (size_t i = 0; i < sizeof(tile); i++)
        bytes[i] = extremes[first + below(r, kinds)];
}

static uint32_t any_mxcsr(struct random *r) {
    enum { ALL_MASKED = 0x1F80, FTZ_ROUNDING_DAZ_FLAGS = 0xE07F };
    return ALL_MASKED | ((uint32_t)random64(r) & FTZ_ROUNDING_DAZ_FLAGS);
}

static void multiply(const struct path *path, const struct instruction *insn,
                     const struct amxemu_product *p) {
    if (path == NULL && insn->family == FAMILY_INT8)
        amxemu_int8_scalar(p, insn->a_signed, insn->b_signed);
    else if (path == NULL)
        amxemu_float_scalar(p, insn->type);
    else if (insn->family == FAMILY_INT8)
        path->int8(p, insn->a_signed, insn->b_signed);
    else
        path->floats(p, insn->type);
}

static uint32_t word(const tile t, unsigned row, unsigned i) {
    uint32_t value;
    memcpy(&value, t[row] + 4 * i, sizeof value);
    return value;
}

/* A difference with what an element was made of. */
static void print_case(const struct path *path, const struct instruction *insn,
                       const struct amxemu_product *p, const tile before, const tile expected, unsigned m,
                       unsigned n) {
    printf("difference: %s %s, %ux%ux%u: d[%u][%u] was %08" PRIx32 ", should be %08" PRIx32 ", is %08" PRIx32
           "; a * b:",
           insn->name, path->name, p->m, p->n, p->k, m, n, word(before, m, n), word(expected, m, n),
           word((const uint8_t (*)[AMXEMU_COLSB])p->d, m, n));
    for (unsigned k = 0; k < p->k; k++)
        printf(" %08" PRIx32 "*%08" PRIx32, word(p->a, m, k), word(p->b, k, n));
    printf("\n");
}

static int differs(const struct path *path, const struct instruction *insn, struct amxemu_product p,
                   const tile before, const tile expected, uint32_t mxcsr, int may_print) {
    _Alignas(64) tile d;
    memcpy(d, before, sizeof d);
    p.d = d;
    const uint32_t ours = amxemu_exchange_mxcsr(mxcsr);
    multiply(path, insn, &p);
    const uint32_t left = amxemu_exchange_mxcsr(ours);
    int wrong = 0;
    if (left != mxcsr) {
        wrong = 1;
        printf("difference: %s %s: MXCSR %x became %x\n", insn->name, path->name, mxcsr, left);
    }
    for (unsigned m = 0; m < p.m; m++)
        for (unsigned n = 0; n < p.n; n++)
            if (word((const uint8_t (*)[AMXEMU_COLSB])d, m, n) != word(expected, m, n)) {
                if (may_print && !wrong)
                    print_case(path, insn, &p, before, expected, m, n);
                wrong = 1;
            }
    return wrong;
}

static unsigned any_size(struct random *r, unsigned below_this) {
    return one_in(r, 2) ? below_this - 1 : 1 + below(r, below_this - 1);
}

/* Returns whether all were equal. */
static int compare(const struct instruction *insn, struct random *r, unsigned count, unsigned vectors) {
    unsigned differences[PATHS] = {0};
    int equal = 1;
    for (unsigned i = 0; i < count; i++) {
        _Alignas(64) tile a, b, d, expected;
        fill(r, insn->family, a);
        fill(r, insn->family, b);
        fill(r, insn->family, d);
        memcpy(expected, d, sizeof d);
        const unsigned m = any_size(r, AMXEMU_ROWS + 1), n = any_size(r, AMXEMU_ROWS + 1);
        const struct amxemu_product p = {
            expected, (const uint8_t (*)[AMXEMU_COLSB])a, (const uint8_t (*)[AMXEMU_COLSB])b, m,
            n,        any_size(r, AMXEMU_ROWS + 1)};
        multiply(NULL, insn, &p);
        for (int path = 0; path < PATHS; path++) {
            const unsigned needs =
                insn->family == FAMILY_INT8 ? paths[path].needs_for_int8 : paths[path].needs_for_floats;
            if (vectors & needs)
                differences[path] +=
                    differs(&paths[path], insn, p, (const uint8_t (*)[AMXEMU_COLSB])d,
                            (const uint8_t (*)[AMXEMU_COLSB])expected, any_mxcsr(r), differences[path] == 0);
        }
    }
    for (int path = 0; path < PATHS; path++) {
        const unsigned needs =
            insn->family == FAMILY_INT8 ? paths[path].needs_for_int8 : paths[path].needs_for_floats;
        if (vectors & needs)
            printf("%s %s: %u products, %u differences\n", insn->name, paths[path].name, count,
                   differences[path]);
        equal &= differences[path] == 0;
    }
    fflush(stdout);
    return equal;
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: tile_paths SEED COUNT\n");
        return 2;
    }
    struct random r = {strtoull(words[1], NULL, 0)};
    const unsigned vectors = amxemu_vectors();
    int equal = 1;
    printf("vectors %#x\n", vectors);
    for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++)
        equal &= compare(&instructions[i], &r, (unsigned)strtoul(words[2], NULL, 0), vectors);
    return !equal;
}
