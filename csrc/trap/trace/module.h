/* Which mapping of the process an address is in. */
#ifndef TRAP_TRACE_MODULE_H
#define TRAP_TRACE_MODULE_H

#include "trap/trace/file.h"

/* 1 + the number of the module that `address` is in, which may become known only now by what /proc says of
 * the thread; 0 where there is none or no room. */
uint32_t trap_trace_module(struct trace_header *trace, int thread, uint64_t address);

#endif
