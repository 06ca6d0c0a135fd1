/* exp, tanh, erf and the activations, of one vector: docs/numerics.md has them with their errors. */

/* c[0] + x * (c[1] + x * ...), innermost first. */
LAYER_INLINE LAYER_F LAYER_FUNCTION(polynomial)(LAYER_F x, const float *c, const int degree) {
    LAYER_F sum = LAYER_ALL(c[degree]);
#pragma GCC unroll 8
    for (int i = degree - 1; i >= 0; i--) {
        sum = sum * x + LAYER_ALL(c[i]);
    }
    return sum;
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(magnitude)(LAYER_F x) {
    return (LAYER_F)((LAYER_I)x & LAYER_ALL_INT(0x7FFFFFFF));
}

/* With the sign of the other, which it has already if it is negative. */
LAYER_INLINE LAYER_F LAYER_FUNCTION(with_sign)(LAYER_F x, LAYER_F sign) {
    return (LAYER_F)((LAYER_I)x | ((LAYER_I)sign & LAYER_ALL_INT(INT32_MIN)));
}

/* exp(x) = p * 2^n, p from 0.7 to 1.42; x from -105 to 89, or NaN, which p is then. */
LAYER_INLINE LAYER_F LAYER_FUNCTION(exp_parts)(LAYER_F x, LAYER_I *n) {
    static const float in_r[] = LAYER_EXP_IN_R;
    *n = LAYER_ROUND(x * LAYER_ALL(LAYER_LOG2_E));
    const LAYER_F whole = LAYER_FLOAT(*n);
    const LAYER_F r = (x - whole * LAYER_ALL(LAYER_LN_2_UPPER)) - whole * LAYER_ALL(LAYER_LN_2_LOWER);
    return LAYER_ALL(1.0F) + (r + (r * r) * LAYER_FUNCTION(polynomial)(r, in_r, 4));
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(exp)(LAYER_F x) {
    LAYER_I n;
    x = LAYER_MIN(LAYER_ALL(89.0F), LAYER_MAX(LAYER_ALL(-105.0F), x));
    const LAYER_F p = LAYER_FUNCTION(exp_parts)(x, &n);
    return LAYER_SCALE(p, n);
}

/* 1 + exp(x), x from -86 to 89, or NaN: cheaper, since the power of two is normal. 2^128 is none, so p
 * takes the last step. */
LAYER_INLINE LAYER_F LAYER_FUNCTION(exp_plus_1)(LAYER_F x) {
    LAYER_I n;
    const LAYER_F p = LAYER_FUNCTION(exp_parts)(x, &n);
    const LAYER_F half = (LAYER_F)((LAYER_U)(n + LAYER_ALL_INT(126)) << 23);
    return LAYER_ALL(1.0F) + (p + p) * half;
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(tanh)(LAYER_F x) {
    static const float in_z[] = LAYER_TANH_IN_Z;
    const LAYER_F size = LAYER_FUNCTION(magnitude)(x), z = x * x;
    const LAYER_F small = x + (x * z) * LAYER_FUNCTION(polynomial)(z, in_z, 4);
    const LAYER_F twice = LAYER_MIN(LAYER_ALL(20.0F), size + size);
    const LAYER_F large = LAYER_ALL(1.0F) - LAYER_ALL(2.0F) / LAYER_FUNCTION(exp_plus_1)(twice);
    const LAYER_F found = LAYER_SELECT(LAYER_LESS(size, LAYER_ALL(0.625F)), small, large);
    return LAYER_FUNCTION(with_sign)(found, x);
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(erf)(LAYER_F x) {
    static const float in_z[] = LAYER_ERF_IN_Z, in_t[] = LAYER_ERF_IN_T;
    const LAYER_F size = LAYER_FUNCTION(magnitude)(x);
    const LAYER_F small = x + x * LAYER_FUNCTION(polynomial)(x * x, in_z, 6);
    const LAYER_F t = LAYER_MIN(LAYER_ALL(4.0F), size) - LAYER_ALL(2.0F);
    const LAYER_F root = LAYER_FUNCTION(polynomial)(t, in_t, 8);
    const LAYER_F square = root * root, large = LAYER_ALL(1.0F) - square * square;
    const LAYER_F found = LAYER_SELECT(LAYER_LESS(size, LAYER_ALL(1.0F)), small, large);
    return LAYER_FUNCTION(with_sign)(found, x);
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(silu)(LAYER_F y) {
    const LAYER_F less = (LAYER_F)((LAYER_I)y ^ LAYER_ALL_INT(INT32_MIN));
    const LAYER_F x = LAYER_MIN(LAYER_ALL(89.0F), LAYER_MAX(LAYER_ALL(-86.0F), less));
    return y / LAYER_FUNCTION(exp_plus_1)(x);
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(gelu)(LAYER_F y) {
    const LAYER_F erf = LAYER_FUNCTION(erf)(y * LAYER_ALL(LAYER_ROOT_1_2));
    return (LAYER_ALL(0.5F) * y) * (LAYER_ALL(1.0F) + erf);
}

LAYER_INLINE LAYER_F LAYER_FUNCTION(gelu_tanh)(LAYER_F y) {
    const LAYER_F cubed = ((LAYER_ALL(LAYER_GELU_CUBED) * y) * y) * y;
    const LAYER_F tanh = LAYER_FUNCTION(tanh)(LAYER_ALL(LAYER_ROOT_2_PI) * (y + cubed));
    return (LAYER_ALL(0.5F) * y) * (LAYER_ALL(1.0F) + tanh);
}

LAYER_INLINE void LAYER_FUNCTION(apply_each)(const enum layer_function function, const float *x, float *y,
                                             int64_t count) {
    for (int64_t i = 0; i < count; i += LAYER_LANES) {
        const size_t bytes = sizeof(float) * (size_t)(count - i < LAYER_LANES ? count - i : LAYER_LANES);
        LAYER_F v = {0};
        memcpy(&v, x + i, bytes);
        v = function == LAYER_EXP    ? LAYER_FUNCTION(exp)(v)
            : function == LAYER_TANH ? LAYER_FUNCTION(tanh)(v)
                                     : LAYER_FUNCTION(erf)(v);
        memcpy(y + i, &v, bytes);
    }
}

LAYER_TARGET static void LAYER_FUNCTION(apply)(enum layer_function function, const float *x, float *y,
                                               int64_t count) {
    switch (function) {
    case LAYER_EXP:
        LAYER_FUNCTION(apply_each)(LAYER_EXP, x, y, count);
        break;
    case LAYER_TANH:
        LAYER_FUNCTION(apply_each)(LAYER_TANH, x, y, count);
        break;
    case LAYER_ERF:
        LAYER_FUNCTION(apply_each)(LAYER_ERF, x, y, count);
        break;
    }
}
