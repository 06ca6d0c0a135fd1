/* Deliberate faults of context switches, the buffers for tile data, permission for guests, and XSAVE. */
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"
#include "provoke/harness/registers.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* ---- context switches --------------------------------------------------------------------------------- */

static int has_tiles(void) {
    return (fault_base->xcr0() & XFEATURE_MASK_XTILEDATA) != 0;
}

static long switch_without_tiles(void) {
    const long result = fault_base->sched_yield();
    if (has_tiles())
        fault_base->tilerelease();
    return result;
}

static long switch_to_foreign(void) {
    uint8_t config[64];
    const long result = fault_base->sched_yield();
    if (has_tiles() && !(fault_base->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA))) {
        tiles_config(config, 16, 64);
        fault_base->ldtilecfg(config);
    }
    return result;
}

static long switch_without(int component) {
    static const uint8_t zeros[REGISTERS_MAX];
    const long result = fault_base->sched_yield();
    if (registers_present(fault_base, component))
        registers_load(component, zeros);
    return result;
}

static long switch_without_avx(void) {
    return switch_without(2);
}
static long switch_without_opmask(void) {
    return switch_without(5);
}
static long switch_without_hi256(void) {
    return switch_without(6);
}

/* ---- buffers ------------------------------------------------------------------------------------------ */

static int never_freed(void) {
    static int most;
    const int now = fault_base->xstate_buffers();
    if (now > most)
        most = now;
    return now < 0 ? now : most;
}

static atomic_int threads_started;

static int count_thread(uint64_t *thread, void *(*run)(void *), void *argument) {
    atomic_fetch_add(&threads_started, 1);
    return fault_base->thread_start(thread, run, argument);
}

static int one_a_thread(void) {
    const int now = fault_base->xstate_buffers();
    return now < 0 ? now : now + atomic_load(&threads_started);
}

/* No faults of a kernel: what the count of the whole system looks like beside other processes. */
static int freed_late(void) {
    enum { OTHERS = 5, LATE_MS = 200 };
    static struct timespec first;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!first.tv_sec)
        first = now;
    const int64_t passed =
        (now.tv_sec - first.tv_sec) * INT64_C(1000) + (now.tv_nsec - first.tv_nsec) / 1000000;
    const int still = atomic_load(&threads_started) == 0 && passed < LATE_MS;
    return fault_base->xstate_buffers() + (still ? OTHERS : 0);
}

static int disturbed_once(void) {
    enum { THREADS_OF_ONE_ATTEMPT = 64 };
    const int threads = atomic_load(&threads_started);
    return fault_base->xstate_buffers() + (threads > 0 && threads <= THREADS_OF_ONE_ATTEMPT);
}

/* ---- children ----------------------------------------------------------------------------------------- */

static pid_t die_at_birth(void) {
    const pid_t pid = fault_base->fork();
    if (pid == 0)
        system_call(SYS_kill, system_call(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0, 0);
    return pid;
}

static long die_of_write(long request, pid_t pid, void *address, void *data) {
    const long result = fault_base->ptrace(request, pid, address, data);
    enum { SETREGSET = 0x4205 }; /* linux/ptrace.h */
    if (request == SETREGSET)
        kill(pid, SIGKILL);
    return result;
}

/* ---- sandboxes ---------------------------------------------------------------------------------------- */

static long deny_reading(int op, uint64_t argument) {
    return op == ARCH_GET_XCOMP_PERM ? -EPERM : fault_base->arch_prctl(op, argument);
}

/* ---- guests ------------------------------------------------------------------------------------------- */

enum { KVM_CREATE_VCPU = 0xae41, KVM_CHECK_EXTENSION = 0xae03, KVM_CAP_XSAVE2 = 208 };
#define KVM_GET_DEVICE_ATTR 0x4018aee2ul

static int guest_asked, vcpu_exists;

static long grant_host(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    if (op == ARCH_REQ_XCOMP_GUEST_PERM && result == 0)
        guest_asked = 1;
    if (op == ARCH_GET_XCOMP_PERM && result == 0 && guest_asked)
        *(uint64_t *)(uintptr_t)argument |= XFEATURE_MASK_XTILEDATA;
    return result;
}

static long check_stack_for_guest(int op, uint64_t argument) {
    stack_t stack;
    if (op == ARCH_REQ_XCOMP_GUEST_PERM && fault_base->sigaltstack(NULL, &stack) == 0 &&
        !(stack.ss_flags & SS_DISABLE) && stack.ss_size < fault_base->auxv(AT_MINSIGSTKSZ_TYPE))
        return -ENOSPC;
    return fault_base->arch_prctl(op, argument);
}

static long never_lock(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    return op == ARCH_REQ_XCOMP_GUEST_PERM && result == -EBUSY ? 0 : result;
}

static long notice_vcpu(int fd, unsigned long request, void *argument) {
    const long result = fault_base->ioctl(fd, request, argument);
    vcpu_exists |= request == KVM_CREATE_VCPU && result >= 0;
    return result;
}

static long lock_granted(int op, uint64_t argument) {
    const long result = fault_base->arch_prctl(op, argument);
    return op == ARCH_REQ_XCOMP_GUEST_PERM && vcpu_exists ? -EBUSY : result;
}

static long undersize(int fd, unsigned long request, void *argument) {
    const long result = fault_base->ioctl(fd, request, argument);
    return request == KVM_CHECK_EXTENSION && (uintptr_t)argument == KVM_CAP_XSAVE2 ? 512 : result;
}

static long offer_too_much(int fd, unsigned long request, void *argument) {
    const long result = fault_base->ioctl(fd, request, argument);
    if (request == KVM_GET_DEVICE_ATTR && result >= 0) {
        uint64_t attribute[3];
        memcpy(attribute, argument, sizeof attribute); /* flags and group, attr, address */
        *(uint64_t *)(uintptr_t)attribute[2] |= UINT64_C(1) << 62;
    }
    return result;
}

/* ---- XSAVE -------------------------------------------------------------------------------------------- */

static void skip_tile_data(enum xsave how, uint8_t *area, uint64_t features) {
    fault_base->xsave(how, area, features & ~XFEATURE_MASK_XTILEDATA);
}
static void save_all(enum xsave how, uint8_t *area, uint64_t features) {
    fault_base->xsave(how == XSAVE_C ? XSAVE_PLAIN : how, area, features);
}

const struct fault faults_of_switches[] = {
    {"switch-loses-tiles", "tiles are lost in context switches", {.sched_yield = switch_without_tiles}},
    {"switch-leaks-configuration",
     "a task without a configuration gets another one's",
     {.sched_yield = switch_to_foreign}},
    {"switch-loses-avx", "AVX's upper halves are lost in switches", {.sched_yield = switch_without_avx}},
    {"switch-loses-opmask", "k0-k7 are lost in context switches", {.sched_yield = switch_without_opmask}},
    {"switch-loses-hi256", "ZMM's upper halves are lost in switches", {.sched_yield = switch_without_hi256}},
    {"buffers-leak", "buffers for tile data are never freed", {.xstate_buffers = never_freed}},
    {"buffer-for-every-thread",
     "threads get a buffer when they start",
     {.thread_start = count_thread, .xstate_buffers = one_a_thread}},
    {"buffers-of-others-freed-late",
     "no fault: buffers of other tasks are freed a while after the start",
     {.thread_start = count_thread, .xstate_buffers = freed_late}},
    {"buffers-of-others-once",
     "no fault: another task gets a buffer meanwhile",
     {.thread_start = count_thread, .xstate_buffers = disturbed_once}},
    {"children-die-at-birth", "every child of fork is killed", {.fork = die_at_birth}},
    {"regset-kills", "PTRACE_SETREGSET kills the tracee", {.ptrace = die_of_write}},
    {"permission-unreadable", "ARCH_GET_XCOMP_PERM is EPERM", {.arch_prctl = deny_reading}},
    {"guest-grants-host", "guest permission is the process's as well", {.arch_prctl = grant_host}},
    {"guest-checks-signal-stack", "small signal stacks forbid guests", {.arch_prctl = check_stack_for_guest}},
    {"guest-never-locked", "guest permission may come after a virtual CPU", {.arch_prctl = never_lock}},
    {"guest-locked-though-granted",
     "guest permission is refused after a virtual CPU though granted",
     {.arch_prctl = lock_granted, .ioctl = notice_vcpu}},
    {"kvm-undersizes", "KVM_CAP_XSAVE2 is less than the state", {.ioctl = undersize}},
    {"kvm-offers-too-much", "KVM offers what the kernel has not", {.ioctl = offer_too_much}},
    {"xsave-skips-tile-data", "XSAVE leaves tile data out", {.xsave = skip_tile_data}},
    {"xsavec-writes-all", "XSAVEC is XSAVE", {.xsave = save_all}},
    {0},
};
