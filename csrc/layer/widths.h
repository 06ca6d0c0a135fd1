/* The widths, each in its own file. */
#ifndef AMX_LAYER_WIDTHS_H
#define AMX_LAYER_WIDTHS_H

#include "layer/layer.h"

/* With MXCSR as after reset. */
struct layer_text {
    const char *name;
    unsigned needs; /* of amxemu_vectors() */
    void (*quantize_rows)(const struct layer_rows *on);
    void (*finish)(const struct layer_block *on);
    void (*apply)(enum layer_function function, const float *x, float *y, int64_t count);
};
extern const struct layer_text layer_sse2, layer_avx2, layer_avx512;
extern const struct layer_text layer_plain; /* any CPU that C knows */

#endif
