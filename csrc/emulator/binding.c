/* The tile machine for callers without C structures: states by pointer, memory as one window of bytes. */
#include "emulator/binding.h"

#include "emulator/mxcsr.h"

#include <stdlib.h>
#include <string.h>

struct amxemu_state *amx_emu_new(void) {
    struct amxemu_state *s = aligned_alloc(_Alignof(struct amxemu_state), sizeof *s);
    if (s)
        memset(s, 0, sizeof *s);
    return s;
}

void amx_emu_free(struct amxemu_state *s) {
    free(s);
}

uint8_t *amx_emu_tile(struct amxemu_state *s, unsigned t) {
    return s->tile[t][0];
}

static size_t accessible(const struct amx_emu_window *window, uint64_t address, size_t size) {
    const uint64_t offset = address - window->address;
    if (offset >= window->size)
        return 0;
    return window->size - offset < size ? (size_t)(window->size - offset) : size;
}

static size_t read_window(void *context, uint64_t address, void *to, size_t size) {
    const struct amx_emu_window *window = context;
    const size_t n = accessible(window, address, size);
    memcpy(to, window->bytes + (n ? address - window->address : 0), n);
    return n;
}

static size_t write_window(void *context, uint64_t address, const void *from, size_t size) {
    const struct amx_emu_window *window = context;
    const size_t n = window->writable ? accessible(window, address, size) : 0;
    if (n == size)
        memcpy(window->bytes + (address - window->address), from, size);
    return n;
}

static struct amxemu_memory memory_of(struct amx_emu_window *window) {
    return (struct amxemu_memory){read_window, write_window, window};
}

int amx_emu_load(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                 struct amx_emu_window *window, uint64_t *fault) {
    const struct amxemu_memory memory = memory_of(window);
    struct amxemu_fault at = {*fault};
    const int outcome = amxemu_tileloadd(s, t, base, stride, &memory, &at);
    *fault = at.address;
    return outcome;
}

int amx_emu_store(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                  struct amx_emu_window *window, uint64_t *fault) {
    const struct amxemu_memory memory = memory_of(window);
    struct amxemu_fault at = {*fault};
    const int outcome = amxemu_tilestored(s, t, base, stride, &memory, &at);
    *fault = at.address;
    return outcome;
}

int amx_emu_step(struct amxemu_state *s, struct amxemu_registers *r, const struct amxemu_insn *insn,
                 struct amx_emu_window *window, uint64_t *fault) {
    const struct amxemu_memory memory = memory_of(window);
    struct amxemu_fault at = {*fault};
    const int outcome = amxemu_step(s, r, insn, &memory, &at);
    *fault = at.address;
    return outcome;
}

uint32_t amx_emu_mxcsr_around_tdp(struct amxemu_state *s, int op, uint32_t mxcsr) {
#ifdef __x86_64__
    const uint32_t callers = amxemu_exchange_mxcsr(mxcsr);
    amxemu_tdp(s, (enum amxemu_op)op, 0, 1, 2);
    return amxemu_exchange_mxcsr(callers);
#else
    amxemu_tdp(s, (enum amxemu_op)op, 0, 1, 2);
    return mxcsr;
#endif
}
