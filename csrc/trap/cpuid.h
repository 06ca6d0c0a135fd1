/* CPUID and XGETBV of the program, answered as the emulated CPU would.
 *
 * They are noticed where CPUID faulting works, for CPUID; everywhere else by an INT3 over their first opcode
 * byte in every object that is loaded, as XGETBV cannot be made to fault.
 */
#ifndef TRAP_CPUID_H
#define TRAP_CPUID_H

#include "trap/code_scan.h"

#include <signal.h>
#include <ucontext.h>

/* Of the emulated CPU, in this thread. Async-signal-safe. */
void cpuid_answer(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
int cpuid_xgetbv(uint32_t index, uint64_t *value); /* 0, or -EINVAL where the instruction faults */

/* From now on they are answered; makes CPUID fault where this CPU and kernel can (ARCH_SET_CPUID), and finds
 * out whether it really does. Once, before other threads. */
void cpuid_start(void);
/* Makes those of a mapped object trap; after cpuid_start(). Others may be executing it. */
void cpuid_trap_image(const struct code_image *image);
/* What could not be made to trap so far: places that may be such instructions, and refused writes. */
struct cpuid_missed {
    uint64_t unknown, refused;
};
struct cpuid_missed cpuid_missed(void);

/* Whether a signal was such an instruction: 1, and the program goes on behind it; -1 and it is #GP, which
 * *info then says; 0, something else. */
int cpuid_handle(int signal, siginfo_t *info, ucontext_t *context);

#endif
