/* LIFE: the buffer for a task's tile data, from its first use to its end. */
#define _GNU_SOURCE
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/schedule.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static const struct kernel *kernel; /* for threads and handlers */
static struct tiles tiles;

/* ---- LIFE-01 ------------------------------------------------------------------------------------------ */

enum { THREADS = 64, CHILDREN = 4, PATIENCE_MS = 1500, BUSY_MS = 8000 /* of the machine */ };

static atomic_int started, touched;
static atomic_int may_touch, may_end;

static int buffers(const struct kernel *k) {
    const int count = k->xstate_buffers();
    if (count < 0)
        provoke_cannot("/proc/vmallocinfo cannot be read, which takes root: errno %d", -count);
    return count;
}

/* How many are left over `start`, given the kernel's time to free them after the end of a task. */
static int left_over(const struct kernel *k, int start) {
    for (int waited = 0; buffers(k) > start && waited < PATIENCE_MS; waited += 20)
        sleep_ms(20);
    return buffers(k) - start;
}

static void wait_until(const atomic_int *value, int wanted) {
    for (int waited = 0; atomic_load(value) < wanted && waited < BUSY_MS; waited++)
        sleep_ms(1);
}

static void *touch_when_told(void *unused) {
    atomic_fetch_add(&started, 1);
    wait_until(&may_touch, 1);
    tiles_load(kernel, &tiles);
    kernel->tilerelease();
    atomic_fetch_add(&touched, 1);
    wait_until(&may_end, 1);
    return unused;
}

/* Tasks that are gone count until RCU lets their buffers go: until the count stays the same for a while. */
static int settled(const struct kernel *k) {
    enum { MEMBARRIER_GLOBAL = 1, STEP_MS = 20, QUIET_MS = 300, AT_MOST_MS = 3000 };
    for (int i = 0; i < 2; i++) /* a grace period of RCU each */
        system_call(SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0, 0, 0, 0);
    int count = buffers(k);
    for (int waited = 0, quiet = 0; waited < AT_MOST_MS && quiet < QUIET_MS; waited += STEP_MS) {
        sleep_ms(STEP_MS);
        const int now = buffers(k);
        quiet = now == count ? quiet + STEP_MS : 0;
        count = now;
    }
    return count;
}

struct counts {
    int untouched, touched, joined, zombies, reaped; /* beyond those at the start */
};

static struct counts count_buffers(const struct kernel *k) {
    uint64_t threads[THREADS];
    struct counts counts;
    atomic_store(&started, 0);
    atomic_store(&touched, 0);
    atomic_store(&may_touch, 0);
    atomic_store(&may_end, 0);
    const int start = settled(k);
    for (int i = 0; i < THREADS; i++)
        threads[i] = tool_thread(k, touch_when_told, NULL);
    wait_until(&started, THREADS);
    counts.untouched = buffers(k) - start;
    atomic_store(&may_touch, 1);
    wait_until(&touched, THREADS);
    counts.touched = buffers(k) - start;
    atomic_store(&may_end, 1);
    for (int i = 0; i < THREADS; i++)
        k->thread_join(threads[i]);
    counts.joined = left_over(k, start);

    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = tool_fork(k);
        if (children[i] == 0) {
            tiles_load(k, &tiles);
            system_exit_group(0);
        }
        siginfo_t ended;
        waitid(P_PID, (id_t)children[i], &ended, WEXITED | WNOWAIT);
    }
    counts.zombies = buffers(k) - start;
    for (int i = 0; i < CHILDREN; i++)
        tool_wait(children[i]);
    counts.reaped = left_over(k, start);
    return counts;
}

/* The count is the whole system's, and others may touch tiles or end meanwhile. */
static void life_01(const struct kernel *k) {
    enum { ATTEMPTS = 3 };
    struct counts counts;
    int attempts = 0;
    tool_request(k);
    kernel = k;
    tiles_make(&tiles, 16, 64, 1);
    do {
        counts = count_buffers(k);
        attempts++;
    } while (attempts < ATTEMPTS &&
             (counts.untouched || counts.touched != THREADS || counts.joined || counts.reaped));
    see_int("attempts", attempts);
    see_int("threads", THREADS);
    see_int("untouched", counts.untouched);
    see_int("touched", counts.touched);
    see_int("joined", counts.joined);
    see_int("children", CHILDREN);
    see_int("zombies", counts.zombies);
    see_int("reaped", counts.reaped);
}

/* ---- LIFE-03 ------------------------------------------------------------------------------------------ */

static int write_online(const char *path, char value) {
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    const int error = write(file, &value, 1) == 1 ? 0 : -errno;
    close(file);
    return error;
}

/* A process in a session of its own that brings the CPU back when everyone else is gone, however they went.
 */
static void guard(const char *path, int lives[2]) {
    const pid_t pid = fork();
    if (pid < 0)
        provoke_cannot("no child process can be made here: errno %d", errno);
    if (pid > 0)
        return;
    char byte;
    setsid();
    for (int file = 0; file <= 2; file++)
        close(file);
    close(lives[1]);
    while (read(lives[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    write_online(path, '1');
    _exit(0);
}

static int stay_on(unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one);
}

static void life_03(const struct kernel *k) {
    char path[80];
    cpu_set_t allowed;
    unsigned cpu = 0;
    int lives[2];
    tool_request(k);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        provoke_cannot("on which CPUs this thread may run cannot be known here: errno %d", errno);
    for (unsigned i = 1; i < CPU_SETSIZE; i++) /* CPU 0 stays */
        if (CPU_ISSET(i, &allowed))
            cpu = i;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/online", cpu);
    if (cpu == 0 || access(path, W_OK) != 0)
        provoke_cannot("no CPU but the first can be taken offline here");
    if (pipe2(lives, O_CLOEXEC) != 0)
        provoke_cannot("no pipe can be made here: errno %d", errno);
    guard(path, lives);
    close(lives[0]);
    see_int("cpu", cpu);
    if (stay_on(cpu) != 0)
        provoke_cannot("this thread may not move to CPU %u", cpu);
    tiles_make(&tiles, 16, 64, 3);
    tiles_load(k, &tiles);
    const int offline = write_online(path, '0');
    see_int("offline", offline);
    see_int("offline_lost", tiles_lost(k, &tiles));
    see_int("online", write_online(path, '1'));
    if (offline != 0)
        provoke_cannot("CPU %u cannot be taken offline: errno %d", cpu, -offline);
    /* Back to the CPU that came back: its idea of XFD must be that of its register. */
    see_int("returned", stay_on(cpu));
    for (int i = 0; i < 20; i++)
        sleep_ms(1);
    see_int("online_lost", tiles_lost(k, &tiles));
    k->tilerelease();
}

/* ---- LIFE-04 ------------------------------------------------------------------------------------------ */

/* Threads on memory of ours, whose end is known: libc takes its share of a stack, and says nowhere how much.
 */
enum {
    SMALL_STACK = 16 * 1024,
    LARGE_STACK = 256 * 1024,
    GUARD = 4096,
    ALIGNMENT = 64,
    RED_ZONE = 128, /* of the ABI, which a frame leaves alone */
    HANDLER = 1024, /* more than the functions of this file and their handler use */
};

struct life {
    const char *name; /* of the observations; NULL: none */
    size_t size;
    char *lowest;
    intptr_t room; /* below the stack pointer, about when the signal comes */
};
static volatile sig_atomic_t handled;
static volatile intptr_t taken; /* from the interrupted stack pointer to the frame's beginning */

static const char *life_key(const struct life *life, const char *what) {
    static char text[40];
    snprintf(text, sizeof text, "%s.%s", life->name, what);
    return text;
}

/* The frame begins with the handler's return address, directly below the ucontext. */
static void on_stack(int signo, siginfo_t *info, void *ucontext) {
    struct frame frame;
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &frame);
    handled = frame.xstate && frame.xstate_bv & XFEATURE_MASK_XTILEDATA;
    taken = (intptr_t)((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RSP] -
            ((intptr_t)ucontext - (intptr_t)sizeof(void *));
    kernel->sigreturn(ucontext);
}

static void *raise_with_tiles(void *argument) {
    struct life *const life = argument;
    life->room = (intptr_t)__builtin_frame_address(0) - (intptr_t)life->lowest;
    if (life->name)
        see_int(life_key(life, "room"), life->room);
    tiles_load(kernel, &tiles);
    tool_raise(SIGUSR1);
    kernel->tilerelease();
    return NULL;
}

static void live(const struct kernel *k, void *argument) {
    struct life *const life = argument;
    char *const pages = tool_map(GUARD + life->size);
    pthread_attr_t attributes;
    pthread_t thread;
    kernel = k;
    tool_handle(SIGUSR1, on_stack, 0);
    mprotect(pages, GUARD, PROT_NONE);
    life->lowest = pages + GUARD;
    pthread_attr_init(&attributes);
    int error = pthread_attr_setstack(&attributes, life->lowest, life->size);
    if (!error)
        error = pthread_create(&thread, &attributes, raise_with_tiles, life);
    if (error)
        provoke_cannot("libc gives no thread a stack of %zu bytes: %s", life->size, strerror(error));
    pthread_join(thread, NULL);
    if (life->name)
        see_int(life_key(life, "handled"), handled);
}

static void see_life(const struct kernel *k, const char *name, size_t size) {
    struct life life = {.name = name, .size = size};
    see_int(life_key(&life, "stack"), (int64_t)size);
    const int status = child_run(k, live, &life, 3000);
    if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANNOT) /* it has said why */
        system_exit_group(EXIT_CANNOT);
    see_int(life_key(&life, "hung"), status == -1);
    if (status != -1)
        see_ending(life_key(&life, "ending"), status);
}

static void life_04(const struct kernel *k) {
    struct life large = {.size = LARGE_STACK};
    const size_t minsigstksz = tool_minsigstksz(k);
    tool_request(k);
    tiles_make(&tiles, 16, 64, 4);
    live(k, &large);
    see_int("minsigstksz", (int64_t)minsigstksz);
    see_int("xsave", area_end(k, area_features(k)));
    see_int("taken", taken);
    see_int("enough", (int64_t)(RED_ZONE + minsigstksz + HANDLER));
    const size_t libcs = LARGE_STACK - (size_t)large.room;
    const size_t exact =
        (libcs + RED_ZONE + minsigstksz + HANDLER + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    see_life(k, "exact", exact > SMALL_STACK ? exact : SMALL_STACK);
    see_life(k, "small", SMALL_STACK);
}

/* ---- LIFE-05 ------------------------------------------------------------------------------------------ */

enum { MEASURED = 16 };

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* first: until the first tile is zeroed; then: the average of the next ones. */
static void *measure(void *argument) {
    enum { LATER = 1000 };
    int64_t *const first_and_then = argument;
    kernel->ldtilecfg(tiles.config);
    const int64_t start = nanoseconds();
    kernel->tilezero();
    const int64_t first = nanoseconds();
    for (int i = 0; i < LATER; i++)
        kernel->tilezero();
    first_and_then[0] = first - start;
    first_and_then[1] = (nanoseconds() - first) / LATER;
    kernel->tilerelease();
    return NULL;
}

static void life_05(const struct kernel *k) {
    int64_t first[MEASURED], then[MEASURED];
    tool_request(k);
    kernel = k;
    tiles_make(&tiles, 16, 64, 5);
    for (int i = 0; i < MEASURED; i++) {
        int64_t both[2] = {0, 0};
        k->thread_join(tool_thread(k, measure, both));
        first[i] = both[0];
        then[i] = both[1];
    }
    see_ints("first_ns", first, MEASURED);
    see_ints("then_ns", then, MEASURED);
}

const struct provocation provoke_life[] = {
    {"LIFE-01", "count the kernel's buffers while 64 threads touch tiles and end", life_01, 0},
    {"LIFE-03", "take a CPU offline and online again under live tiles; old kernels crash", life_03, 1},
    {"LIFE-04", "signals with live tiles on thread stacks with just enough room, and of 16 KiB", life_04, 1},
    {"LIFE-05", "how long the first tile instruction of a thread takes", life_05, 1},
    {0},
};
