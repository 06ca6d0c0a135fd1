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
    unsigned address_bits;            /* of a linear address that is canonical; 0: any is */
    enum amxemu_outcome noncanonical; /* what another ends in: AMXEMU_GP or AMXEMU_SS */
};

enum amxemu_outcome amxemu_load_rows(struct amxemu_state *s, unsigned t, const struct amxemu_rows *rows,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault);
enum amxemu_outcome amxemu_store_rows(struct amxemu_state *s, unsigned t, const struct amxemu_rows *rows,
                                      const struct amxemu_memory *memory, struct amxemu_fault *fault);
/* Whether all `size` bytes from `address` on are canonical: the upper half's, or the lower half's. */
int amxemu_is_canonical(uint64_t address, size_t size, unsigned address_bits);

#endif
