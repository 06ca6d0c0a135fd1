/* The tracer: programs, static ones too, that run as tracees of one thread of ours and are given AMX by it.
 *
 * It learns of every AMX instruction by the tracee's SIGILL, before the tracee does; of the system calls that
 * the model of the kernel answers by a seccomp filter, or where there is none by stopping at each; and of
 * CPUID and XGETBV by CPUID faulting or by INT3 in the tracee's code. Which stops there are, and what may be
 * asked in which, is ptrace(2)'s; tracees are attached by PTRACE_SEIZE.
 */
#ifndef AMX_TRAP_PTRACE_H
#define AMX_TRAP_PTRACE_H

#include "kernel_model/kernel_model.h"
#include "trap/code/mapping.h"
#include "trap/cpu/execute.h"
#include "trap/emulation.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* An INT3 of ours in a process's code, and what was there. */
struct tracer_site {
    uint64_t address;
    uint8_t byte;
    uint8_t concerned; /* announce_concerns() its object */
};

/* What processes executed goes to files in a directory; and those of which it could not. */
struct tracer_tracing {
    const char *directory; /* NULL: none */
    unsigned unrecorded;
    int error; /* -errno of the first */
};

struct tracer_process {
    struct kernel_model_process model;
    pid_t tgid;
    int threads;
    struct tracer_site *sites; /* by ascending address */
    size_t site_count, site_room;
    uint64_t sigill_handler[4];     /* the kernel's struct sigaction; all 0: none is known */
    struct tracer_tracing *tracing; /* NULL: nothing is recorded */
    struct trace_header *trace;     /* NULL: nothing, or no memory */
};

struct tracee_frame;
struct tracee {
    struct kernel_model_task task; /* first: it is aligned */
    struct tracee *next;
    pid_t tid;
    struct tracer_process *process; /* NULL: new, stopped, and its creator has not reported it yet */
    pid_t creator;                  /* the creator's process, while that is waited for; 0: it is not known */
    long exit_of;                   /* the system call whose exit is wanted, -1: none */
    int in_syscall;                 /* between the two stops of a system call */
    uint64_t altstack_size;         /* before the sigaltstack() under way */
    struct tracee_frame *frames;    /* newest first */
    int enters_handler;             /* resumed so that it stops at the handler's first instruction */
    struct trap_fault fault;        /* for the next SIGSEGV stop; signal 0: none */
    uint64_t fault_rip;
    int maps; /* it is in a system call that may map shared memory */
};

struct tracer_image;
struct tracer_event;

struct tracer {
    const struct amxemu_cpu *cpu;
    struct kernel_model_machine machine;
    struct tracer_tracing tracing;
    struct amx_trap_counts counts;
    struct tracee *tracees;
    struct tracer_image *images; /* all that were looked at */
    struct tracer_event *events; /* taken from the kernel, and not served yet; the oldest first */
    int has_listener;            /* some of the program's calls may be hidden from our filter */
    sigset_t mask;               /* the program's, at first */
    _Atomic pid_t first;         /* the program; 0 once it has ended */
    int status;                  /* of the first, once it has ended; -1 before */
    int every_syscall;           /* there is no seccomp filter */
    int has_begun;               /* the program itself */
    uint64_t filters;            /* of seccomp(2), that it was under then */
    int hybrid; /* the processor has tiles of its own: what touches only their configuration runs */
    int error;  /* why all were killed: -errno */
};

/* ---- ptrace/start.c ---- */

/* A program that is stopped at the end of its execve. Its pid, or -errno of what failed; 0 where a signal
 * killed it before, which is tracer->status then. Finds out by what means it can be followed: every_syscall,
 * and how its memory is reached. */
pid_t tracer_start(const char *path, char *const argv[], char *const envp[], struct tracer *tracer);

/* ---- ptrace/tracees.c: who is traced ---- */

struct tracee *tracer_find(struct tracer *tracer, pid_t tid);
/* One without a process yet. NULL without memory. */
struct tracee *tracer_add(struct tracer *tracer, pid_t tid);
void tracer_remove(struct tracer *tracer, struct tracee *tracee);
/* A process of its own, all as after execve. 0 or -ENOMEM. */
int tracer_begin(struct tracer *tracer, struct tracee *tracee);
/* What clone, fork or vfork made. 0 or -ENOMEM. */
int tracer_inherit(const struct tracee *creator, struct tracee *tracee, int is_thread, int keeps_altstack);
/* execve: of the process this thread is left, under its id. 0 or -ENOMEM. */
int tracer_exec(struct tracer *tracer, struct tracee *tracee);

/* NULL: no INT3 of ours. */
const struct tracer_site *tracer_site_at(const struct tracer_process *process, uint64_t address);
/* For one more: 0; -ENOMEM, -ENOSPC. */
int tracer_make_room(struct tracer_process *process);
void tracer_add_site(struct tracer_process *process, struct tracer_site site);

/* ---- ptrace/events.c: what tracees report ---- */

/* The next stop or end, as waitpid() gives it. Its tid; 0 when no tracee is left. */
pid_t tracer_next_event(struct tracer *tracer, int *status);
/* Until no tracee is in a call that may map shared memory. No other begins one before its stop is served, so
 * that what is private stays so. 0 or -ENOMEM. */
int tracer_settle(struct tracer *tracer);

/* ---- ptrace/memory.c ---- */

/* From now on not by process_vm_readv and writev. */
void tracer_reach_by_file(void);
/* A tracee's memory under its own protections. */
struct amxemu_memory tracer_memory(struct tracee *tracee);
size_t tracer_read(pid_t tid, uint64_t address, void *to, size_t size);       /* how many bytes */
int tracer_write(pid_t tid, uint64_t address, const void *from, size_t size); /* 0 or -EFAULT */
/* Which mapping an address lies in: 0 or -errno. */
int tracer_mapping_at(pid_t tid, uint64_t address, struct mapping *mapping);
/* In this mapping of the tracee. 0; -EACCES where mapping_is_ours_to_write() says so; -errno. */
int tracer_write_code(pid_t tid, const struct mapping *mapping, uint64_t address, uint8_t byte,
                      uint8_t *replaced);
/* What an access that failed at this address would have raised. */
struct trap_fault tracer_page_fault(pid_t tid, uint64_t address, int write);

/* ---- ptrace/proc.c: what /proc says ---- */

/* A number from /proc/TID/status, in this base; `otherwise` where it is not there. */
uint64_t tracer_proc_status(pid_t tid, const char *key, int base, uint64_t otherwise);

/* ---- ptrace/execute.c ---- */

/* The instruction at `address`, where one of our INT3s may stand (else NULL): AMX, CPUID and XGETBV are
 * executed. 1: it was one of them, and *fault says how it ended; 0: it was none; -errno. */
int tracer_execute(struct tracer *tracer, struct tracee *tracee, uint64_t address,
                   const struct tracer_site *site, struct trap_fault *fault);

/* ---- ptrace/xstate.c: a tracee's vector and tile registers ---- */

int tracer_get_zmm(pid_t tid, uint8_t zmm[32][64]); /* 0; -ENODEV: it has none; -errno */
int tracer_set_zmm(pid_t tid, unsigned number, const uint8_t value[64]);
uint64_t tracer_xinuse(pid_t tid); /* XSTATE_BV; 0 where it cannot be had */
/* Takes the CPU's own tile configuration out of a tracee, if it is not in its INIT state: 1, and it is in
 * `config`. 0 or -errno. */
int tracer_take_config(pid_t tid, uint8_t config[AMXEMU_CONFIG_BYTES]);

/* ---- ptrace/syscall.c: system calls of a tracee ---- */

void tracer_machine(struct kernel_model_machine *machine);
int tracer_install_filter(void); /* in a child: 0 or -errno */
/* Where exit_of is set afterwards, the call's exit is to be stopped at. */
void tracer_syscall_entry(struct tracer *tracer, struct tracee *tracee);
void tracer_syscall_exit(struct tracer *tracer, struct tracee *tracee);

/* ---- ptrace/inject.c ---- */

/* Has a stopped tracee make a system call between two instructions of its own; afterwards it is in the stop
 * after that call. The result, or -ENOSYS where it cannot, -ESRCH when it has ended. */
long tracer_inject(struct tracee *tracee, long number, const uint64_t arguments[5]);

/* ---- ptrace/code.c: code as the emulated CPU would see it ---- */

/* After execve: the auxiliary vector, and the code of all that is mapped. 0; -EIO where memory cannot be
 * reached. */
int tracer_new_image(struct tracer *tracer, struct tracee *tracee);
struct tracer_mapping {
    uint64_t address, size, offset;
};
/* After a file was mapped as code. */
void tracer_new_code(struct tracer *tracer, struct tracee *tracee, const struct tracer_mapping *mapping,
                     const char *path);

/* ---- ptrace/image.c: files of code ---- */

/* Where a file's code has what the tracer must see, as mapped by an ELF loader. */
struct tracer_image {
    struct tracer_image *next;
    dev_t device;
    ino_t inode;
    struct timespec changed;
    struct {
        uint64_t address, offset, size;
    } segments[4]; /* of code */
    size_t segment_count;
    uint64_t *sites; /* addresses; ascending */
    size_t site_count, site_room;
    int concerned; /* announce.h */
};
/* NULL: no regular file, or not to be read. Good until the next one is asked for. */
const struct tracer_image *tracer_image(struct tracer *tracer, const char *path);
void tracer_forget_images(struct tracer *tracer);

/* ---- ptrace/frames.c: tiles around a signal handler ---- */

/* Whether a signal that is about to be delivered runs a handler that changes what is known of tiles. */
int tracer_wants_frame(const struct tracee *tracee, int signal);
int tracer_enter_handler(struct tracee *tracee); /* at its first instruction; 0 without memory */
/* rt_sigreturn to the ucontext_t at this address. */
void tracer_leave_handler(struct tracee *tracee, uint64_t context);
int tracer_copy_frames(const struct tracee *from, struct tracee *to); /* 0 without memory */
void tracer_forget_frames(struct tracee *tracee);

/* ---- ptrace/signal.c ---- */

/* A signal that is about to be delivered. What the tracee is to go on with: the signal, or 0. */
int tracer_signal(struct tracer *tracer, struct tracee *tracee, int signal);

/* ---- ptrace/stops.c ---- */

/* Serves the stops of this thread's tracees until none is left. */
void tracer_serve(struct tracer *tracer);

#endif
