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
#include <stdio.h>
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
    int before; /* to pass over */
    char path[MOST_PATH];
};
/* The next one; 1 ends the walk. */
static int is_a_runtime(struct dl_phdr_info *info, size_t size, void *given) {
    static const char *const names[] = {"libgomp", "libomp", "libiomp5"};
    struct library *found = given;
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t length = strlen(names[i]);
        if (strncmp(name, names[i], length) == 0 && (name[length] == '.' || name[length] == '-') &&
            strlen(info->dlpi_name) < MOST_PATH && found->before-- == 0) {
            strcpy(found->path, info->dlpi_name);
            return 1;
        }
    }
    return 0;
}

static int has_all(void *library) {
    *(void **)&runtime.parallel = dlsym(library, "GOMP_parallel");
    *(void **)&runtime.rank = dlsym(library, "omp_get_thread_num");
    *(void **)&runtime.size = dlsym(library, "omp_get_num_threads");
    *(void **)&runtime.most = dlsym(library, "omp_get_max_threads");
    *(void **)&runtime.is_parallel = dlsym(library, "omp_in_parallel");
    return runtime.parallel != NULL && runtime.rank != NULL && runtime.size != NULL && runtime.most != NULL &&
           runtime.is_parallel != NULL;
}

/* The first that has what is needed is kept open, so that it stays. None is opened within the walk, which
 * holds a lock of the loader's that dlopen() takes after another. */
static void look(void) {
    struct library library;
    for (int nth = 0; !is_found; nth++) {
        library.before = nth;
        if (!dl_iterate_phdr(is_a_runtime, &library)) {
            return;
        }
        void *handle = dlopen(library.path, RTLD_LAZY | RTLD_NOLOAD);
        if (handle != NULL && has_all(handle)) {
            is_found = 1;
        } else if (handle != NULL) {
            dlclose(handle);
        }
    }
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
    return team_openmp_found();
}

const struct team_openmp *team_openmp_found(void) {
    return is_found ? &runtime : NULL;
}

/* PF_FORKNOEXEC of the kernel's include/linux/sched.h; the name in front may have any character. */
int team_openmp_is_of_parent(void) {
    enum { FORKED_WITHOUT_EXEC = 0x40 };
    char text[512];
    unsigned flags = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) {
        return 0;
    }
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && sscanf(name_end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
           (flags & FORKED_WITHOUT_EXEC) != 0 && team_openmp() != NULL;
}
#else
const struct team_openmp *team_openmp(void) {
    return NULL;
}
const struct team_openmp *team_openmp_found(void) {
    return NULL;
}
int team_openmp_is_of_parent(void) {
    return 0;
}
#endif
