/* What was seen, and how a run ends: one JSON line each, by a single write(2), safe in signal handlers,
 * threads and vfork children. */
#ifndef AMX_PROVOKE_SEE_H
#define AMX_PROVOKE_SEE_H

#include "provoke/kernel.h"

void see_int(const char *key, int64_t value);
void see_bits(const char *key, uint64_t value); /* a mask, address or register */
void see_text(const char *key, const char *value);
void see_ints(const char *key, const int64_t *values, size_t count); /* up to 200 */
void see_bytes(const char *key, const void *bytes, size_t count);    /* as hexadecimal text, up to 1500 */
/* How a child ended, from waitpid: {"exit": n} or {"signal": n, "core": bool}. */
void see_ending(const char *key, int wait_status);
/* A caught signal: {"signal": n, "code": si_code, "address": si_addr, "ip": RIP, "trapno": n}. */
void see_signal(const char *key, const siginfo_t *info, const void *ucontext);
void see_frame(const char *key, const struct frame *frame);

/* Lines that are no observations: what there is to run. */
void see_provocation(const char *id, const char *what, int needs_real_frames);
void see_fault(const char *name, const char *what);

enum { EXIT_BROKEN = 70, EXIT_CANNOT = 77 };

/* This check cannot be made here, because a stated precondition lacks: ends the process (77), the check is a
 * SKIP. */
_Noreturn void provoke_cannot(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The harness itself failed, e.g. mmap: ends the process (70), the check is an ERROR. */
_Noreturn void provoke_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends a complete run from wherever it is, e.g. a thread that outlived the leader. */
_Noreturn void provoke_end(void);

#endif
