/* The kernel behind a deliberate fault, as the entries in its place call it. */
#ifndef AMX_PROVOKE_BASE_H
#define AMX_PROVOKE_BASE_H

#include "provoke/kernel.h"

#include <sys/types.h>

extern const struct kernel *fault_base;

/* This one. The C libraries that wheels are built for are older than gettid(). */
pid_t fault_thread(void);
int fault_permitted(void); /* tile data, as the base says */
/* SIGILL as the instruction at this address would raise it; comes back when a handler returns. */
void fault_raise(int code, uintptr_t address);

#endif
