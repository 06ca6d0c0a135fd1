/* What tracees report, in its order. What is taken from the kernel before its time is kept. */
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

struct tracer_event {
    struct tracer_event *next;
    pid_t tid;
    int status;
};

/* Who reports anything has left the system call it was in. */
static pid_t take(struct tracer *tracer, int *status) {
    pid_t tid;
    do
        tid = waitpid(-1, status, __WALL | __WNOTHREAD);
    while (tid < 0 && errno == EINTR);
    struct tracee *const tracee = tid > 0 ? tracer_find(tracer, tid) : NULL;
    if (tracee)
        tracee->maps = 0;
    return tid > 0 ? tid : 0;
}

pid_t tracer_next_event(struct tracer *tracer, int *status) {
    struct tracer_event *const event = tracer->events;
    if (!event)
        return take(tracer, status);
    const pid_t tid = event->tid;
    *status = event->status;
    tracer->events = event->next;
    free(event);
    return tid;
}

static int is_one_mapping(const struct tracer *tracer) {
    for (const struct tracee *tracee = tracer->tracees; tracee; tracee = tracee->next)
        if (tracee->maps)
            return 1;
    return 0;
}

/* All that comes is kept, not only what is waited for: the end of a first thread is reported only after the
 * ends of the others were. */
int tracer_settle(struct tracer *tracer) {
    struct tracer_event **last = &tracer->events;
    while (*last)
        last = &(*last)->next;
    while (is_one_mapping(tracer)) {
        struct tracer_event *const event = calloc(1, sizeof *event);
        if (!event || (event->tid = take(tracer, &event->status)) == 0) {
            free(event);
            return -ENOMEM;
        }
        *last = event;
        last = &event->next;
    }
    return 0;
}
