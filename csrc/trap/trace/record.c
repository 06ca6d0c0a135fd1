/* One instruction into the tables of a trace file. */
#include "trap/trace/record.h"

#include "trap/trace/layout.h"
#include "trap/trace/module.h"
#include "trap/trace/room.h"

#include <string.h>

static void add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static int claim(_Atomic uint32_t *state) {
    uint32_t expected = TRACE_FREE;
    return atomic_compare_exchange_strong_explicit(state, &expected, TRACE_USED_PARTLY, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static void publish(_Atomic uint32_t *state) {
    atomic_store_explicit(state, TRACE_USED, memory_order_release);
}

/* ---- sites ---- */

void trace_pack(const struct amxemu_insn *insn, uint64_t packed[2]) {
    packed[0] = (uint64_t)insn->op | (uint64_t)insn->length << 8 | (uint64_t)insn->d << 16 |
                (uint64_t)insn->a << 24 | (uint64_t)insn->b << 32 | (uint64_t)(uint8_t)insn->base << 40 |
                (uint64_t)(uint8_t)insn->index << 48 | (uint64_t)(uint8_t)insn->segment << 56;
    packed[1] = (uint64_t)(uint32_t)insn->displacement | (uint64_t)insn->scale << 32 |
                (uint64_t)(uint8_t)insn->row_register << 40 | (uint64_t)insn->row << 48 |
                (uint64_t)(insn->has_memory != 0) << 56 | (uint64_t)(insn->address32 != 0) << 57 |
                (uint64_t)(insn->apx != 0) << 58;
}

static struct trace_site *new_site(struct trace_header *trace, struct trace_site *site, int thread,
                                   uint64_t rip, const uint64_t packed[2]) {
    site->address = rip;
    site->insn[0] = packed[0];
    site->insn[1] = packed[1];
    memset((void *)site->low, UINT8_MAX, sizeof site->low);
    site->module = trap_trace_module(trace, thread, rip);
    publish(&site->state);
    return site;
}

/* NULL: the table is full, or nearly, around the place where it would stand. */
static struct trace_site *find_site(struct trace_header *trace, int thread, uint64_t rip,
                                    const struct amxemu_insn *insn) {
    enum { MAX_PROBES = 128 };
    struct trace_site *const sites = trace_sites(trace);
    const uint64_t hash = rip * UINT64_C(0x9E3779B97F4A7C15) >> 40;
    uint64_t packed[2];
    trace_pack(insn, packed);
    for (unsigned i = 0; i < MAX_PROBES; i++) {
        struct trace_site *const site = &sites[(hash + i) % TRACE_SITES];
        if (!trace_has(trace, site, sizeof *site))
            break;
        const uint32_t state = atomic_load_explicit(&site->state, memory_order_acquire);
        if (state == TRACE_USED && site->address == rip && site->insn[0] == packed[0] &&
            site->insn[1] == packed[1])
            return site;
        if (state == TRACE_FREE && claim(&site->state))
            return new_site(trace, site, thread, rip, packed);
    }
    return NULL;
}

/* ---- what it did ---- */

struct effect {
    uint64_t work;
    uint8_t dimensions[TRACE_DIMENSIONS];
};

static struct effect product(const struct amxemu_state *tiles, const struct amxemu_insn *insn) {
    const int is_16_bit = insn->op >= AMXEMU_TDPBF16PS && insn->op <= AMXEMU_TCMMIMFP16PS;
    const unsigned m = tiles->rows[insn->d], n = tiles->colsb[insn->d] / 4u;
    const unsigned k = tiles->colsb[insn->a] / (is_16_bit ? 2u : 1u);
    return (struct effect){(uint64_t)m * n * k, {(uint8_t)m, (uint8_t)n, (uint8_t)k}};
}

static struct effect tile(const struct amxemu_state *tiles, unsigned t, int in_memory) {
    const uint8_t rows = tiles->rows[t], colsb = (uint8_t)tiles->colsb[t];
    return (struct effect){in_memory ? (uint64_t)rows * colsb : 0, {rows, colsb, 0}};
}

/* 0: it is about no tile. A load that faulted and goes on later counts once, as a whole. */
static int effect_of(const struct amxemu_state *tiles, const struct amxemu_insn *insn,
                     struct effect *effect) {
    if (insn->op >= AMXEMU_TDPBSSD && insn->op < AMXEMU_TILELOADDRS) {
        *effect = product(tiles, insn);
        return 1;
    }
    if (insn->op >= AMXEMU_TILEMOVROW) {
        *effect = tile(tiles, insn->a, 0);
        return 1;
    }
    if (insn->op <= AMXEMU_TILERELEASE)
        return 0;
    *effect = tile(tiles, insn->d, insn->has_memory);
    return 1;
}

static void lower(_Atomic uint8_t *low, uint8_t value) {
    uint8_t seen = atomic_load_explicit(low, memory_order_relaxed);
    while (value < seen && !atomic_compare_exchange_weak_explicit(low, &seen, value, memory_order_relaxed,
                                                                  memory_order_relaxed))
        ;
}

static void raise_to(_Atomic uint8_t *high, uint8_t value) {
    uint8_t seen = atomic_load_explicit(high, memory_order_relaxed);
    while (value > seen && !atomic_compare_exchange_weak_explicit(high, &seen, value, memory_order_relaxed,
                                                                  memory_order_relaxed))
        ;
}

static void count_at(struct trace_site *site, const struct amxemu_insn *insn,
                     const struct amxemu_state *after) {
    struct effect effect;
    add(&site->executed, 1);
    if (!effect_of(after, insn, &effect))
        return;
    for (unsigned i = 0; i < TRACE_DIMENSIONS; i++) {
        lower(&site->low[i], effect.dimensions[i]);
        raise_to(&site->high[i], effect.dimensions[i]);
    }
    if (effect.work != 0)
        add(&site->work, effect.work);
}

/* ---- threads and their configurations ---- */

static struct trace_thread *find_thread(struct trace_header *trace, int id) {
    struct trace_thread *const threads = trace_threads(trace);
    for (unsigned i = 0; i < TRACE_THREADS; i++) {
        struct trace_thread *const thread = &threads[((unsigned)id + i) % TRACE_THREADS];
        if (!trace_has(trace, thread, sizeof *thread))
            break;
        int32_t seen = atomic_load_explicit(&thread->id, memory_order_relaxed);
        if (seen == 0 && atomic_compare_exchange_strong(&thread->id, &seen, id))
            return thread;
        if (seen == id)
            return thread;
    }
    return NULL;
}

/* 1 + its number; 0 where there is no room. */
static uint32_t find_config(struct trace_header *trace, const uint8_t image[AMXEMU_CONFIG_BYTES]) {
    struct trace_config *const configs = trace_configs(trace);
    uint32_t hash = 0;
    for (unsigned i = 0; i < AMXEMU_CONFIG_BYTES; i++)
        hash = (hash ^ image[i]) * 16777619u;
    for (unsigned i = 0; i < TRACE_CONFIGS; i++) {
        const unsigned number = (hash + i) % TRACE_CONFIGS;
        struct trace_config *const config = &configs[number];
        if (!trace_has(trace, config, sizeof *config))
            break;
        const uint32_t state = atomic_load_explicit(&config->state, memory_order_acquire);
        if (state == TRACE_USED && memcmp(config->image, image, AMXEMU_CONFIG_BYTES) == 0)
            return number + 1;
        if (state == TRACE_FREE && claim(&config->state)) {
            memcpy(config->image, image, AMXEMU_CONFIG_BYTES);
            publish(&config->state);
            return number + 1;
        }
    }
    return 0;
}

static int are_same(struct trace_header *trace, uint32_t one, uint32_t other) {
    const struct trace_config *const configs = trace_configs(trace);
    return one == other ||
           (one != 0 && other != 0 &&
            memcmp(configs[one - 1].image, configs[other - 1].image, AMXEMU_CONFIG_BYTES) == 0);
}

static void count_config(struct trace_header *trace, struct trace_thread *thread,
                         const struct amxemu_state *state) {
    uint8_t image[AMXEMU_CONFIG_BYTES];
    amxemu_sttilecfg(state, image);
    const uint32_t number = find_config(trace, image);
    struct trace_config *const config = number ? &trace_configs(trace)[number - 1] : NULL;
    if (config == NULL)
        add(&trace->lost_configs, 1);
    else
        add(&config->loads, 1);
    if (thread == NULL)
        return;
    add(&thread->configured, 1);
    if (are_same(trace, atomic_load_explicit(&thread->config, memory_order_relaxed), number))
        return;
    atomic_store_explicit(&thread->config, number, memory_order_relaxed);
    add(&thread->changed, 1);
    if (config != NULL)
        add(&config->changes, 1);
}

static void count_in_thread(struct trace_header *trace, int id, const struct amxemu_insn *insn,
                            const struct amxemu_state *after) {
    struct trace_thread *const thread = find_thread(trace, id);
    if (thread != NULL)
        add(&thread->instructions, 1);
    else
        add(&trace->lost_threads, 1);
    if (insn->op == AMXEMU_LDTILECFG)
        count_config(trace, thread, after);
    if (insn->op == AMXEMU_TILERELEASE && thread != NULL) {
        atomic_store_explicit(&thread->config, 0, memory_order_relaxed);
        add(&thread->released, 1);
    }
}

void trap_trace_record(struct trace_header *trace, int thread, const struct amxemu_insn *insn, uint64_t rip,
                       const struct amxemu_state *after, const struct trap_fault *fault) {
    struct trace_site *const site = find_site(trace, thread, rip, insn);
    if (fault->signal != 0) {
        if (site != NULL)
            add(&site->faults, 1);
        return;
    }
    if (site != NULL)
        count_at(site, insn, after);
    else
        add(&trace->lost_instructions[insn->op], 1);
    count_in_thread(trace, thread, insn, after);
}

void trap_trace_record_config(struct trace_header *trace, int thread, const struct amxemu_state *state) {
    struct trace_thread *const found = find_thread(trace, thread);
    if (state->palette != 0)
        count_config(trace, found, state);
    else if (found != NULL)
        atomic_store_explicit(&found->config, 0, memory_order_relaxed);
}
