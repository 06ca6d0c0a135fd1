/* One AMX instruction of this process: model, own memory, counts. For the signal handlers and the thunks. */
#ifndef TRAP_RUN_H
#define TRAP_RUN_H

#include "trap/cpu/execute.h"
#include "trap/thread/thread.h"

/* `thread` is the calling thread's record. A page fault has the signal and code that the kernel gave. */
struct trap_fault trap_run(struct trap_thread *thread, struct amxemu_registers *r,
                           const struct amxemu_insn *insn);
/* Called now and then by a thread, before its next instruction; NULL: nobody wants to know. */
extern void (*trap_progress)(void);

#endif
