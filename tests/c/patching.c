/* Programs that execute AMX in ways that patching must survive: `patching NAME`; 0 when all was right, 77
 * where the CPU has AMX and so executes itself what shall trap. */
#define _GNU_SOURCE
#include "amx.h"
#include "insn.h"
#include "trap/patch/patch.h"
#include "trap/signals/signals.h"

#include <cpuid.h>
#include <errno.h>
#include <execinfo.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, STRIDE = 64, TILE = 1024, ROWS = 16 };
enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };

static void check(int right, const char *what) {
    if (!right) {
        fprintf(stderr, "patching: %s\n", what);
        exit(1);
    }
}
#define CHECK(condition) check(condition, #condition)

/* Whether configuration instructions run by themselves. */
static int is_native(void) {
    enum { OSXSAVE = 1 << 27, TILES = 3 << 17 };
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & TILES) == TILES;
}

static void needs_traps(void) {
    enum { CANNOT_RUN = 77 };
    if (is_native())
        exit(CANNOT_RUN);
}

static void start_with(int patch, int hybrid) {
    const struct amx_trap_options options = {.cpu = "spr", .patch = patch, .hybrid = hybrid};
    CHECK(amx_trap_start(&options) == 0);
    CHECK(amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0);
}

static void start(void) {
    start_with(1, -1);
}

static struct amx_trap_counts counts(void) {
    struct amx_trap_counts found;
    amx_trap_count(&found);
    return found;
}

/* ---- a product, each copy of its code with sites of its own ---- */

typedef void multiply(const uint8_t *config, const int8_t *a, int64_t stride, const int8_t *b, int32_t *c);
static const uint8_t product[] = {
    0xC4, 0xE2, 0x78, 0x49, 0x07,       /* ldtilecfg (%rdi) */
    0xC4, 0xE2, 0x7B, 0x49, 0xC0,       /* tilezero %tmm0 */
    0xC4, 0xE2, 0x7B, 0x4B, 0x0C, 0x16, /* tileloadd (%rsi,%rdx), %tmm1 */
    0xC4, 0xE2, 0x7B, 0x4B, 0x14, 0x11, /* tileloadd (%rcx,%rdx), %tmm2 */
    0xC4, 0xE2, 0x6B, 0x5E, 0xC1,       /* tdpbssd %tmm2, %tmm1, %tmm0 */
    0xC4, 0xC2, 0x7A, 0x4B, 0x04, 0x10, /* tilestored %tmm0, (%r8,%rdx) */
    0xC3,
};
enum { SITES = 6, COPY = 64, COPIES = PAGE / COPY };

static const uint8_t config[64] = {[0] = 1,     [16] = 64,   [18] = 64,  [20] = 64,
                                   [48] = ROWS, [49] = ROWS, [50] = ROWS};
static int8_t a[TILE], b[TILE];
static int32_t expected[TILE / 4];

static uint8_t *executable(int flags, size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_EXEC, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* mprotect(), as the preload library has it. */
static void protect(void *memory, size_t size, int protection) {
    const long arguments[5] = {(long)memory, (long)size, protection};
    CHECK(trap_patch_remap((uintptr_t)memory, size, SYS_mprotect, arguments) == 0);
}

static void unseal(void *memory, size_t size) {
    protect(memory, size, PROT_READ | PROT_WRITE);
}

static void seal(void *memory, size_t size) {
    protect(memory, size, PROT_READ | PROT_EXEC);
}

/* Of SITES: a CPU that can executes the LDTILECFG of new code, before another one's trap has it patched. */
static unsigned trapping(void) {
    return SITES - (unsigned)is_native();
}

/* Of memory that is not sealed yet. */
static multiply *put_copy(uint8_t *code, int number) {
    memcpy(code + number * COPY, product, sizeof product);
    return (multiply *)(uintptr_t)(code + number * COPY);
}

static multiply *copy_at(uint8_t *code, int number) {
    uint8_t *const page = code + number / COPIES * PAGE;
    unseal(page, PAGE);
    multiply *const copy = put_copy(code, number);
    seal(page, PAGE);
    return copy;
}

static int is_right(multiply *code) {
    int32_t c[TILE / 4];
    memset(c, 0xA5, sizeof c);
    code(config, a, STRIDE, b, c);
    return memcmp(c, expected, sizeof c) == 0;
}

static void prepare(void) {
    for (int i = 0; i < TILE; i++) {
        a[i] = (int8_t)(i * 7 + i / 50);
        b[i] = (int8_t)(i * 5 - i / 30);
    }
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < ROWS; n++)
            for (int k = 0; k < 64; k++)
                expected[m * ROWS + n] += a[m * 64 + k] * b[k / 4 * 64 + n * 4 + k % 4];
}

/* ---- where patching is possible, and where it is not ---- */

static void once(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    for (int i = 0; i < 10; i++)
        CHECK(is_right(f));
    CHECK(counts().instructions == 9 * SITES + trapping());
    CHECK(counts().traps == trapping() && counts().sites == SITES);
    CHECK(counts().patched == SITES && counts().unpatchable == 0);
    CHECK(memcmp(code, product, sizeof product) != 0);
    CHECK(amx_trap_stop() == 0);
    CHECK(memcmp(code, product, sizeof product) == 0);
    start();
    CHECK(is_right(f) && is_right(f));
    CHECK(counts().patched == SITES && counts().traps == trapping());
}

/* Others would jump to where only this process has a thunk. */
static void shared(void) {
    uint8_t *const code = executable(MAP_SHARED, PAGE);
    multiply *const f = copy_at(code, 0);
    CHECK(is_right(f) && is_right(f));
    CHECK(counts().traps == 2 * trapping() && counts().unpatchable == SITES && counts().patched == 0);
    CHECK(memcmp(code, product, sizeof product) == 0);
}

static void no_room(void) {
    const size_t size = UINT64_C(5) << 30;
    uint8_t *const reserved = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *const code = reserved + size / 2;
    CHECK(reserved != MAP_FAILED);
    multiply *const f = copy_at(code, 0);
    CHECK(is_right(f) && is_right(f));
    CHECK(counts().unpatchable == SITES && counts().patched == 0);
}

static void sealed(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    CHECK(is_right(f) && is_right(f));
    CHECK(counts().traps == trapping() && counts().patched == SITES);
}

/* ---- code that is written while it can be executed, or between two executions ---- */

enum { FIRST_LOAD = 10, MODRM = 4 };

/* Another tile for a, by one byte amid the instruction, where a jump would stand: then the product is 0. */
static void load_other_tile(uint8_t *code) {
    code[FIRST_LOAD + MODRM] = product[FIRST_LOAD + 6 + MODRM];
}

static int is_zero(multiply *code) {
    int32_t c[TILE / 4];
    memset(c, 0xA5, sizeof c);
    code(config, a, STRIDE, b, c);
    for (int i = 0; i < TILE / 4; i++)
        if (c[i] != 0)
            return 0;
    return 1;
}

/* It goes on trapping, and whatever is written over any part of it works. */
static void writable(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    needs_traps(); /* on a CPU with tiles emulation ends where an instruction would have to be patched */
    protect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    CHECK(is_right(f) && is_right(f));
    CHECK(memcmp(code, product, sizeof product) == 0);
    CHECK(counts().traps == 2 * SITES && counts().unpatchable == SITES && counts().patched == 0);
    load_other_tile(code);
    CHECK(is_zero(f));
    seal(code, PAGE);
    CHECK(is_zero(f) && counts().patched == SITES && counts().unpatchable == 0);
    protect(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    CHECK(memcmp(code, product, FIRST_LOAD) == 0 && is_zero(f) && counts().patched == 0);
}

/* RW, RX, RW, RX: what is patched is the program's own whenever it can be written. */
static void unsealed(void) {
    uint8_t *const code = executable(MAP_PRIVATE, 2 * PAGE);
    uint8_t *const across = code + PAGE - FIRST_LOAD - 2; /* the first load lies in both pages */
    multiply *const f = (multiply *)(uintptr_t)across;
    unseal(code, 2 * PAGE);
    memcpy(across, product, sizeof product);
    for (int round = 0; round < 3; round++) {
        seal(code, 2 * PAGE);
        CHECK(round % 2 ? is_zero(f) : is_right(f));
        CHECK(counts().patched == SITES && across[FIRST_LOAD] == 0xE9);
        unseal(code + PAGE, PAGE);
        CHECK(across[FIRST_LOAD] == product[FIRST_LOAD] && across[0] == 0xE9);
        CHECK(memcmp(across + FIRST_LOAD + 6, product + FIRST_LOAD + 6, 6) == 0);
        unseal(code, PAGE);
        CHECK(memcmp(across, product, FIRST_LOAD) == 0);
        if (round % 2)
            memcpy(across, product, sizeof product);
        else
            load_other_tile(across);
    }
    CHECK(counts().traps == 3 * trapping());
}

/* Also where /proc cannot be opened at that moment. */
static void unsealed_without_files(void) {
    const struct rlimit none = {0, 0};
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    CHECK(is_right(copy_at(code, 0)) && counts().patched == SITES);
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    unseal(code, PAGE);
    CHECK(memcmp(code, product, sizeof product) == 0);
}

/* Code that moves takes no jumps along, which would lead elsewhere from there. */
static void moved(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE), *const there = executable(MAP_PRIVATE, PAGE);
    CHECK(is_right(copy_at(code, 0)) && counts().patched == SITES);
    const long arguments[5] = {(long)code, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (long)there};
    CHECK(trap_patch_remap((uintptr_t)code, PAGE, SYS_mremap, arguments) == (long)there);
    CHECK(memcmp(there, product, sizeof product) == 0);
    CHECK(is_right((multiply *)(uintptr_t)there) && counts().traps == 2 * trapping());
}

/* One memory twice, writable where it cannot be executed. */
static void mapped_twice(void) {
    const int memory = memfd_create("code", MFD_CLOEXEC);
    CHECK(memory >= 0 && ftruncate(memory, PAGE) == 0);
    uint8_t *const data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    uint8_t *const code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, memory, 0);
    needs_traps();
    CHECK(data != MAP_FAILED && code != MAP_FAILED);
    put_copy(data, 0);
    multiply *const f = (multiply *)(uintptr_t)code;
    CHECK(is_right(f) && is_right(f));
    load_other_tile(data);
    CHECK(is_zero(f) && counts().traps == 3 * SITES && counts().patched == 0);
}

/* Another instruction where one was patched, and code that is unmapped and comes back. */
static void rewritten(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    CHECK(is_right(copy_at(code, 0)));
    for (int round = 0; round < 3; round++) {
        unseal(code, PAGE);
        multiply *f = put_copy(code, 0);
        memcpy(code + FIRST_LOAD, product + FIRST_LOAD + 6, 6); /* b into tmm2, twice */
        memcpy(code + FIRST_LOAD + 6, product + FIRST_LOAD, 6);
        seal(code, PAGE);
        CHECK(is_right(f) && is_right(f));
        CHECK(mmap(code, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
              code);
        f = copy_at(code, 0);
        CHECK(is_right(f) && is_right(f));
    }
    CHECK(counts().sites == SITES && counts().patched == SITES);
    CHECK(counts().traps == 7 * trapping());
}

static sigjmp_buf refused;

static void leave_refused(int signal) {
    siglongjmp(refused, signal);
}

/* Not an instruction any more, by a byte behind those that patching writes. */
static void broken(void) {
    static const uint8_t right[] = {0x3E, 0xC4, 0xE2, 0x7B, 0x49, 0xC0 /* tilezero %tmm0 */, 0xC3};
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    void (*const f)(void) = (void (*)(void))(uintptr_t)code;
    needs_traps();
    CHECK(amx_trap_stop() == 0 && signal(SIGILL, leave_refused) != SIG_ERR);
    start();
    AMX_LDTILECFG(config);
    unseal(code, PAGE);
    memcpy(code, right, sizeof right);
    seal(code, PAGE);
    f();
    CHECK(code[0] == 0xE9);
    unseal(code, PAGE);
    CHECK(memcmp(code, right, sizeof right) == 0);
    code[5] = 0;
    seal(code, PAGE);
    if (sigsetjmp(refused, 1) == 0) {
        f();
        CHECK(!"no #UD");
    }
}

/* More sites than are kept, and again when their code is gone. */
static void many(void) {
    enum { KEPT = 32768, TOO_MANY = KEPT / SITES + 10, BYTES = TOO_MANY * COPY };
    uint8_t *const code = executable(MAP_PRIVATE, BYTES);
    unseal(code, BYTES);
    for (int i = 0; i < TOO_MANY; i++)
        put_copy(code, i);
    seal(code, BYTES);
    for (int i = 0; i < TOO_MANY; i++)
        CHECK(is_right((multiply *)(uintptr_t)(code + i * COPY)));
    CHECK(counts().sites == KEPT && counts().patched == KEPT);
    CHECK(is_right((multiply *)(uintptr_t)(code + (TOO_MANY - 1) * COPY)));
    CHECK(mmap(code, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == code);

    uint8_t *const other = executable(MAP_PRIVATE, 64 * PAGE);
    unseal(other, 64 * PAGE);
    for (int i = 0; i < 400; i++)
        put_copy(other, i);
    seal(other, 64 * PAGE);
    for (int i = 0; i < 400; i++)
        CHECK(is_right((multiply *)(uintptr_t)(other + i * COPY)));
    CHECK(memcmp(other + 399 * COPY, product, sizeof product) != 0);
}

/* ---- what the kernel may refuse ---- */

/* From now on a system call fails so. */
static void refuse(int number, int error) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static void check_unpatchable(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    CHECK(is_right(f) && is_right(f));
    CHECK(counts().unpatchable == SITES && counts().patched == 0);
    CHECK(counts().traps == 2 * trapping());
}

static void no_membarrier(void) {
    needs_traps(); /* emulation does not begin then */
    CHECK(amx_trap_stop() == 0);
    refuse(SYS_membarrier, ENOSYS);
    start();
    check_unpatchable();
}

static void no_files(void) {
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    check_unpatchable();
}

/* Code cannot be written by /proc/PID/mem; then it becomes writable for a moment. */
static void no_force(void) {
    refuse(SYS_pwrite64, EPERM);
    sealed();
}

/* ---- /proc of a process whose first thread has ended ---- */

static pid_t leader;

/* Whether /proc/self has no memory any more, which the leader's end takes away. */
static int has_ended(pid_t thread) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)leader, (int)thread);
    FILE *const stat = fopen(path, "re");
    CHECK(stat != NULL && fgets(text, sizeof text, stat) != NULL);
    fclose(stat);
    const char *const name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'Z';
}

static void *outlive_leader(void *unused) {
    (void)unused;
    while (!has_ended(leader))
        sched_yield();
    sealed();
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    CHECK(is_right(copy_at(code, 0)) && amx_trap_stop() == 0);
    CHECK(memcmp(code, product, sizeof product) == 0);
    exit(0);
}

static void leader_ended(void) {
    pthread_t thread;
    leader = getpid();
    CHECK(pthread_create(&thread, NULL, outlive_leader, NULL) == 0);
    pthread_exit(NULL);
}

/* ---- generated code of which nobody tells when it can be written ---- */

static void generated_untold(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    needs_traps();
    CHECK(is_right(f) && is_right(f));
    CHECK(counts().traps == 2 * SITES && counts().patched == 0);
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_WRITE) == 0);
    load_other_tile(code);
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
    CHECK(is_zero(f));
    AMX_LDTILECFG(config);
    CHECK(counts().patched == 1); /* this program's own */
}

/* ---- configuration instructions that do not trap ---- */

/* In this object, and never executed before the first trap. */
void store_config(uint8_t *stored);
extern uint8_t store_config_site[];
__asm__(".pushsection .text\n"
        "store_config:\n"
        ".cfi_startproc\n"
        "store_config_site:\n"
        ".byte 0xc4, 0xe2, 0x79, 0x49, 0x07\n" /* sttilecfg (%rdi) */
        "ret\n"
        ".cfi_endproc\n"
        ".popsection\n");

enum { LATER = 2 * COPY };
static const uint8_t generated[] = {
    0x48, 0xB8, 0xC4, 0xE2, 0x78, 0x49, 0xC0, 0,    0,    0, /* movabs: a constant like a tilerelease */
    0x48, 0x89, 0xF8, 0x48, 0x83, 0xC0, 0x01, 0x31, 0xC0,    /* mov, add, xor */
    0xC4, 0xE2, 0x79, 0x49, 0x07,                            /* sttilecfg (%rdi) */
    0xC3,
};
enum { STTILECFG_AT = sizeof generated - 6 };

/* The first trap of an object, or in generated code, patches all of them; without patching, these alone. */
static void hybrid(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    uint8_t stored[64];
    needs_traps();
    for (int patch = 1; patch >= 0; patch--) {
        CHECK(amx_trap_stop() == 0);
        CHECK(*store_config_site == 0xC4);
        start_with(patch, 1);
        AMX_LDTILECFG(config);
        CHECK(*store_config_site == 0xE9 && counts().traps == 1);
        store_config(stored);
        CHECK(memcmp(stored, config, sizeof stored) == 0 && counts().traps == 1);

        unseal(code, PAGE);
        multiply *const f = put_copy(code, 0);
        memcpy(code + LATER, generated, sizeof generated);
        seal(code, PAGE);
        CHECK(is_right(f) && is_right(f));
        CHECK(counts().traps == 1u + (patch ? SITES : 2 * SITES - 1));
        CHECK(memcmp(code + LATER, generated, STTILECFG_AT) == 0);
        CHECK(code[LATER + STTILECFG_AT] == 0xE9);
        ((void (*)(uint8_t *))(uintptr_t)(code + LATER))(stored);
        CHECK(memcmp(stored, config, sizeof stored) == 0);
        CHECK(counts().traps == 1u + (patch ? SITES : 2 * SITES - 1));
    }
}

/* ---- threads, signals, forks ---- */

enum { THREADS = 16, ROUNDS = 4 };
static pthread_barrier_t barrier;
static uint8_t *fresh;
static atomic_int wrong;

static void *meet(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS * COPIES; i++) {
        multiply *const f = (multiply *)(uintptr_t)(fresh + i * COPY);
        pthread_barrier_wait(&barrier);
        wrong += !is_right(f) || !is_right(f);
    }
    return NULL;
}

static void threads(void) {
    pthread_t thread[THREADS];
    fresh = executable(MAP_PRIVATE, ROUNDS * PAGE);
    unseal(fresh, ROUNDS * PAGE);
    for (int i = 0; i < ROUNDS * COPIES; i++)
        put_copy(fresh, i);
    seal(fresh, ROUNDS * PAGE);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, meet, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK(wrong == 0);
    CHECK(counts().patched == ROUNDS * COPIES * SITES);
    CHECK(is_native() || counts().instructions == (uint64_t)THREADS * ROUNDS * COPIES * SITES * 2);
}

static void on_alarm(void (*handler)(int, siginfo_t *, void *), int microseconds) {
    const struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    const struct itimerval every = {{0, microseconds}, {0, microseconds}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0);
}

static atomic_int alarms;

static void count_alarm(int signal, siginfo_t *info, void *context) {
    uint8_t noise[64];
    (void)signal, (void)info, (void)context;
    memset(noise, 0xEE, sizeof noise);
    __asm__ volatile("movups %0, %%xmm0\nmovups %0, %%xmm7" : : "m"(noise) : "xmm0", "xmm7");
    alarms++;
}

static void timer(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    on_alarm(count_alarm, 200);
    for (int i = 0; alarms < 2000; i++)
        CHECK(is_right(copy_at(code, i % COPIES)) &&
              is_right((multiply *)(uintptr_t)(code + i % COPIES * COPY)));
}

static sigjmp_buf out;

static void leave(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    alarms++;
    siglongjmp(out, 1);
}

/* Each alarm abandons what it interrupts. */
static void jumps(void) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    on_alarm(leave, 200);
    sigsetjmp(out, 1);
    while (alarms < 1000)
        CHECK(is_right(f));
    on_alarm(leave, 0);
    /* A slow CPU may not have come to the end before. */
    CHECK(is_right(f) && is_right(copy_at(code, 1)) && counts().patched == 2 * SITES);
}

static atomic_int done;

static void *keep_patching(void *unused) {
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    (void)unused;
    for (int i = 0; !done; i++)
        wrong += !is_right(copy_at(code, i % COPIES));
    return NULL;
}

/* From a process in which another thread is patching. */
static void forks(void) {
    pthread_t other;
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    CHECK(is_right(f) && pthread_create(&other, NULL, keep_patching, NULL) == 0);
    for (int i = 0; i < 200; i++) {
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            _exit(!is_right(f) || !is_right(copy_at(code, 1)) || !is_right(copy_at(code, 1)));
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        CHECK(is_right(f));
    }
    done = 1;
    pthread_join(other, NULL);
    CHECK(wrong == 0);
}

/* ---- the stack ---- */

/* sttilecfg into the red zone, between bytes of the caller; with RSP as it is, misaligned too. */
void store_in_red_zone(uint8_t *stack, uint8_t *found);
__asm__(".pushsection .text\n"
        "store_in_red_zone:\n"
        "mov %rsp, %rax\n"
        "mov %rdi, %rsp\n"
        "movq $0x5a, -128(%rsp)\n"
        "movq $0x5a, -56(%rsp)\n"
        ".byte 0xc4, 0xe2, 0x79, 0x49, 0x44, 0x24, 0x88\n" /* sttilecfg -120(%rsp) */
        "mov %rax, -8(%rsp)\n"
        "lea -128(%rsp), %rdx\n"
        "mov %rsi, %rdi\n"
        "mov $80, %ecx\n"
        "mov %rdx, %rsi\n"
        "rep movsb\n"
        "mov -8(%rsp), %rsp\n"
        "ret\n"
        ".popsection\n");

/* How far below RSP thunks go, on a stack of bytes that are looked at afterwards. */
static void stack(void) {
    enum { STACK = 1 << 16, FILL = 0xA7 };
    static uint8_t area[STACK];
    uint8_t found[80], expected_bytes[80] = {[0] = 0x5A, [72] = 0x5A};
    uint8_t *const top = area + STACK - 64;
    needs_traps();
    memcpy(expected_bytes + 8, config, sizeof config);
    AMX_LDTILECFG(config);
    for (int i = 0; i < 64; i++) {
        memset(area, FILL, sizeof area);
        memset(found, 0, sizeof found);
        store_in_red_zone(top - i, found);
        CHECK(memcmp(found, expected_bytes, sizeof found) == 0);
    }
    CHECK(counts().patched == 2);
}

/* ---- faults ---- */

static volatile sig_atomic_t faults;
static uint8_t *faulting_rows, *faulting_code;

static void open_page(int signal, siginfo_t *info, void *opaque) {
    const ucontext_t *const context = opaque;
    enum { LOAD_AT = 10 };
    if (signal != SIGSEGV || info->si_code != SEGV_ACCERR || info->si_addr != faulting_rows + PAGE ||
        (uint8_t *)context->uc_mcontext.gregs[REG_RIP] != faulting_code + LOAD_AT)
        _exit(2);
    faults++;
    mprotect(faulting_rows + PAGE, PAGE, PROT_READ | PROT_WRITE);
}

/* A load that runs into a page that is not accessible yet, at its first time and when it is patched. */
static void restart(void) {
    const struct sigaction action = {.sa_sigaction = open_page, .sa_flags = SA_SIGINFO};
    uint8_t *const code = executable(MAP_PRIVATE, PAGE);
    multiply *const f = copy_at(code, 0);
    uint8_t *const rows = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int8_t *const across = (int8_t *)rows + PAGE - 5 * STRIDE;
    int32_t c[TILE / 4];
    CHECK(trap_sigaction(SIGSEGV, &action, NULL) == 0);
    memcpy(across, a, sizeof a);
    faulting_rows = rows;
    faulting_code = code;
    for (int i = 1; i <= 3; i++) {
        CHECK(mprotect(rows + PAGE, PAGE, PROT_NONE) == 0);
        memset(c, 0, sizeof c);
        f(config, across, STRIDE, b, c);
        CHECK(memcmp(c, expected, sizeof c) == 0 && faults == i);
    }
    CHECK(counts().faults == 3 && counts().patched == SITES);
}

/* ---- unwinding ---- */

static atomic_int through;
static void *workload_begin, *workload_end;

static void unwind(int signal, siginfo_t *info, void *opaque) {
    void *frames[32];
    (void)signal, (void)info, (void)opaque;
    const int count = backtrace(frames, 32);
    alarms++;
    for (int i = 0; i < count; i++)
        through += frames[i] >= workload_begin && frames[i] < workload_end;
}

/* Never inlined, and between two labels. */
__attribute__((noinline)) static void workload(void) {
    __asm__ volatile("lea 0f(%%rip), %0\n0:" : "=r"(workload_begin));
    while (alarms < 200)
        for (int i = 0; i < 100; i++)
            AMX_TDPBSSD(0, 1, 2);
    __asm__ volatile("lea 0f(%%rip), %0\n0:" : "=r"(workload_end));
}

/* An unwinder in a handler that interrupts a thunk finds who executes the instruction. */
static void unwinding(void) {
    void *frames[1];
    backtrace(frames, 1); /* loads what it needs */
    AMX_LDTILECFG(config);
    alarms = 200;
    workload(); /* patches it, and finds its bounds */
    AMX_TDPBSSD(0, 1, 2);
    alarms = 0;
    on_alarm(unwind, 200);
    workload();
    printf("%d of %d alarms\n", (int)through, (int)alarms);
    CHECK(through > 150);
}

/* ---- emulation that comes and goes ---- */

extern const char __executable_start[], etext[];

/* Who is in a thunk when emulation ends meets the instruction itself again. */
static void try_again(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *const context = opaque;
    const uintptr_t rip = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    (void)info;
    if (rip < (uintptr_t)__executable_start || rip >= (uintptr_t)etext)
        _exit(2);
    if (signal == SIGTRAP) /* the INT3 was met before the handlers were given back */
        context->uc_mcontext.gregs[REG_RIP]--;
    sched_yield();
}

static void *configure(void *unused) {
    (void)unused;
    while (!done) {
        uint8_t stored[64];
        AMX_LDTILECFG(config);
        AMX_STTILECFG(stored);
        AMX_TILERELEASE();
    }
    return NULL;
}

/* Configuration instructions only: they need no permission, which ends with the emulation. */
static void again(void) {
    const struct sigaction action = {.sa_sigaction = try_again, .sa_flags = SA_SIGINFO};
    pthread_t thread[3];
    needs_traps();
    CHECK(amx_trap_stop() == 0);
    CHECK(sigaction(SIGILL, &action, NULL) == 0 && sigaction(SIGTRAP, &action, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, configure, NULL) == 0);
    for (int i = 0; i < 300; i++) {
        start();
        while (counts().instructions < 10)
            sched_yield();
        CHECK(amx_trap_stop() == 0);
    }
    done = 1;
    start();
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } programs[] = {
        {"once", once},
        {"shared", shared},
        {"no-room", no_room},
        {"sealed", sealed},
        {"writable", writable},
        {"unsealed", unsealed},
        {"unsealed-without-files", unsealed_without_files},
        {"moved", moved},
        {"mapped-twice", mapped_twice},
        {"leader-ended", leader_ended},
        {"generated-untold", generated_untold},
        {"rewritten", rewritten},
        {"broken", broken},
        {"hybrid", hybrid},
        {"many", many},
        {"no-membarrier", no_membarrier},
        {"no-files", no_files},
        {"no-force", no_force},
        {"stack", stack},
        {"threads", threads},
        {"timer", timer},
        {"jumps", jumps},
        {"forks", forks},
        {"restart", restart},
        {"unwinding", unwinding},
        {"again", again},
    };
    prepare();
    if (argc == 2 && strcmp(argv[1], "generated-untold") != 0)
        trap_patch_generated();
    start();
    for (size_t i = 0; argc == 2 && i < sizeof programs / sizeof *programs; i++)
        if (strcmp(argv[1], programs[i].name) == 0) {
            programs[i].run();
            return 0;
        }
    return 2;
}
