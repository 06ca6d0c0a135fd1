/* What a new process, thread or program inherits. */
#define _GNU_SOURCE /* CLONE_VM */
#include "provoke/checks/checks.h"
#include "provoke/harness/see.h"
#include "provoke/harness/stage.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static void inh_01(const struct kernel *k) {
    int requested[2];
    char byte;
    pid_t child;
    tool_need_tiles(k);

    child = tool_fork(k);
    if (child == 0) {
        see_int("child's request", k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
        see_bits("child that requested", tool_permission(k));
        _exit(0);
    }
    see_ending("first child", tool_wait(child));
    see_bits("parent of a child that requested", tool_permission(k));

    if (pipe(requested))
        provoke_cannot("no pipe can be made here: %s", strerror(errno));
    child = tool_fork(k);
    if (child == 0) {
        if (read(requested[0], &byte, 1) != 1)
            _exit(1);
        see_bits("child from before the request", tool_permission(k));
        _exit(0);
    }
    tool_request(k);
    if (write(requested[1], "", 1) != 1)
        provoke_broken("write to a pipe failed");
    see_ending("second child", tool_wait(child));

    child = tool_fork(k);
    if (child == 0) {
        see_bits("child from after the request", tool_permission(k));
        tool_see_touch(k, "child's touch");
        _exit(0);
    }
    see_ending("third child", tool_wait(child));
    see_bits("parent", tool_permission(k));
}

struct sharer {
    const struct kernel *k;
    const char *name;
};

static int request_sharing(void *argument) {
    const struct sharer *const sharer = argument;
    uint64_t permission = 0;
    const long request = sharer->k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    sharer->k->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission);
    see_ints(sharer->name, (int64_t[]){request, (int64_t)permission}, 2);
    return 0;
}

static void inh_02(const struct kernel *k) {
    struct sharer vfork = {k, "vfork"}, vm = {k, "CLONE_VM"}, sighand = {k, "CLONE_VM|CLONE_SIGHAND"};
    tool_need_tiles(k);
    see_bits("before", tool_permission(k));
    see_ending("vfork ended", tool_wait(tool_made(k->vfork_run(request_sharing, &vfork))));
    see_bits("after vfork", tool_permission(k));
    see_ending("CLONE_VM ended", tool_wait(tool_made(k->clone_run(CLONE_VM, request_sharing, &vm))));
    see_bits("after CLONE_VM", tool_permission(k));
    see_ending("CLONE_VM|CLONE_SIGHAND ended",
               tool_wait(tool_made(k->clone_run(CLONE_VM | CLONE_SIGHAND, request_sharing, &sighand))));
    see_bits("after CLONE_VM|CLONE_SIGHAND", tool_permission(k));
}

enum { ROWS = 16, COLSB = 64, TILE = ROWS * COLSB };

static void load_tile(const struct kernel *k, uint8_t config[64], uint8_t rows[TILE]) {
    tiles_config(config, ROWS, COLSB);
    tiles_pattern(rows, 3);
    k->ldtilecfg(config);
    k->tileloadd(rows);
}

static int bytes_not_zero(const uint8_t *bytes, size_t count) {
    int found = 0;
    for (size_t i = 0; i < count; i++)
        found += bytes[i] != 0;
    return found;
}

struct heir {
    const struct kernel *k;
    uint8_t config[64], rows[TILE];
};

static void see_inherited(const struct kernel *k, const uint8_t expected[64]) {
    uint8_t config[64], rows[TILE];
    /* XINUSE first: the store makes the buffer. */
    const uint64_t xinuse = k->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA);
    k->sttilecfg(config);
    memset(rows, 0xee, sizeof rows);
    see_bits("xinuse", xinuse);
    see_int("palette", config[0]);
    see_int("same configuration", !memcmp(config, expected, sizeof config));
    if (config[0] == 0)
        k->ldtilecfg(expected); /* or the store would raise #UD */
    k->tilestored(rows);
    see_int("bytes not zero", bytes_not_zero(rows, sizeof rows));
}

static void see_intact(const struct heir *heir) {
    uint8_t config[64], rows[TILE];
    heir->k->sttilecfg(config);
    see_int("parent's configuration intact", !memcmp(config, heir->config, sizeof config));
    if (config[0] == 0)
        heir->k->ldtilecfg(heir->config);
    heir->k->tilestored(rows);
    see_int("parent's data intact", !memcmp(rows, heir->rows, sizeof rows));
}

static void inh_03(const struct kernel *k) {
    struct heir heir = {.k = k};
    tool_request(k);
    tool_need_xinuse(k);
    load_tile(k, heir.config, heir.rows);
    const pid_t child = tool_fork(k);
    if (child == 0) {
        see_inherited(k, heir.config);
        _exit(0);
    }
    see_ending("child", tool_wait(child));
    see_intact(&heir);
}

static void *inherit(void *argument) {
    const struct heir *const heir = argument;
    see_inherited(heir->k, heir->config);
    return NULL;
}

static void inh_04(const struct kernel *k) {
    struct heir heir = {.k = k};
    tool_request(k);
    tool_need_xinuse(k);
    load_tile(k, heir.config, heir.rows);
    k->thread_join(tool_thread(k, inherit, &heir));
    see_intact(&heir);
}

/* ---- INH-05: a chain of programs ---------------------------------------------------------------------- */

/* Leaders exec LEADERS times in a row, since stale registers after exec were a race (fixed in 6.5). */
enum { LEADERS = 10 };

static void see_after_exec(const struct kernel *k, const char *how) {
    stack_t stack = {0};
    uint8_t config[64];
    siginfo_t info = {0};
    const uint64_t xinuse = k->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA);
    k->sttilecfg(config);
    k->sigaltstack(NULL, &stack);
    const uint64_t permission = tool_permission(k);
    const int raised = tool_catch(tool_touch, k, &info);
    see_ints(how,
             (int64_t[]){(int64_t)permission, config[0], (int64_t)xinuse, stack.ss_flags == SS_DISABLE,
                         raised, raised ? info.si_code : 0},
             6);
}

/* What exec must drop: permission, configuration, data, altstack. */
static void fill(const struct kernel *k) {
    uint8_t config[64], rows[TILE];
    const size_t size = tool_minsigstksz(k) * 2;
    const stack_t stack = {.ss_sp = tool_map(size), .ss_size = size};
    tool_request(k);
    if (k->sigaltstack(&stack, NULL))
        provoke_broken("sigaltstack refused %zu bytes", size);
    load_tile(k, config, rows);
}

static void *exec_from_thread(void *argument) {
    const struct kernel *const k = argument;
    fill(k);
    provoke_broken("exec: %ld", stage_exec(k, "thread"));
}

static int exec_from_vfork(void *argument) {
    stage_exec(argument, "spawn");
    return 1;
}

static void inh_05(const struct kernel *k) {
    tool_need_tiles(k);
    if (!stage_name) {
        see_bits("fresh", tool_permission(k));
        fill(k);
        provoke_broken("exec: %ld", stage_exec(k, "1"));
    }
    if (!strcmp(stage_name, "spawn")) {
        see_after_exec(k, "spawned");
        _exit(0);
    }
    if (!strcmp(stage_name, "thread")) {
        see_after_exec(k, "by a thread");
        fill(k);
        see_ending("spawned ended", tool_wait(tool_made(k->vfork_run(exec_from_vfork, (void *)k))));
        return;
    }
    see_after_exec(k, "by the leader");
    const int leaders = atoi(stage_name);
    if (leaders < LEADERS) {
        char next[16];
        snprintf(next, sizeof next, "%d", leaders + 1);
        fill(k);
        provoke_broken("exec: %ld", stage_exec(k, next));
    }
    k->thread_join(tool_thread(k, exec_from_thread, (void *)k)); /* never: exec ends this thread */
}

const struct provocation provoke_inh[] = {
    {"INH-01", "permission over fork, with requests before, after and in the child", inh_01, 0},
    {"INH-02", "requests of children that share memory and handlers", inh_02, 0},
    {"INH-03", "tile state over fork", inh_03, 0},
    {"INH-04", "tile state of a new thread", inh_04, 0},
    {"INH-05", "exec by the leader, by another thread and after vfork", inh_05, 0},
    {0},
};
