/* Where and how often a thread runs. */
#define _GNU_SOURCE /* RUSAGE_THREAD, sched_getcpu */
#include "provoke/harness/schedule.h"
#include "provoke/harness/see.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void sleep_ms(long milliseconds) {
    const struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

void stay_on_one_cpu(void) {
    const int cpu = sched_getcpu();
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)(cpu < 0 ? 0 : cpu), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        provoke_cannot("this thread may not stay on CPU %d: %s", cpu, strerror(errno));
    if (sched_yield() != 0)
        provoke_cannot("this thread may not give up its CPU: %s", strerror(errno));
}

int thread_switches(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) != 0)
        provoke_cannot("how often a thread was switched cannot be known here: %s", strerror(errno));
    return (int)(usage.ru_nvcsw + usage.ru_nivcsw);
}
