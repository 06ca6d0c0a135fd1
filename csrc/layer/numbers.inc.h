/* Vectors of numbers of any type from and to memory. */
#include "layer/constants.h"
#include "layer/ranges.h"

LAYER_INLINE LAYER_F LAYER_FUNCTION(load)(const void *from) {
    LAYER_F x;
    memcpy(&x, from, sizeof x);
    return x;
}

/* The elements from number `i` on of a row of floats, widened. */
LAYER_INLINE LAYER_F LAYER_FUNCTION(widen)(enum layer_type type, const uint8_t *row, int64_t i) {
    return type == LAYER_FLOAT32    ? LAYER_FUNCTION(load)(row + 4 * i)
           : type == LAYER_BFLOAT16 ? LAYER_WIDEN_BF16(row + 2 * i)
                                    : LAYER_WIDEN_FP16(row + 2 * i);
}

/* To nearest even in the upper half of each word. A NaN is 0x7FC00000. */
LAYER_INLINE LAYER_I LAYER_FUNCTION(to_bf16)(LAYER_F x) {
    const LAYER_U word = (LAYER_U)x, odd = (word >> 16) & (LAYER_U)LAYER_ALL_INT(1);
    return (LAYER_I)(word + (odd + (LAYER_U)LAYER_ALL_INT(0x7FFF)));
}
