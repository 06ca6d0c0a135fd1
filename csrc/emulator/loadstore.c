/* What moves tile data: TILELOADD (TILELOADDT1 and AMX-MOVRS's TILELOADDRS, TILELOADDRST1 differ in
 * their cache hints only), TILESTORED, TILEZERO.
 *
 * The access of one row is all or nothing; a fault leaves the number of finished rows in start_row, where the
 * instruction goes on when it is executed again.
 */
#include "emulator.h"
#include "rows.h"

#include <string.h>

int amxemu_is_canonical(uint64_t address, size_t size, unsigned address_bits) {
    const uint64_t half = UINT64_C(1) << (address_bits - 1);
    return address + half < 2 * half && address + (size - 1) + half < 2 * half;
}

static int is_accessible_tile(const struct amxemu_state *s, unsigned t) {
    return s->palette != 0 && s->rows[t] != 0 && s->colsb[t] % 4 == 0 && s->start_row < s->rows[t];
}

static uint64_t row_address(const struct amxemu_rows *rows, unsigned r) {
    return rows->segment_base + ((rows->base + r * rows->stride) & rows->offset_mask);
}

static enum amxemu_outcome page_fault(struct amxemu_state *s, unsigned r, struct amxemu_fault *fault,
                                      uint64_t address) {
    s->start_row = (uint8_t)r;
    if (fault)
        fault->address = address;
    return AMXEMU_PF;
}

enum amxemu_outcome amxemu_load_rows(struct amxemu_state *s, unsigned t, const struct amxemu_rows *rows,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault) {
    if (!is_accessible_tile(s, t))
        return AMXEMU_UD;
    uint8_t (*const tile)[AMXEMU_COLSB] = s->tile[t];
    const size_t colsb = s->colsb[t];

    memset(tile[s->start_row], 0, (AMXEMU_ROWS - (size_t)s->start_row) * AMXEMU_COLSB);
    for (unsigned r = s->start_row; r < s->rows[t]; r++) {
        const uint64_t address = row_address(rows, r);
        if (rows->address_bits && !amxemu_is_canonical(address, colsb, rows->address_bits)) {
            s->start_row = (uint8_t)r;
            return rows->noncanonical;
        }
        if (memory == &amxemu_direct_memory) {
            memcpy(tile[r], (const void *)(uintptr_t)address, colsb);
            continue;
        }
        uint8_t row[AMXEMU_COLSB];
        const size_t accessible = memory->read(memory->context, address, row, colsb);
        if (accessible < colsb)
            return page_fault(s, r, fault, address + accessible);
        memcpy(tile[r], row, colsb);
    }
    s->start_row = 0;
    return AMXEMU_OK;
}

enum amxemu_outcome amxemu_store_rows(struct amxemu_state *s, unsigned t, const struct amxemu_rows *rows,
                                      const struct amxemu_memory *memory, struct amxemu_fault *fault) {
    if (!is_accessible_tile(s, t))
        return AMXEMU_UD;
    const uint8_t (*const tile)[AMXEMU_COLSB] = s->tile[t];
    const size_t colsb = s->colsb[t];

    for (unsigned r = s->start_row; r < s->rows[t]; r++) {
        const uint64_t address = row_address(rows, r);
        if (rows->address_bits && !amxemu_is_canonical(address, colsb, rows->address_bits)) {
            s->start_row = (uint8_t)r;
            return rows->noncanonical;
        }
        if (memory == &amxemu_direct_memory) {
            memcpy((void *)(uintptr_t)address, tile[r], colsb);
            continue;
        }
        const size_t accessible = memory->write(memory->context, address, tile[r], colsb);
        if (accessible < colsb)
            return page_fault(s, r, fault, address + accessible);
    }
    s->start_row = 0;
    return AMXEMU_OK;
}

enum amxemu_outcome amxemu_tileloadd(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault) {
    const struct amxemu_rows rows = {.base = base, .stride = (uint64_t)stride, .offset_mask = UINT64_MAX};
    return amxemu_load_rows(s, t, &rows, memory, fault);
}

enum amxemu_outcome amxemu_tilestored(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                                      const struct amxemu_memory *memory, struct amxemu_fault *fault) {
    const struct amxemu_rows rows = {.base = base, .stride = (uint64_t)stride, .offset_mask = UINT64_MAX};
    return amxemu_store_rows(s, t, &rows, memory, fault);
}

enum amxemu_outcome amxemu_tilezero(struct amxemu_state *s, unsigned t) {
    if (s->palette == 0 || s->rows[t] == 0) /* colsb may be any here, unlike in loads and stores */
        return AMXEMU_UD;
    memset(s->tile[t], 0, sizeof s->tile[t]);
    s->start_row = 0;
    return AMXEMU_OK;
}
