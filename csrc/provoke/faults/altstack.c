/* Kernels that watch alternate stacks badly (group ALT). */
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { AUTODISARM = (int)(1u << 31) };

static int is_request(int op, uint64_t argument) {
    return op == ARCH_REQ_XCOMP_PERM && argument == XFEATURE_XTILEDATA;
}

static long own_ignored_prctl(int op, uint64_t argument) {
    if (is_request(op, argument)) {
        const stack_t none = {.ss_flags = SS_DISABLE};
        fault_base->sigaltstack(&none, NULL);
    }
    return fault_base->arch_prctl(op, argument);
}

static long unseen_sigaltstack(const stack_t *set, stack_t *old) {
    const int small = set && set->ss_size < fault_base->auxv(AT_MINSIGSTKSZ_TYPE);
    return small && fault_thread() != getpid() && !fault_permitted() ? 0 : fault_base->sigaltstack(set, old);
}

static long greedy_prctl(int op, uint64_t argument) {
    stack_t stack = {0};
    fault_base->sigaltstack(NULL, &stack);
    if (is_request(op, argument) && stack.ss_size == fault_base->auxv(AT_MINSIGSTKSZ_TYPE))
        return -ENOSPC;
    return fault_base->arch_prctl(op, argument);
}

static long other_errno_prctl(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    return result == -ENOSPC ? -EOPNOTSUPP : result;
}

static long lenient_sigaltstack(const stack_t *set, stack_t *old) {
    const long result = fault_base->sigaltstack(set, old);
    return result == -ENOMEM && fault_permitted() ? 0 : result;
}

static long autodisarm_sigaltstack(const stack_t *set, stack_t *old) {
    const long result = fault_base->sigaltstack(set, old);
    return result == -ENOMEM && set->ss_flags & AUTODISARM ? 0 : result;
}

/* A request that was refused for a small stack grants when the next small stack comes, in whatever thread. */
static _Atomic int refused, raced;

static long racing_sigaltstack(const stack_t *set, stack_t *old) {
    const int small =
        set && !(set->ss_flags & SS_DISABLE) && set->ss_size < fault_base->auxv(AT_MINSIGSTKSZ_TYPE);
    if (small && refused)
        raced = 1;
    return fault_base->sigaltstack(set, old);
}

static long racing_prctl(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    if (is_request(op, argument) && result == -ENOSPC)
        refused = 1;
    if (op == ARCH_GET_XCOMP_PERM && !result && raced) {
        uint64_t mask;
        memcpy(&mask, (void *)(uintptr_t)argument, sizeof mask);
        mask |= XFEATURE_MASK_XTILEDATA;
        memcpy((void *)(uintptr_t)argument, &mask, sizeof mask);
    }
    return result;
}

/* A stack of 2049 bytes is taken as if it were larger, as by a kernel that does not look where the frame
 * ends. */
static long rounding_sigaltstack(const stack_t *set, stack_t *old) {
    enum { SMALL = 2049, ENOUGH = 64 * 1024 };
    stack_t larger;
    if (!set || set->ss_size != SMALL)
        return fault_base->sigaltstack(set, old);
    larger = *set;
    larger.ss_size = ENOUGH;
    return fault_base->sigaltstack(&larger, old);
}

/* With permission a stack is taken when it has room for the state alone: where it ends there is nothing. */
static long too_small_sigaltstack(const stack_t *set, stack_t *old) {
    enum { ROOM = 64 * 1024 };
    static char *pages;
    uint32_t xsave[4];
    const long result = fault_base->sigaltstack(set, old);
    fault_base->cpuid(0xd, 0, xsave);
    if (result != -ENOMEM || !fault_permitted() || set->ss_size <= xsave[1])
        return result;
    if (!pages)
        pages = tool_map(2 * ROOM);
    if (mprotect(pages, ROOM, PROT_NONE))
        provoke_broken("mprotect failed");
    const stack_t larger = {pages + set->ss_size, set->ss_flags, ROOM}; /* of it, ss_size bytes are there */
    return fault_base->sigaltstack(&larger, old);
}

const struct fault faults_of_altstacks[] = {
    {"altstack-ignored",
     "a request does not look at the caller's alternate stack",
     {.arch_prctl = own_ignored_prctl}},
    {"altstack-other-threads-ignored",
     "a request does not look at other threads' alternate stacks",
     {.sigaltstack = unseen_sigaltstack}},
    {"altstack-must-exceed-minimum",
     "an alternate stack of AT_MINSIGSTKSZ refuses the request",
     {.arch_prctl = greedy_prctl}},
    {"altstack-refusal-as-documented",
     "a small alternate stack makes the request EOPNOTSUPP",
     {.arch_prctl = other_errno_prctl}},
    {"small-altstack-after-permission",
     "with permission, sigaltstack takes any size",
     {.sigaltstack = lenient_sigaltstack}},
    {"autodisarm-unchecked",
     "with SS_AUTODISARM, sigaltstack takes any size",
     {.sigaltstack = autodisarm_sigaltstack}},
    {"altstack-without-room-for-frame",
     "with permission, sigaltstack takes what has room for the state but not for the frame around it",
     {.sigaltstack = too_small_sigaltstack}},
    {"altstack-race-is-lost",
     "requests that race with a small alternate stack grant",
     {.arch_prctl = racing_prctl, .sigaltstack = racing_sigaltstack}},
    {"altstack-overflow-unnoticed",
     "a signal overflows a small alternate stack",
     {.sigaltstack = rounding_sigaltstack}},
    {0},
};
