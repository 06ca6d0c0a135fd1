/* When a tile product is valid and what it leaves in d: TDPBSSD ... TDPHF8PS. */
#include "product.h"

#include <stdatomic.h>
#include <string.h>

static int is_operand(const struct amxemu_state *s, unsigned t) {
    return s->rows[t] != 0 && s->colsb[t] % 4 == 0;
}

static int is_valid_product(const struct amxemu_state *s, unsigned d, unsigned a, unsigned b) {
    return s->palette != 0 && d != a && d != b && a != b && is_operand(s, d) && is_operand(s, a) &&
           is_operand(s, b) && s->rows[d] == s->rows[a] && s->colsb[d] == s->colsb[b] &&
           s->colsb[a] == 4 * s->rows[b];
}

static void int8_product(const struct amxemu_product *p, int a_signed, int b_signed) {
#ifdef __x86_64__
    const enum amxemu_path path = amxemu_selected_path();
    if (path >= AMXEMU_AVX512_VNNI) {
        amxemu_int8_avx512_vnni(p, a_signed, b_signed);
        return;
    }
    if (path >= AMXEMU_AVX2) {
        amxemu_int8_avx2(p, a_signed, b_signed);
        return;
    }
#endif
    amxemu_int8_scalar(p, a_signed, b_signed);
}

#ifdef __x86_64__
/* Of the products that are computed by VFMADD only sums of bfloat16's can be tiny. */
static int is_exact_by_fma(enum amxemu_float type) {
    enum { UNDECIDED = -1 };
    static atomic_int flushes = UNDECIDED;
    int answer = type == AMXEMU_FLOAT_BF16 ? atomic_load_explicit(&flushes, memory_order_relaxed) : 1;
    if (answer == UNDECIDED) {
        answer = amxemu_flushes_what_was_rounded();
        atomic_store_explicit(&flushes, answer, memory_order_relaxed);
    }
    return answer;
}
#endif

static void float_product(const struct amxemu_product *p, enum amxemu_float type) {
#ifdef __x86_64__
    const enum amxemu_path path = amxemu_selected_path();
    if (path >= AMXEMU_AVX2 && is_exact_by_fma(type)) {
        if (path >= AMXEMU_AVX512)
            amxemu_float_avx512(p, type);
        else
            amxemu_float_avx2(p, type);
        return;
    }
#endif
    amxemu_float_scalar(p, type);
}

static void zero_outside(uint8_t (*tile)[AMXEMU_COLSB], unsigned rows, unsigned colsb) {
    if (colsb < AMXEMU_COLSB)
        for (unsigned r = 0; r < rows; r++)
            memset(tile[r] + colsb, 0, AMXEMU_COLSB - colsb);
    if (rows < AMXEMU_ROWS)
        memset(tile[rows], 0, (size_t)(AMXEMU_ROWS - rows) * AMXEMU_COLSB);
}

enum amxemu_outcome amxemu_tdp(struct amxemu_state *s, enum amxemu_op op, unsigned d, unsigned a,
                               unsigned b) {
    if (!is_valid_product(s, d, a, b))
        return AMXEMU_UD;
    const struct amxemu_product p = {
        .d = s->tile[d],
        .a = (const uint8_t (*)[AMXEMU_COLSB])s->tile[a],
        .b = (const uint8_t (*)[AMXEMU_COLSB])s->tile[b],
        .m = s->rows[d],
        .n = s->colsb[d] / 4u,
        .k = s->rows[b],
    };
    switch (op) {
    case AMXEMU_TDPBSSD:
        int8_product(&p, 1, 1);
        break;
    case AMXEMU_TDPBSUD:
        int8_product(&p, 1, 0);
        break;
    case AMXEMU_TDPBUSD:
        int8_product(&p, 0, 1);
        break;
    case AMXEMU_TDPBUUD:
        int8_product(&p, 0, 0);
        break;
    case AMXEMU_TDPBF16PS:
        float_product(&p, AMXEMU_FLOAT_BF16);
        break;
    case AMXEMU_TDPFP16PS:
        float_product(&p, AMXEMU_FLOAT_FP16);
        break;
    case AMXEMU_TCMMRLFP16PS:
        float_product(&p, AMXEMU_FLOAT_COMPLEX_REAL);
        break;
    case AMXEMU_TCMMIMFP16PS:
        float_product(&p, AMXEMU_FLOAT_COMPLEX_IMAGINARY);
        break;
    case AMXEMU_TDPBF8PS:
        amxemu_fp8(&p, 1, 1);
        break;
    case AMXEMU_TDPBHF8PS:
        amxemu_fp8(&p, 1, 0);
        break;
    case AMXEMU_TDPHBF8PS:
        amxemu_fp8(&p, 0, 1);
        break;
    case AMXEMU_TDPHF8PS:
        amxemu_fp8(&p, 0, 0);
        break;
    default:
        return AMXEMU_UD;
    }
    zero_outside(s->tile[d], s->rows[d], s->colsb[d]);
    s->start_row = 0;
    return AMXEMU_OK;
}
