/* Reproducible random numbers (splitmix64): the same sequence for a seed on every machine.
 *
 * One call an expression: the compiler chooses in which order operands are evaluated, and recorded digests
 * must not depend on it. */
#ifndef DIFFERENTIAL_RANDOM_H
#define DIFFERENTIAL_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random64(struct random *r) {
    uint64_t z = r->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Uniform enough in [0, n). */
static inline unsigned below(struct random *r, unsigned n) {
    return (unsigned)((random64(r) >> 32) * n >> 32);
}

static inline int one_in(struct random *r, unsigned n) {
    return below(r, n) == 0;
}

#endif
