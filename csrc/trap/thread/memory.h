/* This process's memory, without a system call: an access that faults is a short count.
 *
 * The copy is a routine of known bounds; the SIGSEGV and SIGBUS handlers (signals.c) send a fault inside it
 * to its end and leave the signal and code in the thread's record.
 */
#ifndef TRAP_MEMORY_H
#define TRAP_MEMORY_H

#include "emulator/emulator.h"

#include <signal.h>
#include <ucontext.h>

extern const struct amxemu_memory trap_own_memory;

/* Whether a SIGSEGV or SIGBUS was the copy's own; then the context was sent on to its end. */
int trap_memory_fixup(int signal, const siginfo_t *info, ucontext_t *context);

#endif
