#include "trap/cpu/emulated.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic(const struct amxemu_cpu *) cpu;
static atomic_int hybrid;

const struct amxemu_cpu *trap_cpu(void) {
    return atomic_load_explicit(&cpu, memory_order_acquire);
}

int trap_is_hybrid(void) {
    return atomic_load_explicit(&hybrid, memory_order_relaxed);
}

void trap_set_cpu(const struct amxemu_cpu *to, int is_hybrid) {
    if (to != NULL) /* what is still running goes on as it began */
        atomic_store_explicit(&hybrid, is_hybrid, memory_order_relaxed);
    atomic_store_explicit(&cpu, to, memory_order_release);
}
