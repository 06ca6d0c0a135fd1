/* LAYER_WIDEN_FP16 and LAYER_STORE_FP16 without F16C. LAYER_LOAD_HALVES(p): halves, each in a word. */

/* Shifted to where binary32 has its exponent, the number is 2^112 times too small, and the product exact. */
LAYER_TARGET static inline LAYER_F LAYER_FUNCTION(widen_fp16)(const void *from) {
    const LAYER_U half = LAYER_LOAD_HALVES(from), size = half & (LAYER_U)LAYER_ALL_INT(0x7FFF);
    const LAYER_U sign = (half ^ size) << 16, shifted = size << 13;
    const LAYER_F number = (LAYER_F)shifted * LAYER_ALL(0x1p112F);
    const LAYER_F special = (LAYER_F)(shifted | (LAYER_U)LAYER_ALL_INT(0x7F800000));
    const LAYER_F found = LAYER_SELECT(LAYER_LESS(number, LAYER_ALL(0x1p16F)), number, special);
    return (LAYER_F)((LAYER_U)found | sign);
}

/* Below 2^-14 adding 1/2 leaves steps of 2^-24, those of denormal results; else 13 bits are rounded off. */
LAYER_TARGET static inline void LAYER_FUNCTION(store_fp16)(uint8_t *to, LAYER_F x) {
    const LAYER_U word = (LAYER_U)x, size = word & (LAYER_U)LAYER_ALL_INT(0x7FFFFFFF);
    const LAYER_U odd = (size >> 13) & (LAYER_U)LAYER_ALL_INT(1);
    const LAYER_U rebias = (LAYER_U)LAYER_ALL_INT((112 << 23) - 0xFFF);
    const LAYER_F half = LAYER_ALL(0.5F), number = (LAYER_F)size;
    const LAYER_F normal = (LAYER_F)((size + odd - rebias) >> 13);
    const LAYER_F denormal = (LAYER_F)((LAYER_U)(number + half) - (LAYER_U)half);
    const LAYER_F infinity = (LAYER_F)LAYER_ALL_INT(0x7C00), nan = (LAYER_F)LAYER_ALL_INT(0x7E00);
    LAYER_F found = LAYER_SELECT(LAYER_LESS(number, LAYER_ALL(0x1p-14F)), denormal, normal);
    found = LAYER_SELECT(LAYER_LESS(number, LAYER_ALL(65520.0F)), found, infinity);
    found = LAYER_SELECT(LAYER_UNORDERED(number, number), nan, found);
    const LAYER_U halves = (LAYER_U)found | ((word ^ size) >> 16);
    const LAYER_I upper = (LAYER_I)(halves << 16), both = LAYER_PACK_UPPER(upper, upper);
    memcpy(to, &both, LAYER_BYTES / 2);
}
