/* A block of products to results, four vectors of columns at a time, then one, then what does not fill one.
 */

/* Each step is taken for all vectors before the next one: so it is asked for once. */
#define LAYER_EACH(v, vectors) _Pragma("GCC unroll 4") for (int v = 0; v < (vectors); v++)

/* What some vectors of columns have in all rows, in registers. What is left out changes nothing: no number is
 * another one after * 1 or + -0. */
struct LAYER_FUNCTION(columns) {
    LAYER_F scale[LAYER_ACROSS], bias[LAYER_ACROSS];
    LAYER_U zero[LAYER_ACROSS], sum[LAYER_ACROSS];
};

LAYER_INLINE struct LAYER_FUNCTION(columns)
    LAYER_FUNCTION(columns_of)(const struct layer_block *on, int64_t column, const int vectors) {
    struct LAYER_FUNCTION(columns) columns;
    LAYER_EACH(v, vectors) {
        const int64_t at = column + v * LAYER_LANES;
        columns.scale[v] = LAYER_ALL(1.0F);
        columns.bias[v] = LAYER_ALL(-0.0F);
        columns.zero[v] = columns.sum[v] = (LAYER_U)LAYER_ALL_INT(0);
        if (on->column_scale != NULL) {
            columns.scale[v] = LAYER_FUNCTION(load)(on->column_scale + at);
        }
        if (on->bias != NULL) {
            columns.bias[v] = LAYER_FUNCTION(load)(on->bias + at);
        }
        if (on->column_zero != NULL) {
            columns.zero[v] = (LAYER_U)LAYER_FUNCTION(load)(on->column_zero + at);
        }
        if (on->row_zero != NULL) {
            columns.sum[v] = (LAYER_U)LAYER_FUNCTION(load)(on->column_sum + at);
        }
    }
    return columns;
}

/* y holds integers, and then floats. */
LAYER_INLINE void LAYER_FUNCTION(convert)(const struct layer_block *on,
                                          const struct LAYER_FUNCTION(columns) * columns, int64_t r,
                                          LAYER_F *y, const int vectors) {
    const uint32_t row_zero = on->row_zero != NULL ? (uint32_t)on->row_zero[r] : 0;
    if (on->row_zero != NULL) {
        const LAYER_U zero = (LAYER_U)LAYER_ALL_INT((int32_t)row_zero);
        LAYER_EACH(v, vectors) {
            y[v] = (LAYER_F)((LAYER_U)y[v] - zero * columns->sum[v]);
        }
    }
    if (on->column_zero != NULL) {
        const uint32_t less_zero = (uint32_t)on->row_sum[r] - (uint32_t)on->k * row_zero;
        const LAYER_U sum = (LAYER_U)LAYER_ALL_INT((int32_t)less_zero);
        LAYER_EACH(v, vectors) {
            y[v] = (LAYER_F)((LAYER_U)y[v] - sum * columns->zero[v]);
        }
    }
    LAYER_EACH(v, vectors) {
        y[v] = LAYER_FLOAT((LAYER_I)y[v]);
    }
}

/* Up to the activation. */
LAYER_INLINE void LAYER_FUNCTION(products)(const struct layer_block *on,
                                           const struct LAYER_FUNCTION(columns) * columns, int64_t r,
                                           int64_t column, LAYER_F *y, const int vectors) {
    const uint8_t *const c = (const uint8_t *)on->c + r * on->c_row + 4 * column;
    const LAYER_F scale = LAYER_ALL(on->row_scale != NULL ? on->row_scale[r] : 1.0F);
    LAYER_EACH(v, vectors) {
        y[v] = LAYER_FUNCTION(load)(c + v * LAYER_BYTES);
    }
    if (!on->c_is_float) {
        LAYER_FUNCTION(convert)(on, columns, r, y, vectors);
    }
    LAYER_EACH(v, vectors) {
        y[v] = (y[v] * scale) * columns->scale[v] + columns->bias[v];
    }
    if (on->residual != NULL) {
        const uint8_t *const residual = (const uint8_t *)on->residual + r * on->residual_row;
        LAYER_EACH(v, vectors) {
            y[v] = y[v] + LAYER_FUNCTION(widen)(on->residual_type, residual, column + v * LAYER_LANES);
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

LAYER_INLINE void LAYER_FUNCTION(store)(const enum layer_type type, const struct LAYER_FUNCTION(rule) * rule,
                                        uint8_t *out, const LAYER_F *y, const int vectors) {
    switch (type) {
    case LAYER_FLOAT32:
        LAYER_EACH(v, vectors) {
            memcpy(out + v * LAYER_BYTES, &y[v], LAYER_BYTES);
        }
        break;
    case LAYER_BFLOAT16:
        LAYER_FUNCTION(store_bf16)(out, y, vectors);
        break;
    case LAYER_FLOAT16:
        LAYER_EACH(v, vectors) {
            LAYER_STORE_FP16(out + v * LAYER_BYTES / 2, y[v]);
        }
        break;
    default:
        LAYER_FUNCTION(store_bytes)(out, rule, y, vectors);
    }
}

/* So many vectors of columns, from one on, in all rows. */
LAYER_INLINE void LAYER_FUNCTION(strip)(const struct layer_block *on,
                                        const struct LAYER_FUNCTION(rule) * rule, int64_t column,
                                        const int vectors, const enum layer_activation activation,
                                        const enum layer_type type) {
    const struct LAYER_FUNCTION(columns) columns = LAYER_FUNCTION(columns_of)(on, column, vectors);
    uint8_t *out = (uint8_t *)on->out + column * layer_range_of(type).bytes;
    for (int64_t r = 0; r < on->rows; r++, out += on->out_row) {
        LAYER_F y[LAYER_ACROSS];
        LAYER_FUNCTION(products)(on, &columns, r, column, y, vectors);
        switch (activation) {
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
        LAYER_FUNCTION(store)(type, rule, out, y, vectors);
    }
}

/* The columns that do not fill a vector, by copies that do. */
LAYER_INLINE void LAYER_FUNCTION(last_columns)(const struct layer_block *on,
                                               const struct LAYER_FUNCTION(rule) * rule, int64_t first) {
    const size_t count = (size_t)(on->columns - first);
    const size_t out_bytes = (size_t)layer_range_of(on->out_type).bytes;
    const size_t residual_bytes = (size_t)layer_range_of(on->residual_type).bytes;
    float scale[LAYER_LANES] = {0}, bias[LAYER_LANES] = {0};
    int32_t zero[LAYER_LANES] = {0}, sum[LAYER_LANES] = {0};
    uint8_t c[LAYER_BYTES] = {0}, residual[LAYER_BYTES] = {0}, out[LAYER_BYTES];
    struct layer_block row = *on;
    row.rows = 1;
    row.c = c;
    row.out = out;
    if (on->column_scale != NULL) {
        row.column_scale = memcpy(scale, on->column_scale + first, 4 * count);
    }
    if (on->bias != NULL) {
        row.bias = memcpy(bias, on->bias + first, 4 * count);
    }
    if (on->column_zero != NULL) {
        row.column_zero = memcpy(zero, on->column_zero + first, 4 * count);
    }
    if (on->column_sum != NULL) {
        row.column_sum = memcpy(sum, on->column_sum + first, 4 * count);
    }
    for (int64_t r = 0; r < on->rows; r++) {
        memcpy(c, (const uint8_t *)on->c + r * on->c_row + 4 * first, 4 * count);
        if (on->residual != NULL) {
            const uint8_t *const from = (const uint8_t *)on->residual + r * on->residual_row;
            row.residual = memcpy(residual, from + (size_t)first * residual_bytes, count * residual_bytes);
        }
        row.row_scale = on->row_scale != NULL ? on->row_scale + r : NULL;
        row.row_zero = on->row_zero != NULL ? on->row_zero + r : NULL;
        row.row_sum = on->row_sum != NULL ? on->row_sum + r : NULL;
        LAYER_FUNCTION(strip)(&row, rule, 0, 1, on->activation, on->out_type);
        memcpy((uint8_t *)on->out + r * on->out_row + (size_t)first * out_bytes, out, count * out_bytes);
    }
}

/* Whole groups of columns; returns the column behind them. */
LAYER_INLINE int64_t LAYER_FUNCTION(groups)(const struct layer_block *on,
                                            const struct LAYER_FUNCTION(rule) * rule,
                                            const enum layer_activation activation,
                                            const enum layer_type type) {
    int64_t column = 0;
    for (; column + LAYER_ACROSS * LAYER_LANES <= on->columns; column += LAYER_ACROSS * LAYER_LANES) {
        LAYER_FUNCTION(strip)(on, rule, column, LAYER_ACROSS, activation, type);
    }
    return column;
}

LAYER_TARGET static void LAYER_FUNCTION(finish)(const struct layer_block *given) {
    const struct layer_block on = *given; /* whose address nobody has: stores do not reach it */
    const struct layer_range range = layer_range_of(on.out_type);
    const struct LAYER_FUNCTION(rule) rule = LAYER_FUNCTION(rule_of)(&range, 1 / on.out_scale, on.out_zero);
    /* What asks least of a vector asks nothing on the way. */
    const int is_plain = on.activation == LAYER_NO_ACTIVATION;
    int64_t column = is_plain && on.out_type == LAYER_FLOAT32
                         ? LAYER_FUNCTION(groups)(&on, &rule, LAYER_NO_ACTIVATION, LAYER_FLOAT32)
                     : is_plain && on.out_type == LAYER_BFLOAT16
                         ? LAYER_FUNCTION(groups)(&on, &rule, LAYER_NO_ACTIVATION, LAYER_BFLOAT16)
                         : LAYER_FUNCTION(groups)(&on, &rule, on.activation, on.out_type);
    for (; column + LAYER_LANES <= on.columns; column += LAYER_LANES) {
        LAYER_FUNCTION(strip)(&on, &rule, column, 1, on.activation, on.out_type);
    }
    if (column < on.columns) {
        LAYER_FUNCTION(last_columns)(&on, &rule, column);
    }
}
