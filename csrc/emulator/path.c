/* Which arithmetic path the products take. */
#include "emulator.h"
#include "vectors.h"

#include <errno.h>
#include <stdatomic.h>

enum amxemu_path amxemu_best_path(void) {
    const unsigned vectors = amxemu_vectors();
    if (vectors & AMXEMU_HAS_AVX512_VNNI)
        return AMXEMU_AVX512_VNNI;
    if (vectors & AMXEMU_HAS_AVX512)
        return AMXEMU_AVX512;
    return vectors & AMXEMU_HAS_AVX2 ? AMXEMU_AVX2 : AMXEMU_SCALAR;
}

enum { UNDECIDED = -1 };
static atomic_int selected = UNDECIDED;

enum amxemu_path amxemu_selected_path(void) {
    int path = atomic_load_explicit(&selected, memory_order_relaxed);
    if (path == UNDECIDED) {
        path = amxemu_best_path();
        atomic_store_explicit(&selected, path, memory_order_relaxed);
    }
    return (enum amxemu_path)path;
}

int amxemu_select_path(enum amxemu_path path) {
    if ((int)path < AMXEMU_SCALAR || path > amxemu_best_path())
        return -ENOTSUP;
    atomic_store_explicit(&selected, path, memory_order_relaxed);
    return 0;
}
