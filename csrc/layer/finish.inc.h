/* A block of products to results, four vectors of a row at a time, then one, then what does not fill one. */

/* What one row has. */
struct LAYER_FUNCTION(row) {
    const uint8_t *c, *residual;
    uint8_t *out;
    LAYER_F scale;
    LAYER_U zero, less_zero; /* less_zero: its sum with the zero point taken off */
};

/* Each step is taken for all vectors before the next one: so it is asked for once. */
#define LAYER_EACH(v, vectors) _Pragma("GCC unroll 4") for (int v = 0; v < (vectors); v++)

LAYER_INLINE LAYER_U LAYER_FUNCTION(times)(LAYER_U x, const int32_t *from) {
    LAYER_U y;
    memcpy(&y, from, sizeof y);
    return x * y;
}

/* y holds integers, and then floats. */
LAYER_INLINE void LAYER_FUNCTION(convert)(const struct layer_block *on,
                                          const struct LAYER_FUNCTION(row) * row, int64_t column, LAYER_F *y,
                                          const int vectors) {
    if (on->row_zero != NULL) {
        LAYER_EACH(v, vectors) {
            const int32_t *const from = on->column_sum + column + v * LAYER_LANES;
            y[v] = (LAYER_F)((LAYER_U)y[v] - LAYER_FUNCTION(times)(row->zero, from));
        }
    }
    if (on->column_zero != NULL) {
        LAYER_EACH(v, vectors) {
            const int32_t *const from = on->column_zero + column + v * LAYER_LANES;
            y[v] = (LAYER_F)((LAYER_U)y[v] - LAYER_FUNCTION(times)(row->less_zero, from));
        }
    }
    LAYER_EACH(v, vectors) {
        y[v] = LAYER_FLOAT((LAYER_I)y[v]);
    }
}

/* Up to the activation. */
LAYER_INLINE void LAYER_FUNCTION(products)(const struct layer_block *on,
                                           const struct LAYER_FUNCTION(row) * row, int64_t column, LAYER_F *y,
                                           const int vectors) {
    LAYER_EACH(v, vectors) {
        y[v] = LAYER_FUNCTION(load)(row->c + 4 * (column + v * LAYER_LANES));
    }
    if (!on->c_is_float) {
        LAYER_FUNCTION(convert)(on, row, column, y, vectors);
    }
    if (on->row_scale != NULL) {
        LAYER_EACH(v, vectors) {
            y[v] = y[v] * row->scale;
        }
    }
    if (on->column_scale != NULL) {
        LAYER_EACH(v, vectors) {
            y[v] = y[v] * LAYER_FUNCTION(load)(on->column_scale + column + v * LAYER_LANES);
        }
    }
    if (on->bias != NULL) {
        LAYER_EACH(v, vectors) {
            y[v] = y[v] + LAYER_FUNCTION(load)(on->bias + column + v * LAYER_LANES);
        }
    }
    if (on->residual != NULL) {
        LAYER_EACH(v, vectors) {
            y[v] = y[v] + LAYER_FUNCTION(widen)(on->residual_type, row->residual, column + v * LAYER_LANES);
        }
    }
}

/* With the one NaN that results have; LAYER_MAX would lose it. */
LAYER_INLINE LAYER_F LAYER_FUNCTION(activated)(const enum layer_activation which, LAYER_F y) {
    LAYER_MASK is_nan = LAYER_UNORDERED(y, y);
    if (which == LAYER_RELU) {
        y = LAYER_MAX(y, LAYER_ALL(0.0F));
    } else if (which != LAYER_NO_ACTIVATION) {
        y = which == LAYER_SILU   ? LAYER_FUNCTION(silu)(y)
            : which == LAYER_GELU ? LAYER_FUNCTION(gelu)(y)
                                  : LAYER_FUNCTION(gelu_tanh)(y);
        is_nan = LAYER_UNORDERED(y, y); /* of -infinity too */
    }
    return LAYER_SELECT(is_nan, (LAYER_F)LAYER_ALL_INT(0x7FC00000), y);
}

LAYER_INLINE void LAYER_FUNCTION(activate)(const enum layer_activation which, LAYER_F *y, const int vectors) {
    LAYER_EACH(v, vectors) {
        y[v] = LAYER_FUNCTION(activated)(which, y[v]);
    }
}

LAYER_INLINE void LAYER_FUNCTION(store_bf16)(uint8_t *out, const LAYER_F *y, const int vectors) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v += 2) {
        const LAYER_I first = LAYER_FUNCTION(to_bf16)(y[v]);
        const LAYER_I second = v + 1 < vectors ? LAYER_FUNCTION(to_bf16)(y[v + 1]) : first;
        const LAYER_I both = LAYER_PACK_UPPER(first, second);
        memcpy(out + v * LAYER_BYTES / 2, &both, v + 1 < vectors ? LAYER_BYTES : LAYER_BYTES / 2);
    }
}

LAYER_INLINE void LAYER_FUNCTION(store_bytes)(uint8_t *out, const struct LAYER_FUNCTION(rule) * rule,
                                              const LAYER_F *y, const int vectors) {
    LAYER_I words[LAYER_ACROSS];
    LAYER_EACH(v, LAYER_ACROSS) {
        words[v] = v < vectors ? LAYER_FUNCTION(to_steps)(rule, y[v], 1) : words[0];
    }
    const LAYER_B bytes = LAYER_PACK(words) ^ rule->turned;
    memcpy(out, &bytes, (size_t)(vectors * LAYER_LANES));
}

/* So many vectors of a row, from a column on. */
LAYER_INLINE void LAYER_FUNCTION(some)(const struct layer_block *on, const struct LAYER_FUNCTION(row) * row,
                                       const struct LAYER_FUNCTION(rule) * rule, int64_t column,
                                       const int vectors) {
    LAYER_F y[LAYER_ACROSS];
    LAYER_FUNCTION(products)(on, row, column, y, vectors);
    switch (on->activation) {
    case LAYER_NO_ACTIVATION:
        LAYER_FUNCTION(activate)(LAYER_NO_ACTIVATION, y, vectors);
        break;
    case LAYER_RELU:
        LAYER_FUNCTION(activate)(LAYER_RELU, y, vectors);
        break;
    case LAYER_SILU:
        LAYER_FUNCTION(activate)(LAYER_SILU, y, vectors);
        break;
    case LAYER_GELU:
        LAYER_FUNCTION(activate)(LAYER_GELU, y, vectors);
        break;
    case LAYER_GELU_TANH:
        LAYER_FUNCTION(activate)(LAYER_GELU_TANH, y, vectors);
        break;
    }
    switch (on->out_type) {
    case LAYER_FLOAT32:
        LAYER_EACH(v, vectors) {
            memcpy(row->out + 4 * (column + v * LAYER_LANES), &y[v], LAYER_BYTES);
        }
        break;
    case LAYER_BFLOAT16:
        LAYER_FUNCTION(store_bf16)(row->out + 2 * column, y, vectors);
        break;
    case LAYER_FLOAT16:
        LAYER_EACH(v, vectors) {
            LAYER_STORE_FP16(row->out + 2 * (column + v * LAYER_LANES), y[v]);
        }
        break;
    default:
        LAYER_FUNCTION(store_bytes)(row->out + column, rule, y, vectors);
    }
}

LAYER_INLINE struct LAYER_FUNCTION(row) LAYER_FUNCTION(row_of)(const struct layer_block *on, int64_t r) {
    const uint32_t zero = on->row_zero != NULL ? (uint32_t)on->row_zero[r] : 0;
    const uint32_t sum = on->column_zero != NULL ? (uint32_t)on->row_sum[r] : 0;
    return (struct LAYER_FUNCTION(row)){
        (const uint8_t *)on->c + r * on->c_row,
        on->residual != NULL ? (const uint8_t *)on->residual + r * on->residual_row : NULL,
        (uint8_t *)on->out + r * on->out_row,
        LAYER_ALL(on->row_scale != NULL ? on->row_scale[r] : 0),
        (LAYER_U)LAYER_ALL_INT((int32_t)zero),
        (LAYER_U)LAYER_ALL_INT((int32_t)(sum - (uint32_t)on->k * zero)),
    };
}

/* The columns that do not fill a vector, by copies that do. */
LAYER_INLINE void LAYER_FUNCTION(last_columns)(const struct layer_block *given,
                                               const struct LAYER_FUNCTION(rule) * rule, int64_t first) {
    struct layer_block on = *given;
    const size_t count = (size_t)(on.columns - first);
    const size_t out_bytes = (size_t)layer_range_of(on.out_type).bytes;
    const size_t residual_bytes = (size_t)layer_range_of(on.residual_type).bytes;
    float scale[LAYER_LANES] = {0}, bias[LAYER_LANES] = {0};
    int32_t zero[LAYER_LANES] = {0}, sum[LAYER_LANES] = {0};
    uint8_t c[LAYER_BYTES] = {0}, residual[LAYER_BYTES] = {0}, out[LAYER_BYTES];
    if (on.column_scale != NULL) {
        on.column_scale = memcpy(scale, on.column_scale + first, 4 * count);
    }
    if (on.bias != NULL) {
        on.bias = memcpy(bias, on.bias + first, 4 * count);
    }
    if (on.column_zero != NULL) {
        on.column_zero = memcpy(zero, on.column_zero + first, 4 * count);
    }
    if (on.column_sum != NULL) {
        on.column_sum = memcpy(sum, on.column_sum + first, 4 * count);
    }
    for (int64_t r = 0; r < on.rows; r++) {
        const struct LAYER_FUNCTION(row) whole = LAYER_FUNCTION(row_of)(&on, r);
        struct LAYER_FUNCTION(row) row = whole;
        row.c = memcpy(c, whole.c + 4 * first, 4 * count);
        if (whole.residual != NULL) {
            row.residual =
                memcpy(residual, whole.residual + (size_t)first * residual_bytes, count * residual_bytes);
        }
        row.out = out;
        LAYER_FUNCTION(some)(&on, &row, rule, 0, 1);
        memcpy(whole.out + (size_t)first * out_bytes, out, count * out_bytes);
    }
}

LAYER_TARGET static void LAYER_FUNCTION(finish)(const struct layer_block *given) {
    const struct layer_block on = *given; /* whose address nobody has: stores do not reach it */
    const struct layer_range range = layer_range_of(on.out_type);
    const struct LAYER_FUNCTION(rule) rule = LAYER_FUNCTION(rule_of)(&range, 1 / on.out_scale, on.out_zero);
    const int64_t groups = on.columns - on.columns % (LAYER_ACROSS * LAYER_LANES);
    const int64_t vectors = on.columns - on.columns % LAYER_LANES;
    for (int64_t r = 0; r < on.rows; r++) {
        const struct LAYER_FUNCTION(row) row = LAYER_FUNCTION(row_of)(&on, r);
        for (int64_t column = 0; column < groups; column += LAYER_ACROSS * LAYER_LANES) {
            LAYER_FUNCTION(some)(&on, &row, &rule, column, LAYER_ACROSS);
        }
        for (int64_t column = groups; column < vectors; column += LAYER_LANES) {
            LAYER_FUNCTION(some)(&on, &row, &rule, column, 1);
        }
    }
    if (vectors < on.columns) {
        LAYER_FUNCTION(last_columns)(&on, &rule, vectors);
    }
}
