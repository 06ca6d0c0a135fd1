/* What is kept for each thread of this process, and for the process.
 *
 * Everything here may be called from a signal handler and from a thunk. A record is found through one pointer
 * of static TLS, is mapped at the thread's first instruction, and is reused after the thread's end: there are
 * never more records than there were threads with tiles at one time.
 */
#ifndef TRAP_THREAD_H
#define TRAP_THREAD_H

#include "trap/cpu/execute.h"
#include "kernel_model/kernel_model.h"

#include <stdatomic.h>

/* What a handler interrupted (handler.c). */
struct trap_interrupted {
    struct amxemu_state tiles;
    struct trap_interrupted *next;
    uint64_t number;   /* of its interruption */
    uintptr_t context; /* address of the handler's ucontext_t; 0: free */
};

struct trap_thread {
    struct kernel_model_task task;
    struct trap_memory_fault {
        int signal, code;
        long err;                                 /* the exception's error code */
    } memory_fault;                               /* of the last access of trap_own_memory that faulted */
    struct trap_interrupted *interrupted;         /* by handlers of the program; its memory stays */
    uint64_t interruptions;                       /* so far */
    uint8_t zmm[32][AMXEMU_COLSB];                /* what instructions write to ZMM registers, for a while */
    _Atomic uint64_t instructions, traps, faults; /* written by the thread alone */
    struct trap_thread *next;                     /* all records */
    unsigned session;                             /* which amx_trap_start() the record belongs to */
    _Atomic int id;                               /* of the thread, as gettid; 0: it is gone */
};

struct trap_thread *trap_thread(void);        /* the calling thread's; NULL without memory */
struct trap_thread *trap_thread_if_any(void); /* NULL before its first instruction, too */
struct kernel_model_process *trap_process(void);

/* A new session begins with the kernel's defaults: no permission, every thread's tiles INIT. */
void trap_threads_reset(const struct kernel_model_machine *machine);
int trap_threads_at_fork(void); /* from now on forked children forget tile data; 0 or -errno, once */
/* Whether this is a child that still runs in its parent's memory, by vfork(). */
int trap_is_vforked(void);
/* All records, for sums; under trap_lock(). */
struct trap_thread *trap_first_thread(void);
/* Forgets the threads that have ended, so that their alternate stacks do not count; under trap_lock(). */
void trap_threads_reap(void);

/* A new thread begins with its creator's configuration, which only who sees it created can know: what
 * trap_config() gave in the creator goes to trap_inherit_config() in the new thread. */
void trap_config(uint8_t config[AMXEMU_CONFIG_BYTES]);
void trap_inherit_config(const uint8_t config[AMXEMU_CONFIG_BYTES]);

/* One lock for all that threads share. Signals are blocked meanwhile, SIGSEGV and SIGBUS excepted. */
uint64_t trap_lock(void); /* the mask to give to trap_unlock() */
void trap_unlock(uint64_t mask);
int trap_is_locked_here(void); /* by the calling thread, which a SIGSEGV or SIGBUS may find so */

#endif
