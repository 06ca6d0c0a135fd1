/* Asking for permission. */
#define _GNU_SOURCE /* setresuid, gettid */
#include "provoke/checks/checks.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long request(const struct kernel *k, uint64_t component) {
    return k->arch_prctl(ARCH_REQ_XCOMP_PERM, component);
}

static void perm_01(const struct kernel *k) {
    uint64_t supported = 0, permission = 0;
    tool_need_xcr0(k); /* without it Linux calls x87 and SSE supported, and permits nothing */
    see_int("supp", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("supported", supported);
    see_int("perm", k->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&permission));
    see_bits("permission", permission);
}

static void perm_02(const struct kernel *k) {
    tool_need_tiles(k);
    see_bits("before", tool_permission(k));
    see_int("request", request(k, XFEATURE_XTILEDATA));
    see_bits("after", tool_permission(k));
}

static void perm_03(const struct kernel *k) {
    uint64_t supported = 0;
    int64_t results[64];
    struct utsname name;
    if (uname(&name))
        provoke_cannot("uname: %s", strerror(errno));
    see_text("release", name.release);
    tool_answered("ARCH_GET_XCOMP_SUPP", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("before", tool_permission(k));
    /* XTILEDATA last, and only where it must be refused as well. */
    for (uint64_t n = 0; n < 64; n++)
        results[n] = n == XFEATURE_XTILEDATA ? 0 : request(k, n);
    see_ints("below 64", results, 64);
    see_ints("beyond",
             (int64_t[]){request(k, 64), request(k, UINT64_MAX), request(k, UINT64_C(1) << 32 | 18)}, 3);
    see_bits("after", tool_permission(k));
    if (!(supported & XFEATURE_MASK_XTILEDATA))
        see_int("unsupported tile data", request(k, XFEATURE_XTILEDATA));
}

struct other {
    const struct kernel *k;
    pid_t leader;
    _Atomic int started, go;
};

static void *touch_when_told(void *argument) {
    struct other *const other = argument;
    other->started = 1;
    tool_await(&other->go);
    see_bits("thread's permission", tool_permission(other->k));
    tool_see_touch(other->k, "touch");
    return NULL;
}

static uint64_t start(struct other *other, void *(*run)(void *)) {
    const uint64_t thread = tool_thread(other->k, run, other);
    tool_await(&other->started);
    return thread;
}

static void perm_04(const struct kernel *k) {
    struct other other = {.k = k};
    tool_need_tiles(k);
    const uint64_t thread = start(&other, touch_when_told);
    tool_request(k);
    other.go = 1;
    k->thread_join(thread);
}

static void perm_05(const struct kernel *k) {
    tool_need_tiles(k);
    see_bits("before", tool_permission(k));
    see_int("refused", request(k, XFEATURE_XTILECFG));
    see_bits("after refusal", tool_permission(k));
    see_int("first", request(k, XFEATURE_XTILEDATA));
    see_bits("after first", tool_permission(k));
    see_int("second", request(k, XFEATURE_XTILEDATA));
    see_bits("after second", tool_permission(k));
    see_int("refused again", request(k, XFEATURE_XTILECFG));
    see_bits("after second refusal", tool_permission(k));
}

static void *request_here(void *argument) {
    struct other *const other = argument;
    see_int("request", request(other->k, XFEATURE_XTILEDATA));
    other->started = 1;
    return NULL;
}

static void perm_06(const struct kernel *k) {
    struct other other = {.k = k};
    tool_need_tiles(k);
    k->thread_join(start(&other, request_here));
    see_bits("leader's permission", tool_permission(k));
    tool_see_touch(k, "touch");
}

/* The state letter of a thread of this process, '?' where /proc does not tell. */
static char state_of(pid_t thread) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    FILE *const stat = fopen(path, "re");
    if (!stat)
        return '?';
    text[fread(text, 1, sizeof text - 1, stat)] = 0;
    fclose(stat);
    const char *const end = strrchr(text, ')');
    return end && end[1] == ' ' ? end[2] : '?';
}

static void *outlive_leader(void *argument) {
    struct other *const other = argument;
    const struct kernel *const k = other->k;
    char leader = '?';
    for (int i = 0; i < 2000 && leader != 'Z'; i++) { /* 10 s: the machine may be busy */
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
        leader = state_of(other->leader);
    }
    see_text("leader", (char[]){leader, 0});
    see_int("request", request(k, XFEATURE_XTILEDATA));
    see_bits("permission", tool_permission(k));
    tool_see_touch(k, "touch");
    provoke_end();
}

static void perm_07(const struct kernel *k) {
    static struct other other; /* outlives this stack */
    tool_need_tiles(k);
    other.k = k;
    other.leader = getpid();
    tool_thread(k, outlive_leader, &other);
    /* This thread alone; pthread_exit() would need libgcc_s in a static program. */
    for (;;)
        system_call(SYS_exit, 0, 0, 0, 0, 0, 0);
}

enum { REQUESTERS = 16, REQUESTS = 1000, CHURNED = 20 };
struct crowd {
    const struct kernel *k;
    _Atomic int go, stop, requests, failures, first_error, churned;
};

static void *request_often(void *argument) {
    struct crowd *const crowd = argument;
    tool_await(&crowd->go);
    for (int i = 0; i < REQUESTS || (crowd->churned < CHURNED && i < 100 * REQUESTS); i++) {
        crowd->requests++;
        const long result = request(crowd->k, XFEATURE_XTILEDATA);
        if (result && crowd->failures++ == 0)
            crowd->first_error = (int)result;
    }
    return NULL;
}

static void *do_nothing(void *argument) {
    return argument;
}

static void *churn(void *argument) {
    struct crowd *const crowd = argument;
    tool_await(&crowd->go);
    while (!crowd->stop) {
        crowd->k->thread_join(tool_thread(crowd->k, do_nothing, NULL));
        crowd->churned++;
    }
    return NULL;
}

static void perm_08(const struct kernel *k) {
    struct crowd crowd = {.k = k};
    uint64_t requesters[REQUESTERS];
    tool_need_tiles(k);
    for (int i = 0; i < REQUESTERS; i++)
        requesters[i] = tool_thread(k, request_often, &crowd);
    const uint64_t churner = tool_thread(k, churn, &crowd);
    crowd.go = 1;
    for (int i = 0; i < REQUESTERS; i++)
        k->thread_join(requesters[i]);
    crowd.stop = 1;
    k->thread_join(churner);
    see_int("requests", crowd.requests);
    see_int("failures", crowd.failures);
    see_int("first error", crowd.first_error);
    see_int("threads meanwhile", crowd.churned);
    see_bits("permission", tool_permission(k));
}

enum { PTRACE_ARCH_PRCTL_NUMBER = 30 }; /* uapi/asm/ptrace-abi.h */

static long ptrace_arch_prctl(const struct kernel *k, pid_t tracee, int op, uint64_t argument) {
    return k->ptrace(PTRACE_ARCH_PRCTL_NUMBER, tracee, (void *)(uintptr_t)argument, (void *)(intptr_t)op);
}

static void perm_09(const struct kernel *k) {
    enum { GET_FS = 0x1003 };
    uint64_t value = 0;
    int status;
    const pid_t tracee = tool_fork(k);
    if (tracee == 0) {
        see_bits("before", tool_permission(k));
        if (k->ptrace(PTRACE_TRACEME, 0, NULL, NULL))
            _exit(1);
        raise(SIGSTOP);
        see_bits("after", tool_permission(k));
        _exit(0);
    }
    status = tool_wait(tracee);
    if (!WIFSTOPPED(status))
        provoke_cannot("ptrace of a child is not allowed here");
    see_int("fs", ptrace_arch_prctl(k, tracee, GET_FS, (uintptr_t)&value));
    see_int("supp", ptrace_arch_prctl(k, tracee, ARCH_GET_XCOMP_SUPP, (uintptr_t)&value));
    see_int("request", ptrace_arch_prctl(k, tracee, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA));
    see_int("guest request", ptrace_arch_prctl(k, tracee, ARCH_REQ_XCOMP_GUEST_PERM, XFEATURE_XTILEDATA));
    k->ptrace(PTRACE_CONT, tracee, NULL, NULL);
    see_ending("tracee", tool_wait(tracee));
}

static void perm_10(const struct kernel *k) {
    tool_need_tiles(k);
    tool_drop_privilege();
    see_int("user", geteuid());
    see_int("request", request(k, XFEATURE_XTILEDATA));
    see_bits("permission", tool_permission(k));
    tool_see_touch(k, "touch");
}

static void perm_11(const struct kernel *k) {
    enum { ARCH_SET_CPUID = 0x1012 };
    uint64_t supported = 0;
    tool_need_tiles(k);
    const long error = k->arch_prctl(ARCH_SET_CPUID, 0);
    if (error)
        provoke_cannot("CPUID cannot be made to fault: %s", strerror((int)-error));
    see_int("supp", k->arch_prctl(ARCH_GET_XCOMP_SUPP, (uintptr_t)&supported));
    see_bits("supported", supported);
    see_int("request", request(k, XFEATURE_XTILEDATA));
    see_bits("permission", tool_permission(k));
    tool_see_touch(k, "touch");
}

const struct provocation provoke_perm[] = {
    {"PERM-01", "permission of a fresh program", perm_01, 0},
    {"PERM-02", "one request for tile data", perm_02, 0},
    {"PERM-03", "requests for every other component", perm_03, 0},
    {"PERM-04", "tiles in a thread older than the request", perm_04, 0},
    {"PERM-05", "repeated and refused requests", perm_05, 0},
    {"PERM-06", "a request by a thread other than the leader", perm_06, 0},
    {"PERM-07", "a request after the leader has exited", perm_07, 0},
    {"PERM-08", "16 threads that request 1000 times each while threads come and go", perm_08, 0},
    {"PERM-09", "requests through PTRACE_ARCH_PRCTL", perm_09, 0},
    {"PERM-10", "a request without privilege", perm_10, 0},
    {"PERM-11", "discovery, request and use while CPUID faults", perm_11, 0},
    {0},
};
