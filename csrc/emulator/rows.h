/* Where the rows of a tile lie in memory, for loads and stores. */
#ifndef AMXEMU_ROWS_H
#define AMXEMU_ROWS_H

#include "emulator.h"

/* Row r is at segment_base + ((base + r * stride) & offset_mask), all modulo 2^64. */
struct amxemu_rows {
    uint64_t base;
    uint64_t stride;
    uint64_t offset_mask; /* prefix 67 truncates every row's offset, not only the first */
    uint64_t segment_base;
    int canonical;                    /* whether to check addresses as the CPU does */
    enum amxemu_outcome noncanonical; /* then AMXEMU_GP or AMXEMU_SS */
};

enum amxemu_outcome amxemu_load_rows(struct amxemu_state *s, unsigned t, const struct amxemu_rows *rows,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault);
enum amxemu_outcome amxemu_store_rows(struct amxemu_state *s, unsigned t, const struct amxemu_rows *rows,
                                      const struct amxemu_memory *memory, struct amxemu_fault *fault);
int amxemu_is_canonical(uint64_t address, size_t size);

#endif
