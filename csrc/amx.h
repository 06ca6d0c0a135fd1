/* The C surface of _native, one declaration for each line of amx/_native.cdef.txt.
 *
 * Every int result is 0 or -errno unless said otherwise. Nothing here prints or decides; Python explains.
 */
#ifndef AMX_H
#define AMX_H

#include <stddef.h>
#include <stdint.h>

/* ---- machine: the few contacts with CPU and kernel ---- */

int amx_is_stub(
    void); /* 1 in a build without the machine layer; then everything marked (s) returns -ENOSYS */

int amx_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]); /* (s) eax, ebx, ecx, edx */
int amx_xgetbv(uint32_t index, uint64_t *value);                       /* (s) -ENODEV without OSXSAVE */
int amx_arch_prctl(int op, uint64_t argument);                         /* (s) raw: 0 or the kernel's -errno */
int amx_arch_prctl_get(int op, uint64_t *value);                       /* (s) ops that write a u64 */
uint64_t amx_getauxval(uint64_t type);                                 /* 0 when absent */
int amx_sigaltstack(uint64_t *address, uint64_t *size, int *flags);    /* (s) this thread's */
/* (s) A running counter of a thread (as gettid) and of what it creates from now on, user mode only: a file
 * descriptor from which three uint64_t are read, the count, and the nanoseconds that it was wanted and that
 * it counted. type and config as of perf_event_open(2); else that call's -errno. */
int amx_perf_open(uint32_t type, uint64_t config, int thread);

/* How a guarded or forked probe ended. */
enum {
    AMX_STEP_PREPARE = 0, /* nothing was tried yet */
    AMX_STEP_GET,         /* arch_prctl, a reading operation */
    AMX_STEP_REQUEST,     /* arch_prctl, a requesting operation */
    AMX_STEP_CONFIRM,     /* reading back what was requested */
    AMX_STEP_STTILECFG,
    AMX_STEP_LDTILECFG,
    AMX_STEP_TILEZERO,
    AMX_STEP_TDPFP16PS,
    AMX_STEP_OTHER, /* what the tests put under the guard */
    AMX_STEP_DONE,
};
struct amx_probe {
    int step;         /* AMX_STEP_*, where it ended */
    int signal;       /* 0 when nothing was raised; else the signal */
    int code;         /* si_code; 0 also when the signal killed a child unseen */
    int result;       /* of the system call: 0 or -errno */
    int confirmed;    /* of reading back what was requested: 0 or -errno; value is 0 where it failed */
    uint64_t address; /* si_addr */
    uint64_t value;   /* what a reading operation wrote; of a guarded fault the frame's xfeatures, or 0 */
};

/* (s) LDTILECFG, TILEZERO, TILERELEASE under the fault guard: allocates this thread's tile state. A
 * configuration that was loaded is loaded again, its tiles zero; live tile data is left alone, since it
 * proves what is asked. */
int amx_probe_tilezero(struct amx_probe *probe);

/* (s) Other things under the same guard, for its tests. */
enum {
    AMX_GUARD_UD2,
    AMX_GUARD_INT3,
    AMX_GUARD_LOAD,
    AMX_GUARD_LOAD_BEFORE, /* the guarded instruction */
    AMX_GUARD_LOAD_AFTER,
    AMX_GUARD_SPIN
};
int amx_probe_guarded(int what, uint64_t address, struct amx_probe *probe); /* SPIN: address times */

/* (s) In a forked child, which a filter may kill without harm: GET reads op; REQUEST asks op for component
 * and reads it back; TILEZERO and TDPFP16PS ask for tile data, whatever the answer, and execute. -ETIMEDOUT:
 * the child hung and was killed. The child does not run atfork handlers nor raise SIGCHLD. */
enum { AMX_CHILD_GET, AMX_CHILD_REQUEST, AMX_CHILD_TILEZERO, AMX_CHILD_TDPFP16PS };
int amx_probe_child(int action, int op, uint64_t component, int timeout_ms, struct amx_probe *probe);

/* (s) What an emulator would use here, in a forked child too. result is of the system call that was refused,
 * else 0. TILES_TRAP ends with SIGILL, at LDTILECFG or only at TILEZERO; CPUID_FAULTS with SIGSEGV; SECCOMP
 * with SIGSYS; the others without a signal. -EINVAL: no such means. */
enum {
    AMX_MEANS_TILES_TRAP,
    AMX_MEANS_CPUID_FAULTS,
    AMX_MEANS_SECCOMP, /* RET_TRAP */
    AMX_MEANS_PTRACE,  /* of a child */
    AMX_MEANS_PATCHING,
    AMX_MEANS_SYNC_CORE, /* membarrier(2) */
};
int amx_probe_means(int means, int timeout_ms, struct amx_probe *probe);

/* ---- tile: the instructions, on the CPU or on the software tile machine ---- */

enum { AMX_NATIVE = 0, AMX_EMULATED = 1 };
enum { AMX_TDPBSSD = 0, AMX_TDPBSUD, AMX_TDPBUSD, AMX_TDPBUUD, AMX_TDPBF16PS, AMX_TDPFP16PS };

/* Where `expected` is given, the operation runs only while the tile configuration equals it, start_row
 * included, else -ESTALE. NULL: no check. An emulated #UD is -EILSEQ, #GP -EINVAL; natively both are signals.
 */
int amx_ldtilecfg(int engine, const uint8_t config[64]);
int amx_sttilecfg(int engine, uint8_t config[64]);
int amx_tilerelease(int engine);
int amx_tilezero(int engine, const uint8_t *expected, int tile);
int amx_tileloadd(int engine, const uint8_t *expected, int tile, const void *base, int64_t stride);
int amx_tileloaddt1(int engine, const uint8_t *expected, int tile, const void *base, int64_t stride);
int amx_tilestored(int engine, const uint8_t *expected, int tile, void *base, int64_t stride);
int amx_tdp(int engine, const uint8_t *expected, int op, int d, int a, int b);
/* An open TileContext on this thread: products then keep its data. */
void amx_tile_owner(int engine, int owned);

/* ---- gemm: matrix products (csrc/gemm/) ---- */

/* C = A B for `batch` pairs of matrices, or C += A B, where c holds the sums of the `before` elements of K in
 * front of these, in whole chunks of 64 bytes. All strides and offsets in bytes, of any sign; the arrays of
 * offsets have one entry an item, NULL stands for zeros. Elements: 1 byte for the 8-bit instructions, 2 for
 * the 16-bit ones; c is int32 or float32 with adjacent columns. Errors: -EINVAL, -ENOMEM and -EINTR (c
 * undefined then), -ECHILD where the process is a child forked meanwhile and the sums that c held are lost,
 * -ENOSYS, -EXDEV where one c could overlap an operand. */
int amx_gemm(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t before, int64_t batch,
             const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset, const void *b,
             int64_t b_row, int64_t b_column, const int64_t *b_offset, void *c, int64_t c_row,
             const int64_t *c_offset);

/* For all matrices of an array of this shape (..., K, N), in the layout of csrc/gemm/gemm.h; NULL without
 * memory. */
struct amx_packed;
struct amx_packed *amx_packed_new(int element, int dimensions, const int64_t *shape);
void amx_packed_free(struct amx_packed *packed);
int64_t amx_packed_bytes(const struct amx_packed *packed);
const void *amx_packed_data(const struct amx_packed *packed);
/* Rows and columns of one matrix: from multiples of 64 bytes and of 32 columns on, to such or to its end. */
int amx_packed_fill(struct amx_packed *packed, int64_t item, int64_t first_row, int64_t rows,
                    int64_t first_column, int64_t columns, const void *b, int64_t row, int64_t column);
/* As amx_gemm with a packed second operand, of whose K it takes k elements behind `before`; b_item: which of
 * its matrices belongs to each pair, NULL for the first. -EINVAL where their columns are not n, or it has no
 * such matrix. */
int amx_gemm_packed(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t before,
                    int64_t batch, /**/
                    const void *a, int64_t a_row, int64_t a_column, const int64_t *a_offset,
                    const struct amx_packed *b, const int64_t *b_item, void *c, int64_t c_row,
                    const int64_t *c_offset);

/* Who is asked every few milliseconds, by long products and packing in the process's first thread, whether
 * they are to go on: 0, or else they end with -EINTR. It may do anything, multiply too; NULL: nobody. */
void amx_gemm_ask(int (*ask)(void));
int amx_gemm_asking(void); /* whether this thread is answering: its product goes on only afterwards */

/* The same for NumPy arrays, by the addresses of the objects: the least a call can cost. Operands as in
 * numpy.matmul, of at least two dimensions, c of the shape of the result; packed: instead of b, else NULL.
 * Element types are the caller's to check, and nobody may reshape the arrays meanwhile. -EINVAL where shapes,
 * strides or writeability do not fit, or the batch is more than two axes with a step in each; -ENOSYS before
 * amx_arrays_header(). */
int amx_gemm_arrays(int engine, int op, int threads, uint64_t a_array, uint64_t b_array,
                    const struct amx_packed *packed, uint64_t c_array);
/* Whether products on AMX_NATIVE may begin from now on (as at first); else they end with -ECANCELED at once.
 * Returns how many are running. */
int amx_gemm_native(int may_begin);
void amx_arrays_header(int64_t size); /* bytes before an object's own fields */
struct amx_array {
    uint64_t data;
    int dimensions, flags;
    int64_t shape[2], strides[2];
};
void amx_arrays_read(uint64_t array, struct amx_array *found); /* up to two dimensions */

/* Rows of float32, at any address and from_row bytes apart, rounded to adjacent rows of bfloat16 or float16:
 * to nearest, ties to even; NaN becomes quiet and keeps sign and upper payload. Threads: as for a product. */
enum { AMX_BF16 = 0, AMX_FP16 };
void amx_round(int format, int threads, int64_t rows, int64_t columns, const void *from, int64_t from_row,
               void *to);

/* How a product is cut. Threads: at most `threads`, 0 for what OpenMP would use. */
struct amx_caches {
    int64_t l1, l2; /* bytes of one core's own data caches */
};
struct amx_gemm_plan {
    int64_t m, n, k, batch;
    int64_t operands; /* distinct second operands to pack; 0: packed already */
    struct amx_caches caches;
    int row_tiles, column_tiles; /* of a block of C in registers: 2x2 or 1x4 */
    int64_t chunks;              /* of 64 bytes of K */
    int64_t kc, mc, nc;          /* a block: chunks of K, rows of A, columns of B */
    int64_t depth;          /* chunks of K of which operands are packed at a time: whole blocks, or all */
    int64_t stripe;         /* columns of B that are packed at a time */
    int stream_a, stream_b; /* loaded with TILELOADDT1, past L1 */
    int pack_a;             /* A is packed where its rows are not whole lines, or share sets of L2 */
    int prefetch_b;         /* the next panel of B is prefetched into L2 */
    int stream_c;           /* C is stored past the caches, where it consists of whole lines */
    int prefetch_c;         /* else it is prefetched for writing */
    int huge_pages;         /* asked for, for packed panels of B */
    int threads;            /* in all */
    int over_batch;         /* threads take whole items of the batch; else they share each item */
    int row_parts, column_parts; /* of one item; their product is the team that shares it */
};
/* caches: NULL for this core's. -EINVAL for impossible sizes, -ENOMEM for larger ones than any memory. */
int amx_gemm_make_plan(int engine, int op, int threads, int64_t m, int64_t n, int64_t k, int64_t batch, /**/
                       int64_t operands, const struct amx_caches *caches, struct amx_gemm_plan *plan);
/* Plan as on a core with these caches, NULL for its own: so tests turn every loop over blocks with small
 * products. Not while a product runs. */
void amx_gemm_assume_caches(const struct amx_caches *caches);
int amx_gemm_threads(void); /* what 0 stands for, now and in this thread */

/* ---- bench: loops that `amx bench` times (csrc/bench/) ---- */

/* What the tile unit can do. (s) Results: the number of threads that ran it, at most `threads`, or -errno.
 * Permission is the caller's to have; tiles of these threads are lost. op: AMX_TDP*. a, b: `chunks` pairs of
 * tiles of 1 KiB each, 64-byte aligned; c: 4 KiB, the 2x2 block after the last round. */
int amx_bench_products(
    int op, int threads, const void *a, const void *b, void *c,
    int64_t rounds); /* 4 * rounds products of the first pair, from registers, per thread */
int amx_bench_block(int op, int threads, const void *a, const void *b, void *c, int64_t chunks,
                    int64_t rounds); /* 4 * chunks * rounds loads and products per thread */
int amx_bench_tileload(int t1, int threads, const void *data, int64_t size,
                       int64_t rounds); /* the threads share the data, whole groups of 8 KiB */

/* Memory through plain loads and stores, `size` bytes shared by the threads. data: 64-byte aligned. */
enum { AMX_STREAM_READ = 0, AMX_STREAM_WRITE, AMX_STREAM_WRITE_NT };
int amx_bench_stream(int kind, int threads, void *data, int64_t size, int64_t rounds);

/* amx_gemm_packed, `repetitions` times; each configures and releases the tiles. 0 or -errno. */
int amx_bench_repeat(int64_t repetitions, int engine, int op, int threads, int64_t m, int64_t n, int64_t k,
                     int64_t batch, const void *a, int64_t a_row, int64_t a_column,
                     const int64_t *a_offset,                           /**/
                     const struct amx_packed *b, const int64_t *b_item, /**/
                     void *c, int64_t c_row, const int64_t *c_offset);

/* (s) One instruction `rounds` times on whole tiles, an enum amxemu_op: TILEZERO, TILELOADD, TILESTORED,
 * TDPBSSD or TDPBF16PS. data: two tiles of 1 KiB. */
int amx_bench_instruction(int engine, int op, void *data, int64_t rounds);

/* ---- emulator: the software tile machine by itself ---- */

#include "emulator/emulator.h" /* its types and single instructions */
#include "emulator/features.h" /* what there is, and how well it is known */

struct amxemu_state *amx_emu_new(void); /* in the INIT state; NULL without memory; freed by amx_emu_free */
void amx_emu_free(struct amxemu_state *s);
uint8_t *amx_emu_tile(struct amxemu_state *s, unsigned t); /* 16 rows of 64 bytes, of a tile below 8 */

/* Memory with nothing accessible but `size` bytes from `address` up, which are those at `bytes`. */
struct amx_emu_window {
    uint64_t address;
    uint64_t size;
    uint8_t *bytes;
    int writable;
};
/* An enum amxemu_outcome; *fault is written for AMXEMU_PF only. */
int amx_emu_load(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                 struct amx_emu_window *window, uint64_t *fault);
int amx_emu_store(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                  struct amx_emu_window *window, uint64_t *fault);
int amx_emu_step(struct amxemu_state *s, struct amxemu_registers *r, const struct amxemu_insn *insn,
                 struct amx_emu_window *window, uint64_t *fault);
/* tile 0 += tile 1 * tile 2 with MXCSR set to `mxcsr`; what MXCSR is afterwards. */
uint32_t amx_emu_mxcsr_around_tdp(struct amxemu_state *s, int op, uint32_t mxcsr);

/* ---- trap: this process's own AMX instructions, executed by the software tile machine ---- */

struct amx_trap_options {
    const char *cpu;   /* of struct amxemu_cpu: spr, gnr, gnr-d, dmr */
    int patch;         /* whether sites that trapped are patched; 0: every instruction traps */
    const char *trace; /* absolute path of a directory; NULL: none */
    int hybrid;        /* -1: find out; 1: the CPU has AMX, and runs configuration instructions itself */
    const char
        *announce; /* to traced programs, beside AMX: csrc/trap/answers/announce.h; NULL: what oneDNN wants */
};
/* (s) Takes SIGILL, SIGSEGV, SIGBUS and SIGTRAP and chains what is not AMX's. -EINVAL unknown cpu; -EALREADY
 * active, or this program runs under `amx emulate`; -EPERM this process has the kernel's permission, so that
 * AMX instructions run by themselves; -ENOTSUP the CPU has AMX, and what does not trap without permission
 * cannot be patched; where no file can be made in the directory of the trace, its error. */
int amx_trap_start(const struct amx_trap_options *options);
/* (s) Instructions and handlers are put back as they were, handlers only where they are still ours. No
 * thread may be executing AMX instructions. -ESRCH not active. */
int amx_trap_stop(void);

/* Of all threads since the start, in a forked child since the fork; under `amx emulate` that emulation's. */
struct amx_trap_counts {
    uint64_t instructions;                /* AMX instructions that completed */
    uint64_t traps;                       /* signals taken for them */
    uint64_t sites, patched, unpatchable; /* where they stand */
    uint64_t faults;                      /* instructions that ended in a signal to the program */
    uint64_t cpuid, xgetbv, arch_prctl;   /* answered in place of the CPU or the kernel */
    /* By amx_ptrace_run() only: processes whose trace could not be written, and the errno of the first. */
    uint64_t unrecorded, unrecorded_error;
};
void amx_trap_count(struct amx_trap_counts *counts);

/* (s) What the emulated CPU and its kernel answer, to the calling thread; -ESRCH when not active. */
int amx_trap_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]); /* eax, ebx, ecx, edx */
int amx_trap_xgetbv(uint32_t index, uint64_t *value);                       /* XCR0, XINUSE; else -EINVAL */
int amx_trap_arch_prctl(int op, uint64_t argument);                         /* 0 or the kernel's -errno */
int amx_is_launched(void); /* 1: the library that `amx emulate` preloads is in this process */
int amx_is_traced(void);   /* 1: `amx emulate --ptrace` traces this process */

/* (s) Runs a program, static ones too, as a tracee with the AMX of options->cpu; patch is not looked
 * at. Its threads, its children and what they become by execve are traced as well, and the call
 * returns when all have ended. *status is the program's, as of waitpid, and -1 when nothing of it ran;
 * *counts are of all together.
 *
 * SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 that are sent to this process meanwhile, other than
 * by its terminal, go to the program. All that is traced is killed when this process ends.
 *
 * -EINVAL unknown cpu, or unknown feature to be announced; -EBUSY already running; else what fork,
 * ptrace or execve failed with. */
int amx_ptrace_run(const char *path, char *const argv[], char *const envp[],
                   const struct amx_trap_options *options, struct amx_trap_counts *counts, int *status);

#endif
