/* See stand_in.h. */
#if !AMX_STUBS

#include "machine/stand_in.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic(const struct machine_stand_in *) current;

const struct machine_stand_in *machine_stand_in(void) {
    return atomic_load_explicit(&current, memory_order_acquire);
}

void machine_set_stand_in(const struct machine_stand_in *stand_in) {
    atomic_store_explicit(&current, stand_in, memory_order_release);
}

#endif
