/* Which provocations are made, in which order, and how long each may take. */
#ifndef AMX_PROVOKE_PLAN_H
#define AMX_PROVOKE_PLAN_H

#include <stddef.h>

enum { GUEST_WHY = 512, GUEST_MOST = 256 };

struct guest_run {
    const char *plan, *fault; /* NULL: none */
    int on_model;
    int is_alone; /* as in supervise.h */
};

struct guest_plan {
    size_t count;
    struct {
        const char *id;
        double seconds;
    } steps[GUEST_MOST];
};

/* Of the file's lines, `ID SECONDS`; without a file of all provocations that change nothing outside their own
 * processes. 0, or -1 with the reason, also where there is no such fault. */
int guest_plan(struct guest_plan *plan, const struct guest_run *run, char why[GUEST_WHY]);

#endif
