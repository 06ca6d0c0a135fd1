/* Random numbers of a seed that is not 0: xorshift64*. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <stdint.h>

static uint64_t state;
static uint64_t random64(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717);
}
static int below(int count) {
    return (int)(random64() >> 33) % count;
}

#endif
