/* Vectors of 16 bytes in C alone, for any CPU. text.inc.h has the contract. */
#include "layer/widths.h"

#define LAYER_NAME plain
#define LAYER_TARGET
#define LAYER_BYTES 16
#include "layer/vectors.inc.h"

#define LAYER_MASK                  LAYER_I
#define LAYER_ALL(x)                LAYER_FUNCTION(all)(x)
#define LAYER_ALL_INT(x)            LAYER_FUNCTION(all_int)(x)
#define LAYER_LESS(x, y)            ((LAYER_I)((x) < (y)))
#define LAYER_UNORDERED(x, y)       ((LAYER_I)(((x) != (x)) | ((y) != (y))))
#define LAYER_ANY(mask)             (((mask)[0] | (mask)[1] | (mask)[2] | (mask)[3]) != 0)
#define LAYER_SELECT(mask, yes, no) LAYER_FUNCTION(select)(mask, yes, no)
#define LAYER_MIN(x, y)             LAYER_FUNCTION(minimum)(x, y)
#define LAYER_MAX(x, y)             LAYER_FUNCTION(maximum)(x, y)
#define LAYER_ROUND(x)              LAYER_FUNCTION(round)(x)
#define LAYER_FLOAT(i)              LAYER_FUNCTION(floats)(i)
#define LAYER_SCALE(p, n)           LAYER_FUNCTION(scale_in_two_steps)(p, n)
#define LAYER_SUM_BYTES(b)          LAYER_FUNCTION(sum_bytes)(b)
#define LAYER_PACK(i)               LAYER_FUNCTION(pack)(i)
#define LAYER_PACK_UPPER(x, y)      LAYER_FUNCTION(pack_upper)(x, y)
#define LAYER_LOAD_HALVES(p)        LAYER_FUNCTION(load_halves)(p)
#define LAYER_WIDEN_BF16(p)         ((LAYER_F)(LAYER_LOAD_HALVES(p) << 16))
#define LAYER_WIDEN_FP16(p)         LAYER_FUNCTION(widen_fp16)(p)
#define LAYER_STORE_FP16(p, x)      LAYER_FUNCTION(store_fp16)(p, x)

static inline LAYER_F LAYER_FUNCTION(all)(float x) {
    return (LAYER_F){x, x, x, x};
}

static inline LAYER_I LAYER_FUNCTION(all_int)(int32_t x) {
    return (LAYER_I){x, x, x, x};
}

static inline LAYER_F LAYER_FUNCTION(select)(LAYER_I mask, LAYER_F yes, LAYER_F no) {
    return (LAYER_F)(((LAYER_I)yes & mask) | ((LAYER_I)no & ~mask));
}

static inline LAYER_F LAYER_FUNCTION(minimum)(LAYER_F x, LAYER_F y) {
    return LAYER_SELECT(LAYER_LESS(x, y), x, y);
}

static inline LAYER_F LAYER_FUNCTION(maximum)(LAYER_F x, LAYER_F y) {
    return LAYER_SELECT(LAYER_LESS(y, x), x, y);
}

/* By adding what leaves no fraction: the integer is in the lowest bits of the sum. */
static inline LAYER_I LAYER_FUNCTION(round)(LAYER_F x) {
    const LAYER_F whole = LAYER_ALL(0x1.8p23F);
    return (LAYER_I)(x + whole) - (LAYER_I)whole;
}

static inline LAYER_F LAYER_FUNCTION(floats)(LAYER_I i) {
    return (LAYER_F){(float)i[0], (float)i[1], (float)i[2], (float)i[3]};
}

static inline LAYER_L LAYER_FUNCTION(sum_bytes)(LAYER_B b) {
    LAYER_L sums = {0, 0};
    for (int i = 0; i < LAYER_BYTES; i++) {
        sums[0] += b[i];
    }
    return sums;
}

static inline LAYER_B LAYER_FUNCTION(pack)(const LAYER_I i[4]) {
    int32_t words[LAYER_BYTES];
    uint8_t packed[LAYER_BYTES];
    LAYER_B bytes;
    memcpy(words, i, sizeof words);
    for (int at = 0; at < LAYER_BYTES; at++) {
        packed[at] = (uint8_t)(words[at] < 0 ? 0 : words[at] > 255 ? 255 : words[at]);
    }
    memcpy(&bytes, packed, sizeof bytes);
    return bytes;
}

static inline LAYER_I LAYER_FUNCTION(pack_upper)(LAYER_I x, LAYER_I y) {
    uint16_t halves[8];
    LAYER_I both;
    for (int at = 0; at < 4; at++) {
        halves[at] = (uint16_t)((uint32_t)x[at] >> 16);
        halves[at + 4] = (uint16_t)((uint32_t)y[at] >> 16);
    }
    memcpy(&both, halves, sizeof both);
    return both;
}

static inline LAYER_U LAYER_FUNCTION(load_halves)(const void *from) {
    uint16_t halves[4];
    memcpy(halves, from, sizeof halves);
    return (LAYER_U){halves[0], halves[1], halves[2], halves[3]};
}

#include "layer/float16.inc.h"
#include "layer/scale.inc.h"
#include "layer/text.inc.h"

const struct layer_text layer_plain = {
    "plain", 0, layer_plain_quantize_rows, layer_plain_finish, layer_plain_apply,
};
