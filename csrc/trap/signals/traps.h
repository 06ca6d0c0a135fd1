/* What a signal means to the emulation: an AMX instruction, an access of the emulator's own, a question to
 * the CPU or the kernel; or nothing. */
#ifndef TRAP_TRAPS_H
#define TRAP_TRAPS_H

#include <signal.h>
#include <ucontext.h>

/* 1 when it was dealt with and the program goes on at the context. A modelled fault is not: then *info and
 * the context are those of the fault, which is the program's. For a handler of others that stands before
 * ours, too. Async-signal-safe. */
int trap_handle(int signal, siginfo_t *info, ucontext_t *context);

#endif
