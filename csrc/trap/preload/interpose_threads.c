/* New threads begin with their creator's tile configuration, as the kernel has it (fpu_clone()), and with the
 * creator's beliefs about which signals are blocked. */
#define _GNU_SOURCE
#include "trap/cpu/emulated.h"
#include "trap/preload/interpose.h"
#include "trap/signals/signals.h"
#include "trap/thread/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

REAL(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
REAL(int, thrd_create, thrd_t *, thrd_start_t, void *);

struct beginning {
    uint8_t config[AMXEMU_CONFIG_BYTES];
    uint64_t blocked;
    void *(*pthread_routine)(void *);
    thrd_start_t thrd_routine;
    void *argument;
};

static struct beginning *new_beginning(void *argument) {
    struct beginning *const b = calloc(1, sizeof *b);
    if (b != NULL) {
        trap_config(b->config);
        b->blocked = *trap_believed_blocked();
        b->argument = argument;
    }
    return b;
}

static struct beginning enter(void *from_creator) {
    const struct beginning b = *(struct beginning *)from_creator;
    free(from_creator);
    *trap_believed_blocked() = b.blocked;
    trap_inherit_config(b.config);
    return b;
}

static void *begin_pthread(void *from_creator) {
    const struct beginning b = enter(from_creator);
    return b.pthread_routine(b.argument);
}

static int begin_thrd(void *from_creator) {
    const struct beginning b = enter(from_creator);
    return b.thrd_routine(b.argument);
}

INTERPOSED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *),
                              void *argument) {
    struct beginning *const b = trap_cpu() != NULL ? new_beginning(argument) : NULL;
    if (b == NULL)
        return trap_cpu() == NULL ? LIBCS(pthread_create)(thread, attributes, routine, argument) : EAGAIN;
    b->pthread_routine = routine;
    const int error = LIBCS(pthread_create)(thread, attributes, begin_pthread, b);
    if (error)
        free(b);
    return error;
}

INTERPOSED int thrd_create(thrd_t *thread, thrd_start_t routine, void *argument) {
    struct beginning *const b = trap_cpu() != NULL ? new_beginning(argument) : NULL;
    if (b == NULL)
        return trap_cpu() == NULL ? LIBCS(thrd_create)(thread, routine, argument) : thrd_nomem;
    b->thrd_routine = routine;
    const int error = LIBCS(thrd_create)(thread, begin_thrd, b);
    if (error != thrd_success)
        free(b);
    return error;
}
