/* What the groups about the saved register state share: the XSAVE area as the kernel shows it in signal
 * frames, ptrace and core files, tiles and the other extended registers to fill it with, and processes to
 * look at. */
#ifndef AMX_PROVOKE_AREA_H
#define AMX_PROVOKE_AREA_H

#include "provoke/kernel.h"

#include <string.h>

#ifdef __AVX__
#error "baseline x86-64 alone: VEX instructions of the compiler's would change the registers looked at"
#endif

/* ---- the area (area.c) -------------------------------------------------------------------------------- */

/* Standard format: SDM vol. 1, 13.4; the software-reserved bytes: struct _fpx_sw_bytes, asm/sigcontext.h. */
enum {
    AREA_MAGIC1 = 464,
    AREA_EXTENDED_SIZE = 468,
    AREA_XFEATURES = 472,
    AREA_XSTATE_SIZE = 480,
    AREA_XSTATE_BV = 512,
    AREA_XCOMP_BV = 520,
    AREA_RESERVED = 528,
    AREA_EXTENDED = 576,
    AREA_MAX = 64 * 1024, /* a buffer larger than any area */
};
#define AREA_XCOMP_COMPACTED (UINT64_C(1) << 63)

static inline uint64_t area_get(const uint8_t *area, size_t offset) {
    uint64_t value;
    memcpy(&value, area + offset, sizeof value);
    return value;
}
static inline void area_put(uint8_t *area, size_t offset, uint64_t value) {
    memcpy(area + offset, &value, sizeof value);
}
static inline void area_put32(uint8_t *area, size_t offset, uint32_t value) {
    memcpy(area + offset, &value, sizeof value);
}
/* Where the last of these components ends, which is what the kernel calls the size of the state. */
uint32_t area_end(const struct kernel *k, uint64_t features);
/* What the kernel saves for user space: ARCH_GET_XCOMP_SUPP, XCR0 before 5.16. */
uint64_t area_features(const struct kernel *k);
/* Raises a signal on this thread by the bare system call, which leaves every extended register alone. */
void area_raise(int signo);

/* ---- the tiles of this thread: a configuration and TMM0 (area.c) -------------------------------------- */

struct tiles {
    uint8_t config[64], rows[1024]; /* zero where the configuration has no tile */
};
void tiles_make(struct tiles *tiles, int rows, int colsb, unsigned seed);
void tiles_load(const struct kernel *k, const struct tiles *tiles);
/* How many bytes of configuration and TMM0 differ. Never faults: without a configuration the data counts as
 * lost. */
int tiles_lost(const struct kernel *k, const struct tiles *tiles);
/* Whether tiles may be used here at all: the CPU has them, the request is granted, and that can be read. */
int tiles_granted(const struct kernel *k);

/* ---- the registers of a component (registers.c) ------------------------------------------------------- */

enum { REGISTERS_MAX = 1024 };
/* 2 AVX, 5 opmask, 6 ZMM_Hi256, 7 Hi16_ZMM, 19 APX, as XSAVE lays them out. Between load and store only code
 * without VEX instructions may run, which excludes much of libc. */
int registers_present(const struct kernel *k, int component);
void registers_make(const struct kernel *k, int component, unsigned seed, uint8_t data[REGISTERS_MAX]);
void registers_load(int component, const uint8_t *data);
void registers_store(int component, uint8_t *data);

/* ---- where and how often a thread runs (schedule.c) --------------------------------------------------- */

void sleep_ms(long milliseconds);
/* This thread, and all that it starts from now on, share one CPU. */
void stay_on_one_cpu(void);
int thread_switches(void); /* of this thread so far, voluntary or not */

/* ---- a traced child (tracee.c) ------------------------------------------------------------------------ */

/* Forks a child that asks to be traced and runs `run`, which stops by tracee_stop(); returns its pid once it
 * has stopped there. Where ptrace is denied: provoke_cannot(). The child dies with this process. A tracee
 * that is killed ends the run, here and below, with see_ending("tracee") as the last that was seen. */
pid_t tracee_start(const struct kernel *k, void (*run)(const struct kernel *k, void *argument),
                   void *argument);
void tracee_stop(void);
/* Lets it run to its next stop: 1, or to its end: 0 and see_ending("tracee"). */
int tracee_resume(const struct kernel *k, pid_t pid);
/* NT_X86_XSTATE: 0 or -errno; *length in and out. */
long tracee_get(const struct kernel *k, pid_t pid, void *area, size_t *length);
long tracee_set(const struct kernel *k, pid_t pid, const void *area, size_t *length);

/* A child whose only task is `run`; returns its wait status, -1 when it did not end within `milliseconds` and
 * was killed. */
int child_run(const struct kernel *k, void (*run)(const struct kernel *k, void *argument), void *argument,
              int milliseconds);

/* The rest of CTX-03 (ctx_probes.c). */
void ctx_probes(const struct kernel *k);

/* ---- this machine's kernel behind the entries of struct kernel that these groups add (real_frames.c) -- */

void real_sigreturn(void *ucontext);
long real_ptrace(long request, pid_t pid, void *address, void *data);
long real_sched_yield(void);
long real_ioctl(int fd, unsigned long request, void *argument);
long real_read_core(const char *path, uint8_t *buffer, size_t size);
int real_xstate_buffers(void);
void real_xsave(enum xsave how, uint8_t *area, uint64_t features);

#endif
