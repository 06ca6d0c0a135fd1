/* Kernels that let too much or too little be inherited (group INH). */
#define _GNU_SOURCE /* setenv */
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tiles.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TILE = 1024 };

/* ---- permission --------------------------------------------------------------------------------------- */

/* In memory that children share whatever way they are made. */
static struct {
    pid_t first;
    _Atomic int child_requested;
} *family;

static long shared_prctl(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    if (!family)
        return result;
    const int is_first = getpid() == family->first;
    if (op == ARCH_REQ_XCOMP_PERM && argument == XFEATURE_XTILEDATA && !result && !is_first)
        family->child_requested = 1;
    if (op == ARCH_GET_XCOMP_PERM && !result && is_first && family->child_requested) {
        uint64_t mask;
        memcpy(&mask, (void *)(uintptr_t)argument, sizeof mask);
        mask |= XFEATURE_MASK_XTILEDATA;
        memcpy((void *)(uintptr_t)argument, &mask, sizeof mask);
    }
    return result;
}

static void found_family(void) {
    if (family)
        return;
    family = mmap(NULL, sizeof *family, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (family == MAP_FAILED)
        provoke_broken("mmap failed");
    family->first = getpid();
}

static pid_t shared_fork(void) {
    found_family();
    return fault_base->fork();
}

static pid_t shared_clone_run(uint64_t flags, int (*child)(void *), void *argument) {
    found_family();
    return fault_base->clone_run(flags, child, argument);
}

static pid_t shared_vfork_run(int (*child)(void *), void *argument) {
    found_family();
    return fault_base->vfork_run(child, argument);
}

static int dropped;

static long dropped_prctl(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    if (op == ARCH_REQ_XCOMP_PERM && !result)
        dropped = 0;
    if (op == ARCH_GET_XCOMP_PERM && !result && dropped) {
        uint64_t mask;
        memcpy(&mask, (void *)(uintptr_t)argument, sizeof mask);
        mask &= ~XFEATURE_MASK_XTILEDATA;
        memcpy((void *)(uintptr_t)argument, &mask, sizeof mask);
    }
    return result;
}

static pid_t dropping_fork(void) {
    const pid_t pid = fault_base->fork();
    if (pid == 0)
        dropped = 1;
    return pid;
}

/* ---- exec --------------------------------------------------------------------------------------------- */

static const char kept[] = "AMX_PROVOKE_KEPT_BY_EXEC";

static long keeping_execve(const char *path, char *const argv[], char *const envp[]) {
    (void)envp;
    setenv(kept, fault_permitted() ? "1" : "", 1);
    return fault_base->execve(path, argv, environ);
}

static long kept_prctl(int op, uint64_t argument) {
    const char *const before = getenv(kept);
    if (before && *before)
        fault_base->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    unsetenv(kept);
    return fault_base->arch_prctl(op, argument);
}

static void kept_sttilecfg(uint8_t config[64]) {
    if (getenv(kept)) {
        tiles_config(config, 16, 64);
        fault_base->ldtilecfg(config);
    }
    unsetenv(kept);
    fault_base->sttilecfg(config);
}

/* ---- tile state --------------------------------------------------------------------------------------- */

struct state {
    uint64_t live;
    uint8_t config[64], rows[TILE];
};

static struct state this_thread(void) {
    struct state state = {.live = fault_base->xinuse() & XFEATURE_MASK_XTILEDATA};
    fault_base->sttilecfg(state.config);
    if (state.live)
        fault_base->tilestored(state.rows);
    return state;
}

static void take_over(const struct state *state) {
    if (state->live) {
        fault_base->ldtilecfg(state->config);
        fault_base->tileloadd(state->rows);
    }
}

static pid_t fork_with_data(void) {
    const struct state state = this_thread();
    const pid_t pid = fault_base->fork();
    if (pid == 0)
        take_over(&state);
    return pid;
}

struct start {
    struct state state;
    int drop_config;
    void *(*run)(void *);
    void *argument;
};

static void *run_started(void *argument) {
    const struct start start = *(struct start *)argument;
    free(argument);
    if (start.drop_config)
        fault_base->tilerelease();
    else
        take_over(&start.state);
    return start.run(start.argument);
}

static int start_thread(uint64_t *thread, void *(*run)(void *), void *argument, int drop_config) {
    struct start *const start = malloc(sizeof *start);
    if (!start)
        provoke_broken("no memory");
    *start = (struct start){this_thread(), drop_config, run, argument};
    return fault_base->thread_start(thread, run_started, start);
}

static int start_with_data(uint64_t *thread, void *(*run)(void *), void *argument) {
    return start_thread(thread, run, argument, 0);
}

static int start_without_config(uint64_t *thread, void *(*run)(void *), void *argument) {
    return start_thread(thread, run, argument, 1);
}

static pid_t fork_without_config(void) {
    const pid_t pid = fault_base->fork();
    if (pid == 0)
        fault_base->tilerelease();
    return pid;
}

const struct fault faults_of_inheritance[] = {
    {"permission-shared-by-fork",
     "what a child requests its parent may use",
     {.arch_prctl = shared_prctl,
      .fork = shared_fork,
      .clone_run = shared_clone_run,
      .vfork_run = shared_vfork_run}},
    {"permission-dropped-by-fork",
     "a child of fork has no permission",
     {.fork = dropping_fork, .arch_prctl = dropped_prctl}},
    {"exec-keeps-permission",
     "permission survives exec",
     {.execve = keeping_execve, .arch_prctl = kept_prctl}},
    {"exec-keeps-config",
     "a tile configuration survives exec",
     {.execve = keeping_execve, .sttilecfg = kept_sttilecfg}},
    {"fork-keeps-tile-data", "a child of fork has its parent's tile data", {.fork = fork_with_data}},
    {"thread-inherits-data", "a new thread has its creator's tile data", {.thread_start = start_with_data}},
    {"config-not-inherited",
     "children and threads start without tile configuration",
     {.fork = fork_without_config, .thread_start = start_without_config}},
    {0},
};
