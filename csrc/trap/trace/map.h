/* The trace of any process: in a file that is mapped, or in memory until it is written. */
#ifndef TRAP_TRACE_MAP_H
#define TRAP_TRACE_MAP_H

#include "trap/trace/file.h"

/* A new file at the place of what is mapped there: 0 or -errno. parent: 0 where it is not known. Every
 * program that a process executes gets a file of its own. */
int trap_trace_map(const char *directory, int pid, int parent, struct trace_header *where);
/* For the ptrace tracer, which outlives what it traces: in memory, NULL without; written in the end, 0 or
 * -errno. */
struct trace_header *trap_trace_new(int pid, int parent);
int trap_trace_save(const char *directory, const struct trace_header *trace);
void trap_trace_free(struct trace_header *trace);

#endif
