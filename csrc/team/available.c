/* How many threads may work, by the environment and the CPUs of the process. */
#define _GNU_SOURCE /* CPU_ALLOC */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#endif

#include "team/available.h"

/* The number that a setting begins with; 0 where it is none that OpenMP would take. More numbers, for inner
 * levels, may follow. */
static int number_in(const char *name) {
    const char *text = getenv(name);
    char *end;
    if (text == NULL) {
        return 0;
    }
    errno = 0;
    const long number = strtol(text, &end, 10);
    while (*end == ' ' || *end == '\t') {
        end++;
    }
    return end == text || (*end != '\0' && *end != ',') || errno != 0 || number < 1 ? 0
           : number > INT_MAX                                                       ? INT_MAX
                                                                                    : (int)number;
}

/* That the process may run on, when the library is loaded. */
static int cpus(void) {
#if defined(__linux__)
    for (int most = CPU_SETSIZE; most <= 64 * CPU_SETSIZE;
         most *= 2) { /* EINVAL: the kernel's masks are larger */
        cpu_set_t *set = CPU_ALLOC((size_t)most);
        if (set == NULL) {
            break;
        }
        const size_t size = CPU_ALLOC_SIZE((size_t)most);
        const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return count;
        }
    }
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

/* A pause is 40 to 140 cycles, by the CPU: a thread stays awake between two products of a loop in Python, and
 * leaves the CPU to others after half a millisecond or one. Where the threads are more than the CPUs, whoever
 * is awaited may need the one that looks. */
enum { LOOKS = 20000, LOOKS_IF_ACTIVE = 400000, LOOKS_IF_CROWDED = 50 };

static int available = 1, processors = 1, looks;

__attribute__((constructor)) static void read_settings(void) {
    const int wanted = number_in("OMP_NUM_THREADS"), most = number_in("OMP_THREAD_LIMIT");
    const char *policy = getenv("OMP_WAIT_POLICY");
    processors = cpus();
    available = wanted > 0 ? wanted : processors;
    if (most > 0 && most < available) {
        available = most;
    }
    looks = policy == NULL                       ? LOOKS
            : strcasecmp(policy, "passive") == 0 ? 0
            : strcasecmp(policy, "active") == 0  ? LOOKS_IF_ACTIVE
                                                 : LOOKS;
}

int team_most(void) {
    return available;
}

int team_looks(int threads) {
    return threads > processors && looks > LOOKS_IF_CROWDED ? LOOKS_IF_CROWDED : looks;
}
