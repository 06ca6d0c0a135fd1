/* Which width is used, and the floating-point environment around it. */
#include "layer/layer.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "emulator/mxcsr.h"
#include "emulator/vectors.h"
#include "layer/widths.h"

/* Best first. */
static const struct layer_text *const texts[] = {
#ifdef __x86_64__
    &layer_avx512, &layer_avx2, &layer_sse2,
#endif
    &layer_plain,  NULL,
};

static const struct layer_text *nth(int index) {
    const unsigned has = amxemu_vectors();
    for (const struct layer_text *const *each = texts; *each != NULL; each++) {
        if (((*each)->needs & ~has) == 0 && index-- == 0) {
            return *each;
        }
    }
    return NULL;
}

/* NULL: not decided yet. Asking the CPU takes longer than a small block. */
static const struct layer_text *chosen;

static const struct layer_text *selected(void) {
    const struct layer_text *text = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (text == NULL) {
        text = nth(0);
        __atomic_store_n(&chosen, text, __ATOMIC_RELAXED);
    }
    return text;
}

const char *layer_width(int index) {
    const struct layer_text *const text = nth(index);
    return text != NULL ? text->name : NULL;
}

int layer_select(const char *name) {
    const struct layer_text *text = nth(0);
    for (int i = 1; name != NULL && text != NULL && strcmp(text->name, name) != 0; i++) {
        text = nth(i);
    }
    if (text == NULL) {
        return -ENOTSUP;
    }
    __atomic_store_n(&chosen, text, __ATOMIC_RELAXED);
    return 0;
}

const char *layer_selected(void) {
    return selected()->name;
}

uint32_t layer_exchange_mxcsr(uint32_t mxcsr) {
#ifdef __x86_64__
    return amxemu_exchange_mxcsr(mxcsr);
#else
    return mxcsr;
#endif
}

/* Through a pointer, so that no arithmetic leaves what lies between the exchanges. */
void layer_quantize_rows(const struct layer_rows *on) {
    const uint32_t before = layer_exchange_mxcsr(AMXEMU_RESET_MXCSR);
    selected()->quantize_rows(on);
    layer_exchange_mxcsr(before);
}

void layer_finish(const struct layer_block *on) {
    const uint32_t before = layer_exchange_mxcsr(AMXEMU_RESET_MXCSR);
    selected()->finish(on);
    layer_exchange_mxcsr(before);
}

void layer_apply(enum layer_function function, const float *x, float *y, int64_t count) {
    const uint32_t before = layer_exchange_mxcsr(AMXEMU_RESET_MXCSR);
    selected()->apply(function, x, y, count);
    layer_exchange_mxcsr(before);
}
