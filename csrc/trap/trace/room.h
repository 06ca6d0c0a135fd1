/* Which pages of a trace file may be touched. */
#ifndef TRAP_TRACE_ROOM_H
#define TRAP_TRACE_ROOM_H

#include "trap/trace/file.h"

#include <stddef.h>

enum { TRACE_DIRECTORY = 1024, TRACE_FILE_NAME = 64 }; /* bytes of a name */

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

#endif
