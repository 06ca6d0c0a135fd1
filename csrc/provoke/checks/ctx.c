/* CTX: tiles over context switches and everything else that may happen to a thread. */
#define _GNU_SOURCE
#include "provoke/checks/checks.h"
#include "provoke/checks/ctx_probes.h"
#include "provoke/harness/schedule.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

enum { WORKERS = 6, SPECTATORS = 2, ROUNDS = 400 };

/* Shared by threads and processes. */
static struct shared {
    atomic_int ready, rounds, lost, switches, finish;
    atomic_int clean_inuse, clean_rounds, zero_lost, zero_rounds;
} *shared;

static const struct kernel *kernel; /* for threads */

static void share(void) {
    shared = tool_map_shared(sizeof *shared);
}

/* Until all run; not for ever, should one have died. */
static void wait_for(const struct kernel *k, int count) {
    atomic_fetch_add(&shared->ready, 1);
    for (int tries = 0; atomic_load(&shared->ready) < count && tries < 1000 * 1000; tries++)
        k->sched_yield();
}

/* A configuration and data of its own, kept over many switches. */
static void work(const struct kernel *k, unsigned number, int count) {
    struct tiles tiles;
    tiles_make(&tiles, 16 - (int)number, 64 - 4 * (int)number, 100 + number);
    wait_for(k, count);
    const int before = thread_switches();
    tiles_load(k, &tiles);
    for (int round = 0; round < ROUNDS; round++) {
        k->sched_yield();
        if (tiles_lost(k, &tiles) == 0)
            continue;
        atomic_fetch_add(&shared->lost, 1);
        tiles_load(k, &tiles);
    }
    k->tilerelease();
    atomic_fetch_add(&shared->switches, thread_switches() - before);
    atomic_fetch_add(&shared->rounds, ROUNDS);
}

static void see_work(void) {
    see_int("workers", WORKERS);
    see_int("expected_rounds", WORKERS * ROUNDS);
    see_int("rounds", atomic_load(&shared->rounds));
    see_int("switches", atomic_load(&shared->switches));
    see_int("lost", atomic_load(&shared->lost));
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
    for (uintptr_t i = 0; i < WORKERS; i++)
        threads[i] = tool_thread(k, work_in_thread, (void *)i);
    for (int i = 0; i < WORKERS; i++)
        k->thread_join(threads[i]);
    see_work();
}

static pid_t process(const struct kernel *k, void (*run)(const struct kernel *k, unsigned number),
                     unsigned number) {
    const pid_t pid = tool_fork(k);
    if (pid > 0)
        return pid;
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
    see_work();
    see_int("spectator_rounds", ROUNDS);
    see_int("unpermitted.rounds", atomic_load(&shared->clean_rounds));
    see_int("unpermitted.inuse", atomic_load(&shared->clean_inuse));
    see_int("permitted.rounds", atomic_load(&shared->zero_rounds));
    see_int("permitted.nonzero", atomic_load(&shared->zero_lost));
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

/* The child that CTX-04 interrupts. Once it has ended, its number may be another's. */
static struct {
    pid_t pid;
    int ended, status;
} interrupted;

/* Waits for its next stop, 1, or its end, 0. */
static int stopped(void) {
    if (interrupted.ended)
        return 0;
    if (waitpid(interrupted.pid, &interrupted.status, WUNTRACED) != interrupted.pid)
        provoke_cannot("a child cannot be waited for here: errno %d", errno);
    interrupted.ended = !WIFSTOPPED(interrupted.status);
    return !interrupted.ended;
}

static void send(int signo) {
    if (!interrupted.ended)
        kill(interrupted.pid, signo);
}

/* linux/ptrace.h, whose names clash with sys/ptrace.h. */
enum {
    TRACE_CONT = 7,
    TRACE_SINGLESTEP = 9,
    TRACE_DETACH = 17,
    TRACE_SEIZE = 0x4206,
    TRACE_INTERRUPT = 0x4207,
};

static long trace(const struct kernel *k, long request) {
    return interrupted.ended ? -ESRCH : k->ptrace(request, interrupted.pid, NULL, NULL);
}

static void ctx_04(const struct kernel *k) {
    int interrupts = 0, steps = 0, stops = 0;
    tool_request(k);
    share();
    const pid_t pid = interrupted.pid = process(k, check_until_finish, 0);
    while (atomic_load(&shared->rounds) == 0 && !interrupted.ended) {
        interrupted.ended = waitpid(pid, &interrupted.status, WNOHANG) == pid;
        sleep_ms(1);
    }
    const long seized = trace(k, TRACE_SEIZE);
    if (seized == -EPERM || seized == -EACCES) {
        send(SIGKILL);
        provoke_cannot("ptrace(PTRACE_SEIZE) is denied: errno %d", (int)-seized);
    }
    for (int i = 0; i < 20; i++) {
        interrupts += trace(k, TRACE_INTERRUPT) == 0 && stopped();
        trace(k, TRACE_CONT);
        sleep_ms(1);
    }
    if (trace(k, TRACE_INTERRUPT) == 0 && stopped())
        while (steps < 1000 && trace(k, TRACE_SINGLESTEP) == 0 && stopped())
            steps++;
    trace(k, TRACE_DETACH);
    for (int i = 0; i < 5; i++) {
        send(SIGSTOP);
        stops += stopped();
        send(SIGCONT);
        sleep_ms(1);
    }
    const int before_finish = atomic_load(&shared->rounds);
    for (int waited = 0; !interrupted.ended && atomic_load(&shared->rounds) == before_finish && waited < 8000;
         waited++)
        sleep_ms(1); /* for a check after the last interruption */
    atomic_store(&shared->finish, 1);
    see_ending("ending", interrupted.ended ? interrupted.status : tool_wait(pid));
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
