/* CPUID and XGETBV of the program, answered as the emulated CPU would.
 *
 * They are noticed where CPUID faulting works, for CPUID; everywhere else by an INT3 over their first opcode
 * byte in every object that is loaded, as XGETBV cannot be made to fault.
 */
#ifndef TRAP_CPUID_H
#define TRAP_CPUID_H

#include "trap/code/scan.h"

#include <signal.h>
#include <ucontext.h>

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

/* Whether a signal was such an instruction: 1, and the program goes on behind it; else 0, and where the
 * instruction is #GP, *info says that. */
int cpuid_handle(int signal, siginfo_t *info, ucontext_t *context);

#endif
