/* Where the tables of a trace file are, and which mapping of the process an address is in. */
#ifndef TRAP_TRACE_MAP_H
#define TRAP_TRACE_MAP_H

#include "trap/trace/file.h"

#include <stddef.h>

struct trace_layout {
    struct trace_header header;
    _Alignas(64) struct trace_thread threads[TRACE_THREADS];
    struct trace_config configs[TRACE_CONFIGS];
    struct trace_module modules[TRACE_MODULES];
    struct trace_site sites[TRACE_SITES];
};

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

/* 1 + the number of the module that `address` is in, which may become known only now; 0 where there is none
 * or no room. */
uint32_t trap_trace_module(struct trace_header *trace, uint64_t address);

/* "/proc/PID/name" into `path`. */
enum { TRACE_PROC_PATH = 48 };
void trap_trace_proc(char path[TRACE_PROC_PATH], int pid, const char *name);
/* Appends decimal digits, or a text; the new end. Without a terminating NUL. */
char *trap_trace_number(char *at, unsigned number);
char *trap_trace_text(char *at, const char *text);

#endif
