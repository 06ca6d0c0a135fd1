/* Rows to 8 bits: one look at each for its range, another for its numbers and their sum. */

struct LAYER_FUNCTION(seen) {
    LAYER_F low, high;
    LAYER_MASK is_nan;
};

LAYER_INLINE void LAYER_FUNCTION(look)(struct LAYER_FUNCTION(seen) * seen, enum layer_type type,
                                       const uint8_t *row, int64_t i) {
    LAYER_F x[LAYER_ACROSS];
#pragma GCC unroll 4
    for (int v = 0; v < LAYER_ACROSS; v++) {
        x[v] = LAYER_FUNCTION(widen)(type, row, i + v * LAYER_LANES);
    }
    const LAYER_F low = LAYER_MIN(LAYER_MIN(x[0], x[1]), LAYER_MIN(x[2], x[3]));
    const LAYER_F high = LAYER_MAX(LAYER_MAX(x[0], x[1]), LAYER_MAX(x[2], x[3]));
    seen->is_nan = seen->is_nan | (LAYER_UNORDERED(x[0], x[1]) | LAYER_UNORDERED(x[2], x[3]));
    seen->low = LAYER_MIN(low, seen->low);
    seen->high = LAYER_MAX(high, seen->high);
}

/* Whether all of a row is finite. `rest`: what is behind the whole groups, and zeros; NULL: nothing is. */
LAYER_INLINE int LAYER_FUNCTION(range_of_row)(enum layer_type type, const uint8_t *row, int64_t whole,
                                              const uint8_t *rest, float *low, float *high) {
    struct LAYER_FUNCTION(seen)
        seen = {LAYER_ALL(0.0F), LAYER_ALL(0.0F), LAYER_UNORDERED(LAYER_ALL(0.0F), LAYER_ALL(0.0F))};
    float lows[LAYER_LANES], highs[LAYER_LANES];
    for (int64_t i = 0; i < whole; i += LAYER_ACROSS * LAYER_LANES) {
        LAYER_FUNCTION(look)(&seen, type, row, i);
    }
    if (rest != NULL) {
        LAYER_FUNCTION(look)(&seen, type, rest, 0);
    }
    memcpy(lows, &seen.low, sizeof lows);
    memcpy(highs, &seen.high, sizeof highs);
#pragma GCC unroll 4
    for (int width = LAYER_LANES / 2; width > 0; width /= 2) {
#pragma GCC unroll 8
        for (int v = 0; v < width; v++) {
            lows[v] = lows[v] < lows[v + width] ? lows[v] : lows[v + width];
            highs[v] = highs[v] > highs[v + width] ? highs[v] : highs[v + width];
        }
    }
    *low = lows[0];
    *high = highs[0];
    return !LAYER_ANY(seen.is_nan) && isfinite(*low) && isfinite(*high);
}

/* What a row's numbers become. Bytes are made from 0 up, `turned` then makes signed ones of them. */
struct LAYER_FUNCTION(rule) {
    LAYER_F inverse, lowest, highest; /* before the zero point is added */
    LAYER_I zero;
    LAYER_B turned;
};

LAYER_INLINE struct LAYER_FUNCTION(rule)
    LAYER_FUNCTION(rule_of)(const struct layer_range *range, float inverse, int32_t zero) {
    const int is_signed = range->lowest < 0;
    return (struct LAYER_FUNCTION(rule)){
        LAYER_ALL(inverse),
        LAYER_ALL((float)(range->lowest - zero)),
        LAYER_ALL((float)(range->highest - zero)),
        LAYER_ALL_INT(zero + (is_signed ? 128 : 0)),
        (LAYER_B)LAYER_ALL_INT(is_signed ? (int32_t)0x80808080 : 0),
    };
}

/* Clips: x may be anything; else it is of the slice whose scale this is, and a step beyond the range is cut
 * off as bytes are packed. A symmetric one does not get there: 127 * (1 + 2^-22) rounds to 127. */
LAYER_INLINE LAYER_I LAYER_FUNCTION(to_steps)(const struct LAYER_FUNCTION(rule) * rule, LAYER_F x,
                                              const int clips) {
    LAYER_F steps = x * rule->inverse;
    if (clips) {
        steps = LAYER_MIN(LAYER_MAX(steps, rule->lowest), rule->highest);
    }
    return LAYER_ROUND(steps) + rule->zero;
}

/* The bytes of a group, turned or not yet. */
LAYER_INLINE LAYER_B LAYER_FUNCTION(bytes_of)(const struct LAYER_FUNCTION(rule) * rule, enum layer_type type,
                                              const uint8_t *row, int64_t i, const int clips) {
    LAYER_I words[LAYER_ACROSS];
#pragma GCC unroll 4
    for (int v = 0; v < LAYER_ACROSS; v++) {
        const LAYER_F x = LAYER_FUNCTION(widen)(type, row, i + v * LAYER_LANES);
        words[v] = LAYER_FUNCTION(to_steps)(rule, x, clips);
    }
    return LAYER_PACK(words);
}

LAYER_INLINE int64_t LAYER_FUNCTION(write_row)(const struct LAYER_FUNCTION(rule) * rule, enum layer_type type,
                                               const uint8_t *row, int64_t whole, const uint8_t *rest,
                                               uint8_t *q, int64_t k, const int clips) {
    LAYER_L sums = {0};
    int64_t i = 0, sum = 0, parts[LAYER_BYTES / 8];
    for (; i < whole; i += LAYER_BYTES) {
        const LAYER_B bytes = LAYER_FUNCTION(bytes_of)(rule, type, row, i, clips),
                      turned = bytes ^ rule->turned;
        sums += LAYER_SUM_BYTES(bytes);
        memcpy(q + i, &turned, sizeof turned);
    }
    if (rest != NULL) { /* zeros behind the end have become zero points */
        const LAYER_B bytes = LAYER_FUNCTION(bytes_of)(rule, type, rest, 0, clips),
                      turned = bytes ^ rule->turned;
        sums += LAYER_SUM_BYTES(bytes);
        sum -= (LAYER_BYTES - (k - i)) * rule->zero[0];
        memcpy(q + i, &turned, (size_t)(k - i));
    }
    memcpy(parts, &sums, sizeof parts);
    for (int v = 0; v < LAYER_BYTES / 8; v++) {
        sum += parts[v];
    }
    return sum - k * (rule->turned[0] != 0 ? 128 : 0);
}

LAYER_INLINE void LAYER_FUNCTION(rows_of)(const struct layer_rows *on, const enum layer_type type) {
    const struct layer_range range = layer_range_of(on->q_type);
    const int64_t element = layer_range_of(type).bytes, whole = on->k - on->k % LAYER_BYTES;
    _Alignas(LAYER_BYTES) uint8_t rest[4 * LAYER_BYTES] = {0};
    for (int64_t r = 0; r < on->rows; r++) {
        const uint8_t *const row = (const uint8_t *)on->x + r * on->x_row, *end = NULL;
        uint8_t *const q = (uint8_t *)on->q + r * on->q_row;
        float low, high;
        if (whole < on->k) {
            memcpy(rest, row + whole * element, (size_t)((on->k - whole) * element));
            end = rest;
        }
        if (!LAYER_FUNCTION(range_of_row)(type, row, whole, end, &low, &high)) {
            memset(q, 0, (size_t)on->q_bytes);
            on->scale[r] = NAN;
            on->zero[r] = on->sum[r] = 0;
            continue;
        }
        struct layer_scale scale = {on->given_scale, 1 / on->given_scale, on->given_zero};
        if (on->given_scale == 0) {
            scale = layer_scale_of(&range, low, high);
        }
        const struct LAYER_FUNCTION(rule) rule = LAYER_FUNCTION(rule_of)(&range, scale.inverse, scale.zero);
        on->scale[r] = scale.scale;
        on->zero[r] = scale.zero;
        on->sum[r] = (int32_t)(on->given_scale == 0
                                   ? LAYER_FUNCTION(write_row)(&rule, type, row, whole, end, q, on->k, 0)
                                   : LAYER_FUNCTION(write_row)(&rule, type, row, whole, end, q, on->k, 1));
        memset(q + on->k, 0, (size_t)(on->q_bytes - on->k));
    }
}

LAYER_TARGET static void LAYER_FUNCTION(quantize_rows)(const struct layer_rows *on) {
    switch (on->x_type) {
    case LAYER_BFLOAT16:
        LAYER_FUNCTION(rows_of)(on, LAYER_BFLOAT16);
        break;
    case LAYER_FLOAT16:
        LAYER_FUNCTION(rows_of)(on, LAYER_FLOAT16);
        break;
    default:
        LAYER_FUNCTION(rows_of)(on, LAYER_FLOAT32);
    }
}
