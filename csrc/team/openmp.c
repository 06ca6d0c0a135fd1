/* Finds the runtime by the names of the libraries that are loaded. See openmp.h.
 *
 * Two pools of threads in one process wait for their next work on the same CPUs, and whoever works meets the
 * other's that still looks for some: so products run on that pool, if there is one. It is not loaded, nor
 * linked to. GOMP_parallel is what gcc calls for a parallel region since 4.9; the runtimes of LLVM and Intel
 * have it too.
 */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "team/openmp.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#if defined(__linux__)
#include <link.h>

enum { MOST_PATH = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct team_openmp runtime;
static _Atomic int is_found;
static _Atomic int64_t next_look; /* in ticks of the coarse clock's hundred milliseconds */

struct library {
    char path[MOST_PATH];
};
/* The first one; 1 ends the walk. */
static int is_a_runtime(struct dl_phdr_info *info, size_t size, void *found) {
    static const char *const names[] = {"libgomp", "libomp", "libiomp5"};
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t length = strlen(names[i]);
        if (strncmp(name, names[i], length) == 0 && (name[length] == '.' || name[length] == '-') &&
            strlen(info->dlpi_name) < MOST_PATH) {
            strcpy(((struct library *)found)->path, info->dlpi_name);
            return 1;
        }
    }
    return 0;
}

static void look(void) {
    struct library library;
    /* Kept open, so that it stays. */
    void *handle =
        dl_iterate_phdr(is_a_runtime, &library) ? dlopen(library.path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (handle == NULL) {
        return;
    }
    *(void **)&runtime.parallel = dlsym(handle, "GOMP_parallel");
    *(void **)&runtime.rank = dlsym(handle, "omp_get_thread_num");
    *(void **)&runtime.size = dlsym(handle, "omp_get_num_threads");
    *(void **)&runtime.most = dlsym(handle, "omp_get_max_threads");
    *(void **)&runtime.is_parallel = dlsym(handle, "omp_in_parallel");
    is_found = runtime.parallel != NULL && runtime.rank != NULL && runtime.size != NULL &&
               runtime.most != NULL && runtime.is_parallel != NULL;
}

static int64_t tenths(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 10 + t.tv_nsec / 100000000;
}

const struct team_openmp *team_openmp(void) {
    if (!is_found && tenths() >= next_look && pthread_mutex_trylock(&lock) == 0) {
        if (!is_found) {
            look();
        }
        next_look = tenths() + 1;
        pthread_mutex_unlock(&lock);
    }
    return is_found ? &runtime : NULL;
}
#else
const struct team_openmp *team_openmp(void) {
    return NULL;
}
#endif
