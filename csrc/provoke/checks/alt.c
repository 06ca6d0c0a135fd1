/* Alternate signal stacks. */
#define _GNU_SOURCE /* environ */
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"

#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    MAPPING = 256 * 1024, /* more than any stack that is tried */
    AUTODISARM = (int)(1u << 31),
};

/* Stacks lie high in a mapping: what overflows one by mistake stays inside it. */
static char *mapping;

static long set_stack(const struct kernel *k, size_t size, int flags) {
    if (!mapping)
        mapping = tool_map(2 * MAPPING);
    const stack_t stack = {.ss_sp = mapping + MAPPING, .ss_size = size, .ss_flags = flags};
    return k->sigaltstack(&stack, NULL);
}

static long disable(const struct kernel *k) {
    return set_stack(k, 0, SS_DISABLE);
}

static long request(const struct kernel *k) {
    return k->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

static void alt_01(const struct kernel *k) {
    tool_need_tiles(k);
    const uint64_t minsigstksz = tool_minsigstksz(k);
    see_int("minsigstksz", (int64_t)minsigstksz);
    see_bits("before", tool_permission(k));
    see_int("set", set_stack(k, minsigstksz - area_component(k, XFEATURE_XTILEDATA).size, 0));
    see_int("refused", request(k));
    see_bits("after refusal", tool_permission(k));
    see_int("disabled", disable(k));
    see_int("granted", request(k));
    see_bits("after", tool_permission(k));
}

static void alt_02(const struct kernel *k) {
    tool_need_tiles(k);
    const uint64_t minsigstksz = tool_minsigstksz(k);
    see_int("minsigstksz", (int64_t)minsigstksz);
    see_int("set below", set_stack(k, minsigstksz - 1, 0));
    see_int("below", request(k));
    see_int("set at", set_stack(k, minsigstksz, 0));
    see_int("at", request(k));
    see_bits("permission", tool_permission(k));
}

struct owner {
    const struct kernel *k;
    _Atomic int ready, go;
    long set;
};

static void *own_small_stack(void *argument) {
    enum { SMALL = 8192 };
    struct owner *const owner = argument;
    owner->set = set_stack(owner->k, SMALL, 0);
    owner->ready = 1;
    tool_await(&owner->go);
    return NULL;
}

static void alt_03(const struct kernel *k) {
    struct owner owner = {.k = k};
    tool_need_tiles(k);
    const uint64_t thread = tool_thread(k, own_small_stack, &owner);
    tool_await(&owner.ready);
    see_int("set by the thread", owner.set);
    see_int("refused", request(k));
    see_bits("after refusal", tool_permission(k));
    owner.go = 1;
    k->thread_join(thread);
    /* join returns when the thread has let go of its memory, a little before it leaves the process's list. */
    long granted = request(k);
    for (int i = 0; i < 1000 && granted == -ENOSPC; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
        granted = request(k);
    }
    see_int("granted", granted);
    see_bits("after", tool_permission(k));
}

/* The smallest stack that is accepted, the refusals below it all being ENOMEM; -1 where there is another
 * error or nothing is accepted. */
static int64_t limit(const struct kernel *k, int flags) {
    size_t refused = 0, accepted = MAPPING;
    if (set_stack(k, accepted, flags))
        return -1;
    while (accepted - refused > 1) {
        const size_t size = (accepted + refused) / 2;
        const long result = set_stack(k, size, flags);
        if (result && result != -ENOMEM)
            return -1;
        *(result ? &refused : &accepted) = size;
    }
    return (int64_t)accepted;
}

static void see_limits(const struct kernel *k, const char *who) {
    const int64_t plain = limit(k, 0), autodisarm = limit(k, AUTODISARM);
    see_ints(who, (int64_t[]){plain, autodisarm, disable(k)}, 3);
}

static void *see_limits_in_thread(void *k) {
    see_limits(k, "new thread");
    return NULL;
}

struct late {
    const struct kernel *k;
    _Atomic int ready, go;
};

static void *see_limits_later(void *argument) {
    struct late *const late = argument;
    late->ready = 1;
    tool_await(&late->go);
    see_limits(late->k, "old thread");
    return NULL;
}

static void alt_04(const struct kernel *k) {
    struct late late = {.k = k};
    uint32_t xsave[4];
    tool_need_tiles(k);
    const uint64_t old = tool_thread(k, see_limits_later, &late);
    tool_await(&late.ready);
    tool_request(k);
    k->cpuid(0xd, 0, xsave);
    see_int("minsigstksz", (int64_t)tool_minsigstksz(k));
    see_int("xsave", xsave[1]);
    see_limits(k, "leader");
    late.go = 1;
    k->thread_join(old);
    k->thread_join(tool_thread(k, see_limits_in_thread, (void *)k));
}

static volatile sig_atomic_t delivered;

static void on_signal(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info, (void)context;
    delivered = 1;
}

static void alt_05(const struct kernel *k) {
    uint8_t config[64], pattern[1024], stored[1024];
    tool_request(k);
    const int64_t size = limit(k, 0);
    see_int("size", size);
    if (size < 0)
        return;
    const pid_t child = tool_fork(k);
    if (child == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        if (set_stack(k, (size_t)size, 0))
            _exit(2);
        tool_handle(SIGUSR1, on_signal, 1);
        tiles_config(config, 16, 64);
        tiles_pattern(pattern, 9);
        k->ldtilecfg(config);
        k->tileloadd(pattern);
        tool_raise(SIGUSR1);
        k->tilestored(stored);
        see_int("delivered", delivered);
        see_int("same data", !memcmp(pattern, stored, sizeof stored));
        _exit(0);
    }
    see_ending("child", tool_wait(child));
}

/* ---- ALT-06 ------------------------------------------------------------------------------------------- */

enum { RACES = 600, FLIPS = 30 };
struct race {
    const struct kernel *k;
    int meets;
    _Atomic int ready, answered, ended, both;
};

/* A small altstack comes and goes; while it is there, permission must not be. Where the race `meets`, the
 * first one stays until a request is answered: with one CPU alone, or busy ones, few would come across any.
 */
static void *flip(void *argument) {
    enum { SMALL = 4096 };
    struct race *const race = argument;
    const struct kernel *const k = race->k;
    race->ready = 1;
    for (int i = 0; i < FLIPS; i++)
        if (set_stack(k, SMALL, 0) == 0) {
            if (i == 0 && race->meets)
                tool_await(&race->answered);
            if (tool_permission(k) & XFEATURE_MASK_XTILEDATA)
                race->both = 1;
            disable(k);
        }
    race->ended = 1;
    return NULL;
}

enum outcome { MET, MISSED, BOTH, NEVER_GRANTED, OTHER_ANSWER, OTHER_ENDING, OUTCOMES };

static enum outcome run_race(const struct kernel *k, int meets) {
    struct race race = {.k = k, .meets = meets};
    long result = -ENOSPC;
    int refused = 0, other = 0;
    const uint64_t thread = tool_thread(k, flip, &race);
    while (!race.ready)
        k->sched_yield();
    while (!race.ended && result) {
        result = request(k);
        race.answered = 1;
        refused |= result == -ENOSPC;
        other |= result && result != -ENOSPC;
        if (result)
            k->sched_yield();
    }
    if (result)
        result = request(k); /* the altstack is gone for good */
    k->thread_join(thread);
    return race.both ? BOTH : result ? NEVER_GRANTED : other ? OTHER_ANSWER : refused ? MET : MISSED;
}

static void alt_06(const struct kernel *k) {
    int64_t outcomes[OUTCOMES] = {0};
    tool_need_tiles(k);
    set_stack(k, 0, SS_DISABLE); /* the mapping, once for all children */
    for (int i = 0; i < RACES; i++) {
        const pid_t child = tool_fork(k);
        if (child == 0)
            _exit((int)run_race(k, i % 2));
        const int status = tool_wait(child);
        const int exited = WIFEXITED(status) && WEXITSTATUS(status) < OTHER_ENDING;
        outcomes[exited ? WEXITSTATUS(status) : OTHER_ENDING]++;
    }
    see_int("races", RACES);
    see_int("met the stack", outcomes[MET]);
    see_int("missed the stack", outcomes[MISSED]);
    see_int("granted and small", outcomes[BOTH]);
    see_int("never granted", outcomes[NEVER_GRANTED]);
    see_int("other answers", outcomes[OTHER_ANSWER]);
    see_int("other endings", outcomes[OTHER_ENDING]);
}

/* ---- ALT-07 ------------------------------------------------------------------------------------------- */

static sigjmp_buf back;
static const struct kernel *kernel;
static struct frame seen_frame;

static void on_overflow(int signo, siginfo_t *info, void *context) {
    (void)signo;
    see_signal("overflow", info, context);
    siglongjmp(back, 1);
}

static void look_at_frame(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info;
    kernel->read_frame(context, &seen_frame);
    kernel->sigreturn(context);
}

static size_t room; /* what a signal's frame took, with what aligned it */

/* The frame begins with the return address in front of the context (arch/x86/include/asm/sigframe.h). */
static void on_measured(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info;
    room = (size_t)(mapping + 2 * MAPPING - ((char *)context - sizeof(void *)));
}

/* Whether a signal arrives on an altstack of this size. */
static void deliver_on(const struct kernel *k, const char *name, size_t size) {
    const long set = set_stack(k, size, 0);
    if (set)
        provoke_cannot("sigaltstack refuses %zu bytes: %s", size, strerror((int)-set));
    delivered = 0;
    if (!sigsetjmp(back, 1))
        tool_raise(SIGUSR1);
    see_int(name, delivered);
    disable(k);
}

static void raise_second(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)info, (void)context;
    tool_raise(SIGUSR2);
}

/* Two signals, the second within the first one's handler: where one frame fits, two do not. The SIGSEGV then
 * has no room either, and ends the process. */
static int deliver_two(size_t size) {
    signal(SIGSEGV, SIG_DFL);
    tool_handle(SIGUSR1, raise_second, 1);
    tool_handle(SIGUSR2, on_signal, 1);
    if (set_stack(kernel, size, 0))
        return 1;
    tool_raise(SIGUSR1);
    return 0;
}

static void alt_07(const struct kernel *k) {
    /* Less is refused, whatever a frame takes: MINSIGSTKSZ in arch/x86/include/uapi/asm/signal.h. Without
     * AVX-512 and protection keys a frame takes less. */
    enum { LEAST = 2048, SMALL = LEAST + 1 };
    const size_t announced = tool_minsigstksz(k);
    kernel = k;
    tool_handle(SIGSEGV, on_overflow, 0);
    tool_handle(SIGUSR1, look_at_frame, 0);
    tool_raise(SIGUSR1);
    see_frame("frame", &seen_frame);
    tool_handle(SIGUSR1, on_measured, 1);
    if (set_stack(k, MAPPING, 0))
        provoke_broken("sigaltstack refuses %d bytes", MAPPING);
    tool_raise(SIGUSR1);
    disable(k);
    see_int("room for a frame", (int64_t)room);
    tool_handle(SIGUSR1, on_signal, 1);
    see_int("size", SMALL);
    deliver_on(k, "delivered on the small one", SMALL);
    const pid_t child = tool_made(k->fork());
    if (child == 0)
        _exit(deliver_two(SMALL));
    see_ending("two on the small one", tool_wait(child));
    deliver_on(k, "delivered on AT_MINSIGSTKSZ", announced > LEAST ? announced : LEAST);
}

/* The interpreter that runs the suite, which the runner names; it asks as this program would. */
static int run_interpreter(void *argument) {
    (void)argument;
    static char script[] = "import ctypes\n"
                           "libc = ctypes.CDLL(None, use_errno=True)\n"
                           "libc.syscall.restype = ctypes.c_long\n"
                           "r = libc.syscall(158, 0x1023, ctypes.c_ulong(18))\n"
                           "raise SystemExit(ctypes.get_errno() if r else 0)\n";
    char *const interpreter = getenv("AMX_PYTHON");
    char *const arguments[] = {interpreter, "-X", "faulthandler", "-c", script, NULL};
    execve(interpreter, arguments, environ);
    return 127;
}

static void alt_08(const struct kernel *k) {
    tool_need_tiles(k);
    if (!getenv("AMX_PYTHON"))
        provoke_cannot("AMX_PYTHON does not name a Python interpreter");
    see_text("interpreter", getenv("AMX_PYTHON"));
    see_ending("errno of the request", tool_wait(tool_made(k->vfork_run(run_interpreter, NULL))));
}

const struct provocation provoke_alt[] = {
    {"ALT-01", "a request with an altstack that lacks room for tile data", alt_01, 0},
    {"ALT-02", "requests with altstacks below and at AT_MINSIGSTKSZ", alt_02, 0},
    {"ALT-03", "a request while another thread has a small altstack", alt_03, 0},
    {"ALT-04", "the smallest altstack that is accepted with permission", alt_04, 0},
    {"ALT-05", "a signal on that altstack while tile data is live", alt_05, 1},
    {"ALT-06", "requests that race with a small altstack", alt_06, 0},
    {"ALT-07", "signals on an altstack too small for two frames, or for any, and on one large enough", alt_07,
     0},
    {"ALT-08", "a request by this Python interpreter with faulthandler's altstack", alt_08, 1},
    {0},
};
