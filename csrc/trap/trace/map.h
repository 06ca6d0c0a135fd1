/* Where the tables of a trace file are, which pages of it may be touched, and which mapping of the process an
 * address is in. */
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

enum { TRACE_DIRECTORY = 1024, TRACE_FILE_NAME = 64 };

/* ---- trace/room.c ---- */

/* Blocks for the pages that every trace has, header and threads, of a file that is as long as the layout; all
 * pages where the file system reserves none. 0 or -errno. */
int trap_trace_room(int fd, uint64_t pages[TRACE_PAGE_WORDS]);
/* The file of this process, by which trap_trace_grow() finds it again; the directory's name stays where it
 * is. */
void trap_trace_room_in(const char *directory, const char *name, int fd);
/* Whether a page has blocks now; if not, `error` of the header says why, and nothing is tried again. */
int trap_trace_grow(struct trace_header *trace, size_t page);

static inline int trace_has_page(struct trace_header *trace, size_t page) {
    const uint64_t pages = atomic_load_explicit(&trace->pages[page / 64], memory_order_relaxed);
    return pages >> page % 64 & 1 || trap_trace_grow(trace, page);
}
/* Whether an entry may be read and written. */
static inline int trace_has(struct trace_header *trace, const void *entry, size_t size) {
    const size_t offset = (size_t)((const char *)entry - (const char *)trace);
    const size_t first = offset / TRACE_PAGE, last = (offset + size - 1) / TRACE_PAGE;
    return trace_has_page(trace, first) && (last == first || trace_has_page(trace, last));
}

/* 1 + the number of the module that `address` is in, which may become known only now by what /proc says of
 * the thread; 0 where there is none or no room. */
uint32_t trap_trace_module(struct trace_header *trace, int thread, uint64_t address);

/* "/proc/PID/name" into `path`. Where the first thread of a process has ended, the number of another says
 * more.
 */
enum { TRACE_PROC_PATH = 48 };
void trap_trace_proc(char path[TRACE_PROC_PATH], int pid, const char *name);
/* Appends decimal digits, or a text; the new end. Without a terminating NUL. */
char *trap_trace_number(char *at, unsigned number);
char *trap_trace_text(char *at, const char *text);

#endif
