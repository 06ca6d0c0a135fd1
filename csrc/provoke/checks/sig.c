/* SIG: what a signal handler finds in its frame. */
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"
#include "provoke/harness/tracee.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const struct kernel *kernel; /* for the handlers */
static struct frame caught;         /* by the last of them */
static const char *caught_key;

static void show(int signo, siginfo_t *info, void *ucontext) {
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &caught);
    see_frame(caught_key, &caught);
    kernel->sigreturn(ucontext);
}

static void raise_and_show(const struct kernel *k, const char *key) {
    kernel = k;
    caught_key = key;
    tool_handle(SIGUSR1, show, 0);
    tool_raise(SIGUSR1);
}

/* What the sizes of a frame follow from. */
static void see_sizes(const struct kernel *k) {
    const uint64_t features = area_features(k);
    see_bits("supported", features);
    see_int("small", area_end(k, features & ~XFEATURE_MASK_XTILEDATA));
    see_int("big", area_end(k, features));
}

static void sig_01(const struct kernel *k) {
    tool_need_xsave(k);
    see_sizes(k);
    raise_and_show(k, "frame");
}

static void sig_02(const struct kernel *k) {
    struct tiles tiles;
    tool_request(k);
    see_sizes(k);
    tiles_make(&tiles, 16, 64, 1);
    k->ldtilecfg(tiles.config);
    raise_and_show(k, "frame");
    k->tilerelease();
}

static int64_t differing(const uint8_t *a, const uint8_t *b, size_t size) {
    int64_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += a[i] != b[i];
    return count;
}

static int64_t bytes_of(const uint8_t *bytes, size_t size, uint8_t value) {
    int64_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == value;
    return count;
}

static struct tiles live;

static void show_data(int signo, siginfo_t *info, void *ucontext) {
    const struct xcomponent config = area_component(kernel, XFEATURE_XTILECFG);
    const struct xcomponent data = area_component(kernel, XFEATURE_XTILEDATA);
    show(signo, info, ucontext);
    if (!caught.xstate || caught.xstate_size < data.offset + data.size)
        return;
    see_int("config_differs", differing(caught.xstate + config.offset, live.config, sizeof live.config));
    see_int("tmm0_differs", differing(caught.xstate + data.offset, live.rows, sizeof live.rows));
    see_int("tmm1_7_zero", bytes_of(caught.xstate + data.offset + 1024, data.size - 1024, 0));
    see_int("tmm1_7", data.size - 1024);
}

static void sig_03(const struct kernel *k) {
    tool_request(k);
    see_sizes(k);
    kernel = k;
    caught_key = "frame";
    tool_handle(SIGUSR1, show_data, 0);
    tiles_make(&live, 16, 64, 3);
    tiles_load(k, &live);
    tool_raise(SIGUSR1);
    k->tilerelease();
}

/* A byte that TMM0's pattern of live tiles is unlikely to be alone. */
enum { UNWRITTEN = 0xa5 };

static void show_unwritten(int signo, siginfo_t *info, void *ucontext) {
    const uint32_t numbers[2] = {XFEATURE_XTILECFG, XFEATURE_XTILEDATA};
    int64_t unwritten = 0, zero = 0, total = 0;
    show(signo, info, ucontext);
    for (int i = 0; i < 2; i++) {
        const struct xcomponent component = area_component(kernel, numbers[i]);
        if (!caught.xstate || caught.xstate_size < component.offset + component.size)
            return;
        unwritten += bytes_of(caught.xstate + component.offset, component.size, UNWRITTEN);
        zero += bytes_of(caught.xstate + component.offset, component.size, 0);
        total += component.size;
    }
    see_int("unwritten", unwritten);
    see_int("zero", zero);
    see_int("total", total);
}

static void sig_04(const struct kernel *k) {
    const size_t size = (size_t)tool_minsigstksz(k) + 64 * 1024;
    const stack_t stack = {.ss_sp = tool_map(size), .ss_size = size};
    tool_request(k);
    see_sizes(k);
    memset(stack.ss_sp, UNWRITTEN, size);
    if (k->sigaltstack(&stack, NULL) != 0)
        provoke_broken("sigaltstack of %zu bytes fails", size);
    kernel = k;
    caught_key = "frame";
    tool_handle(SIGUSR1, show_unwritten, 1);
    tiles_make(&live, 16, 64, 4);
    tiles_load(k, &live);
    k->tilerelease();
    tool_raise(SIGUSR1);
}

static void *thread_frame(void *k) {
    raise_and_show(k, "thread");
    return NULL;
}

static void child_frame(const struct kernel *k, void *unused) {
    (void)unused;
    raise_and_show(k, "child");
}

static void sig_05(const struct kernel *k) {
    union {
        const struct kernel *table;
        void *argument;
    } pointer = {k};
    tool_request(k);
    see_sizes(k);
    tiles_make(&live, 16, 64, 5);
    tiles_load(k, &live);
    raise_and_show(k, "touched");
    see_ending("child_ending", child_run(k, child_frame, NULL, 6000));
    k->thread_join(tool_thread(k, thread_frame, pointer.argument));
    k->tilerelease();
}

static struct tiles in_handler, in_nested;

static void see_init(const char *key_inuse, const char *key_config) {
    uint8_t config[64], init[64] = {0};
    see_bits(key_inuse, kernel->xinuse() & (XFEATURE_MASK_XTILECFG | XFEATURE_MASK_XTILEDATA));
    kernel->sttilecfg(config);
    see_int(key_config, differing(config, init, sizeof config));
}

static void nested(int signo, siginfo_t *info, void *ucontext) {
    struct frame frame;
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &frame);
    see_init("nested_xinuse", "nested_config");
    tiles_load(kernel, &in_nested);
    see_int("nested_lost", tiles_lost(kernel, &in_nested));
    kernel->sigreturn(ucontext);
}

static void nesting(int signo, siginfo_t *info, void *ucontext) {
    struct frame frame;
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &frame);
    see_init("handler_xinuse", "handler_config");
    tiles_load(kernel, &in_handler);
    tool_raise(SIGUSR2);
    see_int("handler_lost", tiles_lost(kernel, &in_handler));
    kernel->sigreturn(ucontext);
}

static void sig_06(const struct kernel *k) {
    tool_request(k);
    kernel = k;
    tool_handle(SIGUSR1, nesting, 0);
    tool_handle(SIGUSR2, nested, 0);
    tiles_make(&live, 16, 64, 6);
    tiles_make(&in_handler, 8, 32, 61);
    tiles_make(&in_nested, 3, 16, 62);
    tiles_load(k, &live);
    tool_raise(SIGUSR1);
    see_int("main_lost", tiles_lost(k, &live));
    k->tilerelease();
}

static volatile sig_atomic_t deliveries, lost_in_handler;

static void storm(int signo, siginfo_t *info, void *ucontext) {
    struct frame frame;
    (void)signo, (void)info;
    kernel->read_frame(ucontext, &frame);
    tiles_load(kernel, &in_handler);
    lost_in_handler = lost_in_handler + (tiles_lost(kernel, &in_handler) != 0);
    deliveries = deliveries + 1;
    kernel->sigreturn(ucontext);
}

/* Warnings of the kernel's FPU code in its log, -errno where it may not be read. */
static int fpu_warnings(void) {
    enum { READ_ALL = 3, SIZE_BUFFER = 10 };
    const int size = klogctl(SIZE_BUFFER, NULL, 0);
    if (size < 0)
        return -errno;
    char *log = calloc(1, (size_t)size + 1);
    if (!log)
        provoke_cannot("no %d bytes of memory can be had here for the kernel's log", size);
    if (klogctl(READ_ALL, log, size) < 0) {
        free(log);
        return -errno;
    }
    int count = 0;
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
        count += strstr(line, "WARNING:") && strstr(line, "/fpu/");
    free(log);
    return count;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sig_07(const struct kernel *k) {
    const struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    int64_t checks = 0, lost = 0;
    tool_request(k);
    const int warnings = fpu_warnings();
    kernel = k;
    tool_handle(SIGALRM, storm, 0);
    tiles_make(&live, 16, 64, 7);
    tiles_make(&in_handler, 5, 48, 71);
    tiles_load(k, &live);
    setitimer(ITIMER_REAL, &every, NULL);
    for (const double end = seconds() + 1; seconds() < end || !checks || !deliveries; checks++) {
        if (tiles_lost(k, &live) == 0)
            continue;
        lost++;
        tiles_load(k, &live);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    k->tilerelease();
    see_int("deliveries", deliveries);
    see_int("checks", checks);
    see_int("main_lost", lost);
    see_int("handler_lost", lost_in_handler);
    const int warnings_now = fpu_warnings();
    if (warnings >= 0 && warnings_now >= 0) /* old lines may have left the log */
        see_int("fpu_warnings", warnings_now > warnings ? warnings_now - warnings : 0);
}

static void sig_08(const struct kernel *k) {
    tool_need_xsave(k); /* without it a frame ends with the FXSAVE image, and has no header */
    raise_and_show(k, "frame");
    if (!tiles_granted(k))
        return;
    tiles_make(&live, 16, 64, 8);
    tiles_load(k, &live);
    raise_and_show(k, "frame");
    k->tilerelease();
}

const struct provocation provoke_sig[] = {
    {"SIG-01", "raise a signal without permission and read the frame", sig_01, 0},
    {"SIG-02", "the same with permission and a configuration, no tile touched", sig_02, 0},
    {"SIG-03", "the same with live tiles", sig_03, 0},
    {"SIG-04", "the same after TILERELEASE, on a stack filled with a pattern", sig_04, 0},
    {"SIG-05", "the same in a child and a new thread of a process with live tiles", sig_05, 0},
    {"SIG-06", "handlers that use tiles themselves, nested", sig_06, 0},
    {"SIG-07", "a timer every 500 us for a second, its handler with another configuration", sig_07, 0},
    {"SIG-08", "the format of the frame, plain and with live tiles", sig_08, 0},
    {0},
};
