/* Kernels that answer or grant wrongly (groups DISC, PERM, SBX). */
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* What a reading operation gives, to be changed before it is handed on. */
static long read_mask(int op, uint64_t *mask) {
    return fault_base->arch_prctl(op, (uintptr_t)mask);
}

static long hand_out(uint64_t mask, uint64_t argument) {
    memcpy((void *)(uintptr_t)argument, &mask, sizeof mask);
    return 0;
}

/* ---- DISC --------------------------------------------------------------------------------------------- */

static long supp_contradicts_cpuid(int op, uint64_t argument) {
    uint64_t mask;
    const long result = fault_base->arch_prctl(op, argument);
    if (op != ARCH_GET_XCOMP_SUPP || result || read_mask(op, &mask))
        return result;
    return hand_out(mask ^ (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA), argument);
}

static long bad_pointer_accepted(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    return result == -EFAULT && (argument < 2 || argument >> 63) ? 0 : result;
}

static long dead_proposal_grants(int op, uint64_t argument) {
    if (op == ARCH_GET_XCOMP_SUPP && argument == (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA)) {
        fault_base->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
        return 0;
    }
    return fault_base->arch_prctl(op, argument);
}

static long unknown_op_accepted(int op, uint64_t argument) {
    return op == ARCH_REQ_XCOMP_GUEST_PERM + 1 ? 0 : fault_base->arch_prctl(op, argument);
}

static void cpuid_follows_permission(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    fault_base->cpuid(leaf, subleaf, registers);
    if (leaf == 7 && subleaf == 0 && !fault_permitted())
        registers[1] ^= 1;
}

static void geometry_differs(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    fault_base->cpuid(leaf, subleaf, registers);
    if (leaf == 0x1d && subleaf == 1)
        registers[2] = 8; /* rows */
}

static uint64_t auxv_without_tiles(uint64_t type) {
    const uint64_t value = fault_base->auxv(type);
    return type == 51 /* AT_MINSIGSTKSZ */ ? value / 3 : value;
}

/* ---- PERM --------------------------------------------------------------------------------------------- */

static long tile17_missing_initially(int op, uint64_t argument) {
    uint64_t mask;
    const long result = fault_base->arch_prctl(op, argument);
    if (op != ARCH_GET_XCOMP_PERM || result || read_mask(op, &mask) || mask & XFEATURE_MASK_XTILEDATA)
        return result;
    return hand_out(mask & ~XFEATURE_MASK_XTILECFG, argument);
}

static int is_request(int op, uint64_t argument) {
    return op == ARCH_REQ_XCOMP_PERM && argument == XFEATURE_XTILEDATA;
}

static long request_lies(int op, uint64_t argument) {
    return is_request(op, argument) ? 0 : fault_base->arch_prctl(op, argument);
}

static long request_returns_ebusy(int op, uint64_t argument) {
    return is_request(op, argument) ? -EBUSY : fault_base->arch_prctl(op, argument);
}

static long request_replaces_mask(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    if (op != ARCH_GET_XCOMP_PERM || result || !fault_permitted())
        return result;
    return hand_out(XFEATURE_MASK_XTILEDATA, argument);
}

static long errno_swapped(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    if (op == ARCH_REQ_XCOMP_PERM && (result == -EINVAL || result == -EOPNOTSUPP))
        return result == -EINVAL ? -EOPNOTSUPP : -EINVAL;
    return result;
}

static long every_number_known(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    return op == ARCH_REQ_XCOMP_PERM && result == -EINVAL && argument < 64 ? -EOPNOTSUPP : result;
}

static long permission_unreadable(int op, uint64_t argument) {
    return op == ARCH_GET_XCOMP_PERM ? -EPERM : fault_base->arch_prctl(op, argument);
}

static long refused_request_grants(int op, uint64_t argument) {
    if (op == ARCH_REQ_XCOMP_PERM && argument == XFEATURE_XTILECFG)
        fault_base->arch_prctl(op, XFEATURE_XTILEDATA);
    return fault_base->arch_prctl(op, argument);
}

static long second_request_fails(int op, uint64_t argument) {
    return is_request(op, argument) && fault_permitted() ? -EINVAL : fault_base->arch_prctl(op, argument);
}

static long leader_alone_requests(int op, uint64_t argument) {
    return is_request(op, argument) && fault_thread() != getpid() ? -EPERM
                                                                  : fault_base->arch_prctl(op, argument);
}

/* Whether the calling thread has outlived the leader. */
static int leader_exited(void) {
    char path[64], text[512];
    if (fault_thread() == getpid())
        return 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    FILE *const stat = fopen(path, "re");
    if (!stat)
        return 0;
    text[fread(text, 1, sizeof text - 1, stat)] = 0;
    fclose(stat);
    const char *const name_end = strrchr(text, ')');
    return name_end && !strncmp(name_end, ") Z", 3);
}

static long leader_must_live(int op, uint64_t argument) {
    return is_request(op, argument) && leader_exited() ? -ESRCH : fault_base->arch_prctl(op, argument);
}

static long concurrent_requests_are_busy(int op, uint64_t argument) {
    static _Atomic int inside;
    if (!is_request(op, argument))
        return fault_base->arch_prctl(op, argument);
    const int others = inside++;
    if (!others)
        nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL); /* long enough to be met */
    const long result = others ? -EBUSY : fault_base->arch_prctl(op, argument);
    inside--;
    return result;
}

static long request_needs_privilege(int op, uint64_t argument) {
    return is_request(op, argument) && geteuid() != 0 ? -EPERM : fault_base->arch_prctl(op, argument);
}

static long tracer_may_request(long request, pid_t pid, void *address, void *data) {
    enum { PTRACE_ARCH_PRCTL_NUMBER = 30 };
    if (request == PTRACE_ARCH_PRCTL_NUMBER && (intptr_t)data == ARCH_REQ_XCOMP_PERM)
        return 0;
    return fault_base->ptrace(request, pid, address, data);
}

/* Permission of the threads that asked for it themselves, and of children they forked. */
enum { GRANTED = 64 };
static _Atomic pid_t granted[GRANTED];

static int thread_granted(void) {
    const pid_t thread = fault_thread();
    for (int i = 0; i < GRANTED; i++)
        if (granted[i] == thread)
            return 1;
    return 0;
}

static void grant_thread(void) {
    for (int i = 0; i < GRANTED; i++) {
        pid_t none = 0;
        if (atomic_compare_exchange_strong(&granted[i], &none, fault_thread()))
            return;
    }
}

static long per_thread_prctl(int op, uint64_t argument) {
    uint64_t mask;
    const long result = fault_base->arch_prctl(op, argument);
    if (is_request(op, argument) && !result && !thread_granted())
        grant_thread();
    if (op != ARCH_GET_XCOMP_PERM || result || thread_granted() || read_mask(op, &mask))
        return result;
    return hand_out(mask & ~XFEATURE_MASK_XTILEDATA, argument);
}

static pid_t per_thread_fork(void) {
    const int inherits = thread_granted();
    const pid_t pid = fault_base->fork();
    if (pid == 0 && inherits)
        grant_thread();
    return pid;
}

static void per_thread_tilezero(void) {
    if (fault_permitted() && !thread_granted())
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_TILEZERO));
    else
        fault_base->tilezero();
}

/* ---- SBX ---------------------------------------------------------------------------------------------- */

static long lies_are_believed(int op, uint64_t argument) {
    static _Atomic pid_t granted_to;
    uint64_t mask;
    const long result = fault_base->arch_prctl(op, argument);
    if (is_request(op, argument) && !result)
        granted_to = getpid();
    if (op != ARCH_GET_XCOMP_PERM || result || granted_to != getpid() || read_mask(op, &mask))
        return result;
    return hand_out(mask | XFEATURE_MASK_XTILEDATA, argument);
}

static long filter_errno_changed(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    return result == -EPERM ? -EACCES : result;
}

static void filter_takes_tiles(void) {
    if (prctl(PR_GET_SECCOMP) > 0)
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_TILEZERO));
    else
        fault_base->tilezero();
}

/* With no_new_privs, which goes with an unprivileged filter. */
static void privilege_loss_takes_tiles(void) {
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) > 0)
        fault_raise(ILL_ILLOPC, fault_base->address_of(INSN_TILEZERO));
    else
        fault_base->tilezero();
}

const struct fault faults_of_requests[] = {
    {"supp-contradicts-cpuid",
     "ARCH_GET_XCOMP_SUPP has the tile components where the CPU has no tiles, and lacks them where it does",
     {.arch_prctl = supp_contradicts_cpuid}},
    {"bad-pointer-accepted",
     "reading operations take pointers they cannot write through",
     {.arch_prctl = bad_pointer_accepted}},
    {"dead-proposal-grants",
     "0x1021 with a mask of components grants them",
     {.arch_prctl = dead_proposal_grants}},
    {"unknown-op-accepted", "operation 0x1026 succeeds", {.arch_prctl = unknown_op_accepted}},
    {"cpuid-follows-permission",
     "CPUID.7.0:EBX changes with permission",
     {.cpuid = cpuid_follows_permission}},
    {"geometry-differs", "CPUID.1D.1 announces 8 rows", {.cpuid = geometry_differs}},
    {"auxv-without-tiles", "AT_MINSIGSTKSZ has no room for the largest frame", {.auxv = auxv_without_tiles}},
    {"tile17-missing-initially",
     "XTILECFG is not permitted at first",
     {.arch_prctl = tile17_missing_initially}},
    {"request-lies", "a request is 0 and grants nothing", {.arch_prctl = request_lies}},
    {"request-returns-ebusy", "every request is EBUSY", {.arch_prctl = request_returns_ebusy}},
    {"request-replaces-mask",
     "a request leaves nothing but the requested component permitted",
     {.arch_prctl = request_replaces_mask}},
    {"errno-swapped", "EINVAL and EOPNOTSUPP of requests are swapped", {.arch_prctl = errno_swapped}},
    {"every-number-is-known", "no number below 64 is EINVAL", {.arch_prctl = every_number_known}},
    {"permission-is-unreadable", "ARCH_GET_XCOMP_PERM is EPERM", {.arch_prctl = permission_unreadable}},
    {"refused-request-grants",
     "a request for XTILECFG is refused and grants tile data",
     {.arch_prctl = refused_request_grants}},
    {"second-request-fails", "a repeated request is EINVAL", {.arch_prctl = second_request_fails}},
    {"leader-alone-requests",
     "a request by another thread than the leader is EPERM",
     {.arch_prctl = leader_alone_requests}},
    {"leader-must-live", "a request after the leader's exit is ESRCH", {.arch_prctl = leader_must_live}},
    {"concurrent-requests-are-busy",
     "a request during another one is EBUSY",
     {.arch_prctl = concurrent_requests_are_busy}},
    {"request-needs-privilege",
     "a request by an unprivileged user is EPERM",
     {.arch_prctl = request_needs_privilege}},
    {"tracer-may-request", "PTRACE_ARCH_PRCTL takes requests", {.ptrace = tracer_may_request}},
    {"permission-per-thread",
     "permission is that of the thread that asked",
     {.arch_prctl = per_thread_prctl, .fork = per_thread_fork, .tilezero = per_thread_tilezero}},
    {"lies-are-believed",
     "ARCH_GET_XCOMP_PERM shows tile data after any request that gave 0",
     {.arch_prctl = lies_are_believed}},
    {"filter-errno-changed",
     "EPERM of a seccomp filter arrives as EACCES",
     {.arch_prctl = filter_errno_changed}},
    {"filter-takes-tiles", "tile data faults under a seccomp filter", {.tilezero = filter_takes_tiles}},
    {"privilege-loss-takes-tiles",
     "tile data faults after the loss of privilege",
     {.tilezero = privilege_loss_takes_tiles}},
    {0},
};
