/* Whether a long product is to go on.
 *
 * A signal's C handler only marks it as pending: Python runs its own handler in the thread that it was
 * started in, the process's first, when that executes Python code again. So that thread calls back into
 * Python every few milliseconds. What answers there needs the interpreter's lock, which another thread may
 * not give up for milliseconds: the longer it took, the later it is asked again. The handler may do anything
 * that Python code can, this library's products included, and fork, after which it returns in two processes.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "gemm/gemm.h"

#if defined(__linux__)
#include <sys/syscall.h>
#endif

enum { MILLISECOND = 1000000, PERIOD = 5 * MILLISECOND, LONGEST = 250 * MILLISECOND, SHARE = 50 };
/* Products within handlers within products that ask. Each has a stack and buffers of its own: where signals
 * come faster than their handlers end, those within are left to end by themselves. */
enum { DEEPEST = 8 };

static _Atomic(int (*)(void)) asked;
static _Thread_local int asking;

void amx_gemm_ask(int (*ask)(void)) {
    asked = ask;
}

int amx_gemm_asking(void) {
    return asking != 0;
}

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static int64_t coarse_now(void) { /* needs no reading of a counter */
#if defined(CLOCK_MONOTONIC_COARSE)
    return now(CLOCK_MONOTONIC_COARSE);
#else
    return now(CLOCK_MONOTONIC);
#endif
}

static int is_first_thread(void) {
#if defined(__linux__)
    return syscall(SYS_gettid) == getpid();
#else
    return 0;
#endif
}

int gemm_is_time_now(struct gemm_watch *watch) {
    const int64_t time = coarse_now();
    watch->work = GEMM_WATCHED;
    if (watch->time == 0) {
        watch->time = time + PERIOD;
    }
    if (time < watch->time) {
        return 0;
    }
    if (asked == NULL || asking == DEEPEST ||
        !is_first_thread()) { /* giving up registers would be for nobody */
        watch->time = time + LONGEST;
        return 0;
    }
    return 1;
}

int gemm_ask(struct gemm_watch *watch) {
    int (*const ask)(void) = asked;
    const struct gemm_workspace aside = gemm_workspace_put_aside();
    const int64_t begin = now(CLOCK_MONOTONIC);
    asking++;
    const int answer = ask != NULL && ask();
    asking--;
    const int64_t end = now(CLOCK_MONOTONIC), pause = SHARE * (end - begin);
    gemm_workspace_put_back(&aside);
    watch->time = end + (pause < PERIOD ? PERIOD : pause > LONGEST ? LONGEST : pause);
    return answer != 0;
}
