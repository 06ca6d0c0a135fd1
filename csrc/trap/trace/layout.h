/* Where the tables of a trace file are. */
#ifndef TRAP_TRACE_LAYOUT_H
#define TRAP_TRACE_LAYOUT_H

#include "trap/trace/file.h"

#include <stddef.h>

struct trace_layout {
    struct trace_header header;
    _Alignas(64) struct trace_thread threads[TRACE_THREADS];
    struct trace_config configs[TRACE_CONFIGS];
    struct trace_module modules[TRACE_MODULES];
    struct trace_site sites[TRACE_SITES];
};

_Static_assert(sizeof(struct trace_layout) <= (size_t)TRACE_PAGE_WORDS * 64 * TRACE_PAGE,
               "a bit for each page");

static inline struct trace_thread *trace_threads(struct trace_header *trace) {
    return ((struct trace_layout *)trace)->threads;
}
static inline struct trace_config *trace_configs(struct trace_header *trace) {
    return ((struct trace_layout *)trace)->configs;
}
static inline struct trace_module *trace_modules(struct trace_header *trace) {
    return ((struct trace_layout *)trace)->modules;
}
static inline struct trace_site *trace_sites(struct trace_header *trace) {
    return ((struct trace_layout *)trace)->sites;
}

#endif
