/* Threads that work on one thing together: the caller and some that are kept for it from call to call.
 *
 * They are the threads of the OpenMP runtime that somebody has brought into the process, else of a pool of
 * our own, which needs no library, survives fork, and goes on with fewer threads where no more can be made.
 */
#ifndef AMX_TEAM_H
#define AMX_TEAM_H

struct team_place; /* where they meet */

/* One of them. The caller has rank 0. */
struct team {
    int rank, size;
    struct team_place *place; /* NULL: there are no others */
};
static inline struct team team_of_one(void) {
    return (struct team){0, 1, (struct team_place *)0};
}

/* How many threads may work on something large, the caller included. From OpenMP's settings as they were when
 * the library was loaded: the first number of OMP_NUM_THREADS, else the CPUs that the process may run on; no
 * more than OMP_THREAD_LIMIT, nor than an OpenMP runtime in this process would use now in this thread. */
int team_available(void);
/* Between the first process and this one. A child has threads of its own; those that its parent waits for in
 * a team it has not, and must not meet. */
int team_forks(void);

typedef void team_body(struct team team, void *work);
/* Calls body(team, work) in `threads` threads, fewer where no more can be made, and returns when all have
 * returned: how many they were. Any number of threads may call this at once, and `body` itself where it has
 * rank 0. */
int team_run(int threads, team_body *body, void *work);
/* Returns when all of the team have called it. */
void team_meet(struct team team);

#endif
