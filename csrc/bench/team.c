/* See team.h. */
#include "bench/team.h"

#include "team/team.h"

struct together {
    bench_body *body;
    const void *work;
};

static void work_together(struct team team, void *work) {
    const struct together *all = work;
    all->body(all->work, team.rank, team.size);
}

int bench_on_team(int threads, bench_body *body, const void *work) {
    struct together all = {body, work};
    const int available = team_available();
    return team_run(threads > available ? available : threads, work_together, &all);
}
