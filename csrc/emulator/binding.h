/* The software tile machine by itself, for callers without C structures. */
#ifndef AMX_EMULATOR_BINDING_H
#define AMX_EMULATOR_BINDING_H

#include "emulator/emulator.h"
#include <stdint.h>

struct amxemu_state *amx_emu_new(void); /* in the INIT state; NULL without memory; freed by amx_emu_free */
void amx_emu_free(struct amxemu_state *s);
uint8_t *amx_emu_tile(struct amxemu_state *s, unsigned t); /* 16 rows of 64 bytes, of a tile below 8 */

/* Memory with nothing accessible but `size` bytes from `address` up, which are those at `bytes`. */
struct amx_emu_window {
    uint64_t address;
    uint64_t size;
    uint8_t *bytes;
    int writable;
};
/* An enum amxemu_outcome; *fault is written for AMXEMU_PF only. */
int amx_emu_load(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                 struct amx_emu_window *window, uint64_t *fault);
int amx_emu_store(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                  struct amx_emu_window *window, uint64_t *fault);
int amx_emu_step(struct amxemu_state *s, struct amxemu_registers *r, const struct amxemu_insn *insn,
                 struct amx_emu_window *window, uint64_t *fault);
/* tile 0 += tile 1 * tile 2 with MXCSR set to `mxcsr`; what MXCSR is afterwards. */
uint32_t amx_emu_mxcsr_around_tdp(struct amxemu_state *s, int op, uint32_t mxcsr);

#endif
