/* A fault on purpose, compiled in by -DAMX_PLANT_OVERFLOW=ON alone: ci/sanitize must find it. */
#include <stdint.h>
#include <stdlib.h>

__attribute__((visibility("default"))) int amx_planted_overflow(size_t size);

/* Reads one byte behind a block of `size` bytes. */
int amx_planted_overflow(size_t size) {
    volatile uint8_t *block = calloc(size, 1);
    int value = block[size];
    free((void *)block);
    return value;
}
