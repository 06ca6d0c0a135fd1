/* What an instruction leaves in a trace. */
#ifndef TRAP_TRACE_RECORD_H
#define TRAP_TRACE_RECORD_H

#include "emulator/emulator.h"
#include "trap/cpu/execute.h"
#include "trap/trace/file.h"

void trap_trace_record(struct trace_header *trace, int thread, const struct amxemu_insn *insn, uint64_t rip,
                       const struct amxemu_state *after, const struct trap_fault *fault);
void trap_trace_record_config(struct trace_header *trace, int thread, const struct amxemu_state *state);

#endif
