/* The same work on several threads at once: what a machine does with one core busy, and with all. */
#ifndef AMX_BENCH_TEAM_H
#define AMX_BENCH_TEAM_H

/* Rank `rank` of `size` threads; `work` is shared. */
typedef void bench_body(const void *work, int rank, int size);

/* Runs the body on at most `threads` threads and waits for all; returns how many they were, at least 1. */
int bench_on_team(int threads, bench_body *body, const void *work);

#endif
