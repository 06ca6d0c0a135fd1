/* Teams of csrc/team: argv[1] says what they do. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "team/openmp.h"
#include "team/team.h"
#if defined(_OPENMP)
#include <omp.h>
#endif

enum { MOST = 64, MEETINGS = 60 };

static void expect(int right, const char *what) {
    if (!right) {
        fprintf(stderr, "not so: %s\n", what);
        _exit(1);
    }
}

/* Every member counts at each meeting; between two meetings all see the same count. */
struct counting {
    int count;               /* of the one who writes at this meeting */
    _Atomic int came, wrong; /* by rank: each bit once */
    int size;
    _Atomic uint64_t ranks;
};
static void count_meetings(struct team team, void *work) {
    struct counting *all = work;
    all->came++;
    all->ranks |= (uint64_t)1 << team.rank;
    if (team.rank == 0) {
        all->size = team.size;
    }
    for (int i = 0; i < MEETINGS; i++) {
        if (i % team.size == team.rank) {
            all->count++; /* no atomic: nobody else writes or reads between these meetings */
        }
        team_meet(team);
        all->wrong += all->count != i + 1;
        team_meet(team);
    }
}
static void run(int threads) {
    struct counting all = {0};
    const int size = team_run(threads, count_meetings, &all);
    expect(size == (threads < 1 ? 1 : threads), "as many as were called");
    expect(all.came == size && all.size == size, "each comes once, and knows how many they are");
    expect(all.ranks == (size == MOST ? ~(uint64_t)0 : ((uint64_t)1 << size) - 1), "each rank once");
    expect(all.wrong == 0 && all.count == MEETINGS, "nobody passes a meeting before all have come");
}

static void *many_runs(void *unused) {
    (void)unused;
    for (int i = 0; i < 12; i++) {
        run(1 + i % 5);
    }
    return NULL;
}
static void at_once(void) {
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        expect(pthread_create(&threads[i], NULL, many_runs, NULL) == 0, "a thread");
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* Rank 0 may run a team of its own, as Python's signal handlers do within a product. */
static void nest(struct team team, void *work) {
    (void)work;
    if (team.rank == 0) {
        run(3);
    }
    team_meet(team);
}

/* A child begins with no threads, also one forked amid a team, which never meets that team again. */
static void child_runs(void) {
    const pid_t child = fork();
    if (child == 0) {
        expect(team_forks() == 1, "a child counts its fork");
        run(4);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child has teams");
}
static void fork_amid(struct team team, void *work) {
    (void)work;
    if (team.rank == 0) {
        child_runs();
    }
    team_meet(team);
}

/* One that is blocked in every thread of the program is for who waits for it. */
static void wait_for_signal(void) {
    sigset_t one;
    int got = 0;
    run(3);
    sigemptyset(&one);
    sigaddset(&one, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    kill(getpid(), SIGTERM);
    expect(sigwait(&one, &got) == 0 && got == SIGTERM, "the signal is not for the pool's threads");
}

#if defined(_OPENMP)
/* The runtime has threads when this process forks; `library`, csrc/team again, is loaded in the child. */
static void load_in_child(const char *library) {
    _Atomic int came = 0;
#pragma omp parallel num_threads(3)
    came++;
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        int (*theirs)(int, team_body *, void *) = NULL;
        expect(handle != NULL, "the library is loaded");
        *(void **)&theirs = dlsym(handle, "team_run");
        struct counting all = {0};
        expect(theirs != NULL && theirs(3, count_meetings, &all) == 3, "a team of three");
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child does not wait for its parent's threads");
}

static void limit_in_child(void) {
    const pid_t child = fork();
    if (child == 0) {
        omp_set_num_threads(1);
        _exit(team_available());
    }
    int status;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "a limit of the runtime counts in a child");
}

static void count_alone(struct team team, void *work) {
    (void)work;
    expect(team.rank == 0 && team.size == 1, "alone");
    team_meet(team);
}
#endif

int main(int count, char **argument) {
    const char *what = count > 1 ? argument[1] : "";
    if (strcmp(what, "available") == 0) {
        printf("%d\n", team_available());
    } else if (strcmp(what, "runtime") == 0) { /* of others, which are asked, and whose threads are used */
        printf("%s\n", team_openmp() != NULL ? "OpenMP" : "none");
#if defined(_OPENMP)
        omp_set_num_threads(1);
        expect(team_available() == 1, "a limit of the runtime counts");
        omp_set_num_threads(3);
#pragma omp parallel num_threads(2)
        expect(team_available() == 1 && team_run(3, count_alone, NULL) == 1, "one within a parallel region");
        omp_set_num_threads(1 << 20);
        const int most = team_available();
        expect(most > 0 && most < 1 << 20, "the settings count, too");
        limit_in_child();
    } else if (strcmp(what, "loaded in a child") == 0) {
        load_in_child(argument[2]);
#endif
    } else if (strcmp(what, "sizes") == 0) {
        for (int i = 0; i < 3; i++) {
            run(0), run(1), run(2), run(7), run(MOST), run(3);
        }
    } else if (strcmp(what, "at once") == 0) {
        at_once();
    } else if (strcmp(what, "nested") == 0) {
        for (int i = 0; i < 20; i++) {
            team_run(3, nest, NULL);
        }
    } else if (strcmp(what, "forks") == 0) {
        run(4);
        child_runs();
        team_run(4, fork_amid, NULL);
        run(4);
    } else if (strcmp(what, "signals") == 0) {
        wait_for_signal();
    } else if (strcmp(what, "sleeps") == 0) {
        for (int i = 0; i < 20; i++) { /* longer than anybody looks */
            run(3);
            usleep(3000);
        }
    } else {
        return 2;
    }
    puts("right");
    return 0;
}
