/* The pool: threads that wait for work, are taken for a team, and wait again. See team.h.
 *
 * Whoever waits looks for a while, then sleeps on a condition. Whoever is waited for writes first and then
 * asks whether somebody sleeps, who says so first and then looks again: one of the two sees the other (all of
 * it sequentially consistent), so nobody sleeps over what he waits for.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "team/available.h"
#include "team/openmp.h"
#include "team/team.h"

enum { LINE = 64, YIELDS = 500 };

/* A number that one thread changes and others wait for. */
struct watched {
    _Alignas(LINE) _Atomic uint32_t value;
    _Atomic int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

struct team_place {
    struct watched phase; /* how many times all have met */
    _Alignas(LINE) _Atomic int arrived;
};

/* A thread of the pool. What it is to do is written while `turn` is even: it has done all that it was given.
 */
struct worker {
    struct watched turn;
    struct worker *next; /* that waits too, or is of the same team */
    struct team team;
    team_body *body;
    void *work;
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct worker *waiting;
static _Atomic int forks;
static int loaded_in_child; /* of a process that had an OpenMP runtime before */

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static int make_watched(struct watched *watched) {
    watched->value = 0;
    watched->sleepers = 0;
    if (pthread_mutex_init(&watched->lock, NULL) != 0) {
        return 0;
    }
    if (pthread_cond_init(&watched->changed, NULL) != 0) {
        pthread_mutex_destroy(&watched->lock);
        return 0;
    }
    return 1;
}
static void unmake_watched(struct watched *watched) {
    pthread_cond_destroy(&watched->changed);
    pthread_mutex_destroy(&watched->lock);
}

/* Until it is no longer `old`. */
static void wait_while(struct watched *watched, uint32_t old, int looks) {
    for (int i = 0; i <= looks; i++) {
        if (atomic_load_explicit(&watched->value, memory_order_acquire) != old) {
            return;
        }
        relax();
        if (i % YIELDS == YIELDS - 1) { /* perhaps to whom it waits for */
            sched_yield();
        }
    }
    pthread_mutex_lock(&watched->lock);
    watched->sleepers++;
    while (watched->value == old) {
        pthread_cond_wait(&watched->changed, &watched->lock);
    }
    watched->sleepers--;
    pthread_mutex_unlock(&watched->lock);
}

static void set(struct watched *watched, uint32_t value) {
    watched->value = value;
    if (watched->sleepers > 0) {
        pthread_mutex_lock(&watched->lock);
        pthread_cond_broadcast(&watched->changed);
        pthread_mutex_unlock(&watched->lock);
    }
}

void team_meet(struct team team) {
    struct team_place *place = team.place;
    if (team.size == 1) {
        return;
    }
    const uint32_t phase = atomic_load_explicit(&place->phase.value, memory_order_relaxed);
    if (atomic_fetch_add(&place->arrived, 1) + 1 < team.size) {
        wait_while(&place->phase, phase, team_looks(team.size));
        return;
    }
    atomic_store_explicit(&place->arrived, 0, memory_order_relaxed);
    set(&place->phase, phase + 1);
}

static void *live(void *given) {
    struct worker *worker = given;
    int size = 1;
    for (uint32_t turn = 0;; turn += 2) {
        wait_while(&worker->turn, turn, team_looks(size));
        size = worker->team.size;
        worker->body(worker->team, worker->work);
        set(&worker->turn, turn + 2); /* the next may be written from now on */
    }
    return NULL;
}

/* Signals of the process are not for threads that nobody knows of: a program may block one in all of its own
 * and wait for it. What an instruction of a thread causes arrives there, and a profiler's clock. */
static int create_without_signals(pthread_t *thread, const pthread_attr_t *attributes,
                                  struct worker *worker) {
    static const int own[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGPROF};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        sigdelset(&blocked, own[i]);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    const int error = pthread_create(thread, attributes, live, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* NULL where no thread can be made. */
static struct worker *make_worker(void) {
    void *memory;
    if (posix_memalign(&memory, LINE, sizeof(struct worker)) != 0) {
        return NULL;
    }
    struct worker *worker = memory;
    pthread_attr_t detached;
    pthread_t thread;
    if (!make_watched(&worker->turn)) {
        free(worker);
        return NULL;
    }
    int error = pthread_attr_init(&detached);
    if (error == 0) {
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        error = create_without_signals(&thread, &detached, worker);
        pthread_attr_destroy(&detached);
    }
    if (error != 0) {
        unmake_watched(&worker->turn);
        free(worker);
        return NULL;
    }
    return worker;
}

/* Up to so many, the last that worked first: they are awake most likely. Counts them. */
static int take_workers(int most, struct worker **taken) {
    int count = 0;
    struct worker *first = NULL, **end = &first;
    pthread_mutex_lock(&pool_lock);
    while (count < most && waiting != NULL) {
        *end = waiting;
        waiting = waiting->next;
        end = &(*end)->next;
        count++;
    }
    pthread_mutex_unlock(&pool_lock);
    while (count < most && (*end = make_worker()) != NULL) {
        end = &(*end)->next;
        count++;
    }
    *end = NULL;
    *taken = first;
    return count;
}

/* Those of a list that is not empty. */
static void give_back(struct worker *first) {
    struct worker *last = first;
    while (last->next != NULL) {
        last = last->next;
    }
    pthread_mutex_lock(&pool_lock);
    last->next = waiting;
    waiting = first;
    pthread_mutex_unlock(&pool_lock);
}

static int run_in_pool(int threads, team_body *body, void *work, struct team_place *place) {
    struct worker *workers;
    const int size = 1 + take_workers(threads - 1, &workers);
    int rank = 1;
    for (struct worker *worker = workers; worker != NULL; worker = worker->next, rank++) {
        worker->team = (struct team){rank, size, place};
        worker->body = body;
        worker->work = work;
        set(&worker->turn, worker->turn.value + 1);
    }
    body((struct team){0, size, place}, work);
    for (struct worker *worker = workers; worker != NULL; worker = worker->next) {
        const uint32_t turn = worker->turn.value;
        if (turn % 2 != 0) {
            wait_while(&worker->turn, turn, team_looks(size));
        }
    }
    if (workers != NULL) {
        give_back(workers);
    }
    return size;
}

/* A forked child has none of the threads, so it begins with an empty pool. What they have is left to nobody:
 * the thread that forked may be within a team of its parent's. */
static void before_fork(void) {
    pthread_mutex_lock(&pool_lock);
}
static void after_fork(void) {
    pthread_mutex_unlock(&pool_lock);
}
static void in_child(void) {
    waiting = NULL;
    forks++;
    pthread_mutex_unlock(&pool_lock);
}
__attribute__((constructor)) static void watch_fork(void) {
    pthread_atfork(before_fork, after_fork, in_child);
    loaded_in_child = team_openmp_is_of_parent();
}

int team_forks(void) {
    return forks;
}

/* Of a forked child the runtime's threads are gone, and libgomp waits for them. It still knows how many it
 * would use, such as the one that torch's DataLoader leaves to each of its processes. */
static int is_child(void) {
    return forks > 0 || loaded_in_child;
}
static const struct team_openmp *whose_threads_are_used(void) {
    return is_child() ? NULL : team_openmp();
}

int team_available(void) {
    const struct team_openmp *others = forks > 0 ? team_openmp_found() : team_openmp();
    const int most = team_most();
    if (others == NULL || most == 1) {
        return most;
    }
    const int theirs = !is_child() && others->is_parallel() ? 1 : others->most();
    return theirs < most ? theirs : most;
}

struct region {
    const struct team_openmp *openmp;
    team_body *body;
    void *work;
    struct team_place *place;
    int size;
};
static void in_region(void *given) {
    struct region *region = given;
    const struct team team = {region->openmp->rank(), region->openmp->size(), region->place};
    if (team.rank == 0) {
        region->size = team.size;
    }
    region->body(team, region->work);
}

int team_run(int threads, team_body *body, void *work) {
    const struct team_openmp *others = threads > 1 ? whose_threads_are_used() : NULL;
    struct team_place place;
    if (threads <= 1 || (others != NULL && others->is_parallel()) || !make_watched(&place.phase)) {
        body(team_of_one(), work);
        return 1;
    }
    place.arrived = 0;
    int size;
    if (others != NULL) {
        struct region region = {others, body, work, &place, 1};
        others->parallel(in_region, &region, (unsigned)threads, 0);
        size = region.size;
    } else {
        size = run_in_pool(threads, body, work, &place);
    }
    unmake_watched(&place.phase);
    return size;
}
