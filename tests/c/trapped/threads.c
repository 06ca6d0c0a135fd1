/* Threads and processes that come and go while AMX is emulated. */
#define _GNU_SOURCE
#include "trapped.h"

#include "amx.h"
#include "insn.h"
#include "trap/thread/altstack.h"
#include "trap/signals/signals.h"
#include "trap/thread/thread.h"
#include "trap/trap.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { TOGETHER = 50 };

/* By the page tables: the counters of statm are each task's own for up to 64 pages before Linux 6.2. */
static long resident_kib(void) {
    char line[512];
    long sum = 0, one;
    FILE *const file = fopen("/proc/self/smaps", "r");
    if (file == NULL)
        exit(4);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Rss: %ld kB", &one) == 1)
            sum += one;
    fclose(file);
    return sum;
}

static int products_are_right(unsigned seed) {
    int8_t a[TILE], b[TILE];
    int32_t c[256], expected[256];
    fill(a, TILE, seed);
    fill(b, TILE, seed + 1);
    fill(c, TILE, seed + 2);
    memcpy(expected, c, sizeof c);
    for (int i = 0; i < 3; i++) {
        product(a, b, c);
        expected_product(a, b, expected);
    }
    return memcmp(c, expected, sizeof c) == 0;
}

static void *work(void *seed) {
    load_full_configuration();
    return products_are_right((unsigned)(uintptr_t)seed) ? NULL : (void *)1;
}

static int run_threads(unsigned seed) {
    pthread_t threads[TOGETHER];
    int right = 1;
    for (int i = 0; i < TOGETHER; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(seed + (unsigned)i)) != 0)
            exit(4);
    for (int i = 0; i < TOGETHER; i++) {
        void *result = (void *)1;
        pthread_join(threads[i], &result);
        right &= result == NULL;
    }
    return right;
}

static int request(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return amx_trap_arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

static int records(void) {
    int count = 0;
    for (const struct trap_thread *thread = trap_first_thread(); thread != NULL; thread = thread->next)
        count++;
    return count;
}

static void threads(void) {
    enum { ROUNDS = 10 };
    struct amx_trap_counts counts;
    begin();
    check("first products", run_threads(0));
    const long before = resident_kib();
    for (unsigned round = 1; round < ROUNDS; round++)
        check("products", run_threads(round * TOGETHER));
    const long grown = resident_kib() - before;
    check("memory", grown < 1024);
    check("records", records() <= TOGETHER + 1);
    amx_trap_count(&counts);
    printf("instructions %llu\n", (unsigned long long)counts.instructions);
    printf("grown %ld KiB\n", grown);
}

/* Each child goes on with the parent's configuration, and without its data. */
static void in_child(const uint8_t *config) {
    uint8_t stored[64], rows[TILE];
    struct amx_trap_counts counts;
    amx_trap_count(&counts);
    AMX_STTILECFG(stored);
    AMX_TILESTORED(7, rows, 64);
    int right = memcmp(stored, config, sizeof stored) == 0 && counts.instructions == 0;
    for (int i = 0; i < TILE; i++)
        right &= rows[i] == 0;
    _exit(right && products_are_right(9) ? 0 : 1);
}

static void fork_often(pid_t (*fork_once)(void)) {
    enum { CHILDREN = 200 };
    uint8_t config[64], rows[TILE], stored[TILE];
    begin();
    load_full_configuration();
    AMX_STTILECFG(config);
    fill(rows, TILE, 6);
    AMX_TILELOADD(7, rows, 64);
    const long before = resident_kib();
    int right = 1;
    for (int i = 0; i < CHILDREN; i++) {
        int status = 0;
        const pid_t child = fork_once();
        if (child == 0)
            in_child(config);
        right &= waitpid(child, &status, 0) == child && status == 0;
    }
    check("children", right);
    check("memory", resident_kib() - before < 512);
    AMX_TILESTORED(7, stored, 64);
    check("the parent's data", memcmp(stored, rows, TILE) == 0);
    printf("children %d\n", CHILDREN);
}

static void forks(void) {
    fork_often(fork);
}

/* No atfork handler runs. */
static pid_t fork_by_system_call(void) {
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
}

static void forks_by_system_call(void) {
    fork_often(fork_by_system_call);
}

static void on_ud2(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

/* A child's own actions are its own, and emulation goes on. */
static void handlers_of_a_child(void) {
    struct sigaction action = {.sa_sigaction = on_ud2, .sa_flags = SA_SIGINFO}, found;
    begin();
    load_full_configuration();
    const pid_t child = fork_by_system_call();
    if (child == 0) {
        trap_sigaction(SIGILL, &action, NULL);
        __asm__ volatile("ud2");
        _exit(products_are_right(3) ? 0 : 1);
    }
    int status = 0;
    check("child", waitpid(child, &status, 0) == child && status == 0);
    trap_sigaction(SIGILL, NULL, &found);
    check("the parent's action", found.sa_handler == SIG_DFL);
    check("products", products_are_right(4));
}

static pthread_barrier_t small_stack_is_set, request_was_answered;

static pid_t with_small_stack;

static void *have_small_alternate_stack(void *unused) {
    static uint8_t bytes[8192];
    with_small_stack = (pid_t)syscall(SYS_gettid);
    const stack_t stack = {.ss_sp = bytes, .ss_size = sizeof bytes};
    check("small stack", trap_sigaltstack(&stack, NULL) == 0);
    pthread_barrier_wait(&small_stack_is_set);
    pthread_barrier_wait(&request_was_answered);
    return unused;
}

/* Another thread's small stack is in the way until the thread ends, and not in a child, which has no such
 * thread. */
static void requests_and_other_threads(void) {
    const struct amx_trap_options options = {.cpu = "spr", .patch = patching, .hybrid = -1};
    pthread_t thread;
    check("start", trap_start(&options, 1) == 0);
    pthread_barrier_init(&small_stack_is_set, NULL, 2);
    pthread_barrier_init(&request_was_answered, NULL, 2);
    pthread_create(&thread, NULL, have_small_alternate_stack, NULL);
    pthread_barrier_wait(&small_stack_is_set);
    load_full_configuration();
    printf("request %d\n", request());
    const pid_t child = fork();
    if (child == 0)
        _exit(request() == 0 ? 0 : 1);
    int status = 0;
    check("in the child", waitpid(child, &status, 0) == child && status == 0);
    pthread_barrier_wait(&request_was_answered);
    pthread_join(thread, NULL);
    while (syscall(SYS_tgkill, getpid(), with_small_stack, 0) == 0)
        sched_yield(); /* the kernel wakes who joins before the thread has quite ended */
    printf("request %d\n", request());
}

static void *keep_computing(void *stop) {
    load_full_configuration();
    while (!atomic_load((atomic_int *)stop))
        if (!products_are_right(11))
            return (void *)1;
    return NULL;
}

/* Forks while other threads take the lock and the traps. */
static void forks_amid_threads(void) {
    enum { WORKERS = 2, CHILDREN = 60 };
    static atomic_int stop;
    uint8_t config[64];
    pthread_t workers[WORKERS];
    begin();
    load_full_configuration();
    AMX_STTILECFG(config);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, keep_computing, &stop);
    int right = 1;
    for (int i = 0; i < CHILDREN; i++) {
        int status = 0;
        pthread_t brief;
        pthread_create(&brief, NULL, work, NULL);
        const pid_t child = fork();
        if (child == 0)
            in_child(config);
        right &= waitpid(child, &status, 0) == child && status == 0;
        pthread_join(brief, NULL);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < WORKERS; i++) {
        void *result = NULL;
        pthread_join(workers[i], &result);
        right &= result == NULL;
    }
    check("children and workers", right);
    printf("children %d\n", CHILDREN);
}

/* What runs in the same memory, and another program after exec. */
static void vfork_and_exec(void) {
    uint8_t rows[TILE], stored[TILE];
    begin();
    load_full_configuration();
    fill(rows, TILE, 12);
    AMX_TILELOADD(5, rows, 64);
    int status = 0;
    const pid_t child = vfork();
    if (child == 0) {
        request(); /* in the parent's memory, which must not take its threads for ended */
        execlp("true", "true", (char *)NULL);
        _exit(127);
    }
    check("program", waitpid(child, &status, 0) == child && status == 0);
    check("products of others", run_threads(1));
    check("command", system("exit 3") == 3 << 8);
    AMX_TILESTORED(5, stored, 64);
    check("data", memcmp(stored, rows, TILE) == 0);
}

static void *vfork_before_own_tiles(void *unused) {
    uint8_t rows[TILE], stored[TILE];
    if (vfork() == 0) {
        load_full_configuration();
        _exit(0);
    }
    load_full_configuration();
    fill(rows, TILE, 13);
    AMX_TILELOADD(5, rows, 64);
    check("products of others", run_threads(2));
    AMX_TILESTORED(5, stored, 64);
    check("data", memcmp(stored, rows, TILE) == 0);
    return unused;
}

/* What a child's thread began, its parent's thread goes on with. */
static void tiles_in_vforked_child(void) {
    pthread_t thread;
    begin();
    pthread_create(&thread, NULL, vfork_before_own_tiles, NULL);
    pthread_join(thread, NULL);
}

static void *with_config(void *config) {
    uint8_t stored[64], rows[TILE], zero[TILE] = {0};
    trap_inherit_config(config);
    AMX_STTILECFG(stored);
    check("inherited", memcmp(stored, config, 64) == 0);
    AMX_TILESTORED(0, rows, 64);
    check("data", memcmp(rows, zero, TILE) == 0);
    return NULL;
}

/* What an interposed pthread_create() has to do. */
static void inherited_configuration(void) {
    uint8_t config[64], of_creator[64];
    pthread_t thread;
    begin();
    load_full_configuration();
    AMX_STTILECFG(config);
    trap_config(of_creator);
    check("of the creator", memcmp(config, of_creator, 64) == 0);
    pthread_create(&thread, NULL, with_config, of_creator);
    pthread_join(thread, NULL);
}

const struct scenario thread_scenarios[] = {
    {"threads", threads},
    {"forks", forks},
    {"forks-by-system-call", forks_by_system_call},
    {"handlers-of-a-child", handlers_of_a_child},
    {"forks-amid-threads", forks_amid_threads},
    {"requests-and-other-threads", requests_and_other_threads},
    {"vfork-and-exec", vfork_and_exec},
    {"tiles-in-vforked-child", tiles_in_vforked_child},
    {"inherited-configuration", inherited_configuration},
    {NULL, NULL},
};
