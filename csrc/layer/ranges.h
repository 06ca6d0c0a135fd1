/* What 8-bit types hold, and the scale and zero point of a slice of which lowest and highest are known. */
#ifndef AMX_LAYER_RANGES_H
#define AMX_LAYER_RANGES_H

#include <math.h>

#include "layer/layer.h"

struct layer_range {
    int is_float, bytes;
    int32_t lowest, highest;
    int is_symmetric;
    int32_t zero; /* where it is symmetric */
};

static inline struct layer_range layer_range_of(enum layer_type type) {
    static const struct layer_range ranges[] = {
        [LAYER_FLOAT32] = {1, 4, 0, 0, 0, 0},
        [LAYER_BFLOAT16] = {1, 2, 0, 0, 0, 0},
        [LAYER_FLOAT16] = {1, 2, 0, 0, 0, 0},
        [LAYER_UINT8] = {0, 1, 0, 255, 0, 0},
        [LAYER_INT8] = {0, 1, -128, 127, 0, 0},
        [LAYER_UINT8_SYMMETRIC] = {0, 1, 1, 255, 1, 128},
        [LAYER_INT8_SYMMETRIC] = {0, 1, -127, 127, 1, 0},
    };
    return ranges[type];
}

struct layer_scale {
    float scale, inverse;
    int32_t zero;
};

/* low is not above 0, high not below; both are finite. */
static inline struct layer_scale layer_scale_of(const struct layer_range *range, float low, float high) {
    const float smallest = 0x1p-126F, whole = 0x1.8p23F; /* adding it leaves no fraction */
    const float most = (float)(range->highest - (range->is_symmetric ? range->zero : range->lowest));
    const float least_to_most = range->is_symmetric ? (high > -low ? high : -low) : high - low;
    float scale = 1;
    if (isinf(least_to_most)) {
        scale = (high / 2 - low / 2) / (most / 2);
    } else if (least_to_most != 0) {
        scale = least_to_most / most;
        scale = scale > smallest ? scale : smallest;
    }
    struct layer_scale found = {scale, 1 / scale, range->zero};
    if (!range->is_symmetric) {
        const int32_t steps = (int32_t)((-low * found.inverse + whole) - whole), zero = range->lowest + steps;
        found.zero = zero < range->highest ? zero : range->highest;
    }
    return found;
}

#endif
