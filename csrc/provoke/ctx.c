/* CTX: tiles over context switches and everything else that may happen to a thread. */
#define _GNU_SOURCE
#include "frames.h"
#include "system.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { WORKERS = 6, SPECTATORS = 2, ROUNDS = 400 };

/* Shared by threads and processes. */
static struct shared {
    atomic_int ready, rounds, lost, finish;
    atomic_int clean_inuse, clean_rounds, zero_lost, zero_rounds;
} *shared;

static const struct kernel *kernel; /* for threads */

static void share(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        provoke_broken("mmap of a shared page fails");
}

static void stay_on_one_cpu(void) {
    const int cpu = sched_getcpu();
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)(cpu < 0 ? 0 : cpu), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        provoke_broken("sched_setaffinity to CPU %d fails", cpu);
}

/* Until all run; not for ever, should one have died. */
static void wait_for(const struct kernel *k, int count) {
    atomic_fetch_add(&shared->ready, 1);
    for (int tries = 0; atomic_load(&shared->ready) < count && tries < 1000 * 1000; tries++)
        k->sched_yield();
}

static void see_switches(int who) {
    struct rusage usage;
    getrusage(who, &usage);
    see_int("switches", usage.ru_nvcsw + usage.ru_nivcsw);
}

/* A configuration and data of its own, kept over many switches. */
static void work(const struct kernel *k, unsigned number, int count) {
    struct tiles tiles;
    tiles_make(&tiles, 16 - (int)number, 64 - 4 * (int)number, 100 + number);
    wait_for(k, count);
    tiles_load(k, &tiles);
    for (int round = 0; round < ROUNDS; round++) {
        k->sched_yield();
        if (tiles_lost(k, &tiles) == 0)
            continue;
        atomic_fetch_add(&shared->lost, 1);
        tiles_load(k, &tiles);
    }
    k->tilerelease();
    atomic_fetch_add(&shared->rounds, ROUNDS);
}

static void *work_in_thread(void *number) {
    work(kernel, (unsigned)(uintptr_t)number, WORKERS);
    return NULL;
}

static void ctx_01(const struct kernel *k) {
    uint64_t threads[WORKERS];
    tool_request(k);
    share();
    kernel = k;
    stay_on_one_cpu();
    for (uintptr_t i = 0; i < WORKERS; i++) {
        const int error = k->thread_start(&threads[i], work_in_thread, (void *)i);
        if (error)
            provoke_broken("pthread_create: errno %d", error);
    }
    for (int i = 0; i < WORKERS; i++)
        k->thread_join(threads[i]);
    see_int("expected_rounds", WORKERS * ROUNDS);
    see_int("rounds", atomic_load(&shared->rounds));
    see_int("lost", atomic_load(&shared->lost));
    see_switches(RUSAGE_SELF);
}

static pid_t process(const struct kernel *k, void (*run)(const struct kernel *k, unsigned number),
                     unsigned number) {
    const pid_t pid = k->fork();
    if (pid < 0)
        provoke_broken("fork: errno %d", (int)-pid);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    run(k, number);
    system_exit_group(0);
}

static void work_in_process(const struct kernel *k, unsigned number) {
    work(k, number, WORKERS + SPECTATORS);
}

/* Without permission and without a configuration: no tile state may ever be in use. */
static void watch_inuse(const struct kernel *k, unsigned unused) {
    (void)unused;
    wait_for(k, WORKERS + SPECTATORS);
    for (int round = 0; round < ROUNDS; round++) {
        k->sched_yield();
        if (k->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA))
            atomic_fetch_add(&shared->clean_inuse, 1);
    }
    atomic_fetch_add(&shared->clean_rounds, ROUNDS);
}

/* With permission and a configuration, but no data: the tiles must read as zero each time. */
static void watch_zeros(const struct kernel *k, unsigned unused) {
    struct tiles zeros;
    (void)unused;
    tiles_make(&zeros, 16, 64, 1);
    memset(zeros.rows, 0, sizeof zeros.rows);
    wait_for(k, WORKERS + SPECTATORS);
    for (int round = 0; round < ROUNDS; round++) {
        k->ldtilecfg(zeros.config);
        k->sched_yield();
        if (tiles_lost(k, &zeros) != 0)
            atomic_fetch_add(&shared->zero_lost, 1);
    }
    k->tilerelease();
    atomic_fetch_add(&shared->zero_rounds, ROUNDS);
}

static void ctx_02(const struct kernel *k) {
    tool_need_tiles(k);
    share();
    stay_on_one_cpu();
    process(k, watch_inuse, 0); /* before the request, which it would inherit */
    tool_request(k);
    process(k, watch_zeros, 0);
    for (unsigned i = 0; i < WORKERS; i++)
        process(k, work_in_process, i);
    for (int i = 0, status; i < WORKERS + SPECTATORS && wait(&status) > 0; i++)
        see_ending("ending", status);
    see_int("expected_rounds", WORKERS * ROUNDS);
    see_int("rounds", atomic_load(&shared->rounds));
    see_int("lost", atomic_load(&shared->lost));
    see_int("spectator_rounds", ROUNDS);
    see_int("unpermitted.rounds", atomic_load(&shared->clean_rounds));
    see_int("unpermitted.inuse", atomic_load(&shared->clean_inuse));
    see_int("permitted.rounds", atomic_load(&shared->zero_rounds));
    see_int("permitted.nonzero", atomic_load(&shared->zero_lost));
    see_switches(RUSAGE_CHILDREN);
}

static void sleep_ms(long milliseconds) {
    const struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

static void check_until_finish(const struct kernel *k, unsigned unused) {
    struct tiles tiles;
    (void)unused;
    tiles_make(&tiles, 16, 64, 4);
    tiles_load(k, &tiles);
    while (!atomic_load(&shared->finish)) {
        if (tiles_lost(k, &tiles) != 0) {
            atomic_fetch_add(&shared->lost, 1);
            tiles_load(k, &tiles);
        }
        atomic_fetch_add(&shared->rounds, 1);
        k->sched_yield();
    }
    k->tilerelease();
}

/* 1 when it is stopped, 0 when it is gone. */
static int stopped(pid_t pid) {
    int status;
    return waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status);
}

/* linux/ptrace.h, whose names clash with sys/ptrace.h. */
enum {
    TRACE_CONT = 7,
    TRACE_SINGLESTEP = 9,
    TRACE_DETACH = 17,
    TRACE_SEIZE = 0x4206,
    TRACE_INTERRUPT = 0x4207,
};

static void ctx_04(const struct kernel *k) {
    int interrupts = 0, steps = 0, stops = 0, status;
    tool_request(k);
    share();
    const pid_t pid = process(k, check_until_finish, 0);
    while (atomic_load(&shared->rounds) == 0 && waitpid(pid, &status, WNOHANG) == 0)
        sleep_ms(1);
    const long denied = k->ptrace(TRACE_SEIZE, pid, NULL, NULL);
    if (denied < 0) {
        kill(pid, SIGKILL);
        provoke_cannot("ptrace(PTRACE_SEIZE) is denied: errno %d", (int)-denied);
    }
    for (int i = 0; i < 20; i++) {
        interrupts += k->ptrace(TRACE_INTERRUPT, pid, NULL, NULL) == 0 && stopped(pid);
        k->ptrace(TRACE_CONT, pid, NULL, NULL);
        sleep_ms(1);
    }
    if (k->ptrace(TRACE_INTERRUPT, pid, NULL, NULL) == 0 && stopped(pid))
        while (steps < 1000 && k->ptrace(TRACE_SINGLESTEP, pid, NULL, NULL) == 0 && stopped(pid))
            steps++;
    k->ptrace(TRACE_DETACH, pid, NULL, NULL);
    for (int i = 0; i < 5; i++) {
        kill(pid, SIGSTOP);
        stops += stopped(pid);
        kill(pid, SIGCONT);
        sleep_ms(1);
    }
    const int before_finish = atomic_load(&shared->rounds);
    for (int waited = 0; atomic_load(&shared->rounds) == before_finish && waited < 1000; waited++)
        sleep_ms(1); /* for a check after the last interruption */
    atomic_store(&shared->finish, 1);
    see_ending("ending", tool_wait(pid));
    see_int("interrupts", interrupts);
    see_int("steps", steps);
    see_int("stops", stops);
    see_int("checks", atomic_load(&shared->rounds));
    see_int("checks_after", atomic_load(&shared->rounds) - before_finish);
    see_int("lost", atomic_load(&shared->lost));
}

const struct provocation provoke_ctx[] = {
    {"CTX-01", "six threads on one CPU, each with its own configuration and data", ctx_01, 0},
    {"CTX-02", "six processes on one CPU, and two that only watch", ctx_02, 0},
    {"CTX-03", "live tiles through system calls, sleep, migration, faults and children", ctx_probes, 0},
    {"CTX-04", "live tiles through ptrace interrupts, single steps and SIGSTOP", ctx_04, 0},
    {0},
};
