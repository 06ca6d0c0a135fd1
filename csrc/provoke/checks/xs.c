/* XS: the extended components that need no permission, over context switches, ptrace and signals. */
#define _GNU_SOURCE
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/registers.h"
#include "provoke/harness/schedule.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { SWITCHERS = 5, ROUNDS = 200 };

static const struct kernel *kernel; /* for the handler */
static int component;
static uint8_t before[REGISTERS_MAX], after[REGISTERS_MAX];

static uint32_t size_of(const struct kernel *k) {
    return area_component(k, (uint32_t)component).size;
}

/* ---- context switches --------------------------------------------------------------------------------- */

/* Shared by threads and processes: who is ready, how many rounds lost something, and how often they were
 * switched away from meanwhile. */
static struct shared {
    atomic_int ready, rounds, lost, switches;
} *shared;

static void switch_often(const struct kernel *k, unsigned seed) {
    uint8_t mine[REGISTERS_MAX], seen[REGISTERS_MAX];
    const uint32_t size = size_of(k);
    registers_make(k, component, seed, mine);
    memset(seen, 0, sizeof seen);
    atomic_fetch_add(&shared->ready, 1);
    for (int tries = 0; atomic_load(&shared->ready) < SWITCHERS && tries < 1000 * 1000; tries++)
        k->sched_yield(); /* not for ever, should one have died */
    const int switches_before = thread_switches();
    registers_load(component, mine);
    for (int round = 0; round < ROUNDS; round++) {
        k->sched_yield();
        registers_store(component, seen);
        int differs = 0;
        for (uint32_t i = 0; i < size; i++)
            differs |= seen[i] != mine[i];
        if (differs) {
            atomic_fetch_add(&shared->lost, 1);
            registers_load(component, mine);
        }
    }
    atomic_fetch_add(&shared->switches, thread_switches() - switches_before);
    atomic_fetch_add(&shared->rounds, ROUNDS);
}

static void *switch_in_thread(void *number) {
    switch_often(kernel, 10 + (unsigned)(uintptr_t)number);
    return NULL;
}

static void switch_in_process(const struct kernel *k, unsigned number) {
    if (tool_fork(k) > 0)
        return;
    switch_often(k, 20 + number);
    _Exit(0);
}

static void restart(void) {
    atomic_store(&shared->ready, 0);
    atomic_store(&shared->rounds, 0);
    atomic_store(&shared->lost, 0);
    atomic_store(&shared->switches, 0);
}

static void context_switches(const struct kernel *k) {
    uint64_t threads[SWITCHERS];
    restart();
    for (uintptr_t i = 0; i < SWITCHERS; i++)
        threads[i] = tool_thread(k, switch_in_thread, (void *)i);
    for (int i = 0; i < SWITCHERS; i++)
        k->thread_join(threads[i]);
    see_int("threads.rounds", atomic_load(&shared->rounds));
    see_int("threads.lost", atomic_load(&shared->lost));
    see_int("threads.switches", atomic_load(&shared->switches));
    restart();
    for (unsigned i = 0; i < SWITCHERS; i++)
        switch_in_process(k, i);
    while (wait(NULL) > 0)
        continue;
    see_int("processes.rounds", atomic_load(&shared->rounds));
    see_int("processes.lost", atomic_load(&shared->lost));
    see_int("processes.switches", atomic_load(&shared->switches));
}

/* ---- ptrace ------------------------------------------------------------------------------------------- */

static void stop_with_registers(const struct kernel *k, void *unused) {
    uint8_t seen[REGISTERS_MAX];
    (void)unused;
    registers_load(component, before);
    tracee_stop();
    registers_store(component, seen);
    see_int("ptrace.live_differs", memcmp(seen, after, size_of(k)) != 0);
}

static void through_ptrace(const struct kernel *k) {
    static uint8_t area[AREA_MAX];
    const struct xcomponent where = area_component(k, (uint32_t)component);
    const pid_t pid = tracee_start(k, stop_with_registers, NULL);
    size_t length = sizeof area;
    see_int("ptrace.get", tracee_get(k, pid, area, &length));
    see_bits("ptrace.sw", area_get(area, AREA_MAGIC1));
    see_bits("ptrace.xstate_bv", area_get(area, AREA_XSTATE_BV));
    see_int("ptrace.shown_differs", memcmp(area + where.offset, before, where.size) != 0);
    memcpy(area + where.offset, after, where.size);
    uint32_t whole[4];
    k->cpuid(0xd, 0, whole);
    length = whole[1];
    see_int("ptrace.set", tracee_set(k, pid, area, &length));
    memset(area, 0, sizeof area);
    length = sizeof area;
    tracee_get(k, pid, area, &length);
    see_int("ptrace.read_back_differs", memcmp(area + where.offset, after, where.size) != 0);
    see_bits("ptrace.sw_after", area_get(area, AREA_MAGIC1));
    tracee_resume(k, pid);
}

/* ---- signal frame ------------------------------------------------------------------------------------- */

static void show_and_edit(int signo, siginfo_t *info, void *ucontext) {
    const struct xcomponent where = area_component(kernel, (uint32_t)component);
    struct frame frame;
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &frame);
    see_frame("frame", &frame);
    if (frame.xstate && frame.xstate_size >= where.offset + where.size) {
        see_int("frame.shown_differs", memcmp(frame.xstate + where.offset, before, where.size) != 0);
        memcpy(frame.xstate + where.offset, after, where.size);
    }
    kernel->sigreturn(ucontext);
}

static void through_signal(const struct kernel *k) {
    uint8_t seen[REGISTERS_MAX];
    tool_handle(SIGUSR1, show_and_edit, 0);
    memset(seen, 0, sizeof seen);
    registers_load(component, before);
    tool_raise(SIGUSR1);
    registers_store(component, seen);
    see_int("frame.live_differs", memcmp(seen, after, size_of(k)) != 0);
}

static void keep(const struct kernel *k, int number) {
    kernel = k;
    component = number;
    if (!registers_present(k, number))
        provoke_cannot("XCR0 (%#llx) does not have component %d", (unsigned long long)k->xcr0(), number);
    shared = tool_map_shared(sizeof *shared);
    registers_make(k, number, 1, before);
    registers_make(k, number, 2, after);
    see_int("component", number);
    see_bits("xcr0", k->xcr0());
    through_signal(k);
    through_ptrace(k);
    stay_on_one_cpu();
    see_int("switchers", SWITCHERS);
    see_int("rounds", SWITCHERS * ROUNDS);
    context_switches(k);
}

static void xs_02(const struct kernel *k) {
    keep(k, 2);
}
static void xs_05(const struct kernel *k) {
    keep(k, 5);
}
static void xs_06(const struct kernel *k) {
    keep(k, 6);
}
static void xs_07(const struct kernel *k) {
    keep(k, 7);
}
static void xs_19(const struct kernel *k) {
    keep(k, 19);
}

const struct provocation provoke_xs[] = {
    {"XS-02", "upper halves of YMM0-15 over switches, ptrace and signals", xs_02, 1},
    {"XS-05", "k0-k7 over switches, ptrace and signals", xs_05, 1},
    {"XS-06", "upper halves of ZMM0-15 over switches, ptrace and signals", xs_06, 1},
    {"XS-07", "ZMM16-31 over switches, ptrace and signals", xs_07, 1},
    {"XS-19", "r16-r31 over switches, ptrace and signals", xs_19, 1},
    {0},
};
