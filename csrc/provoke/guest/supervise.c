/* See supervise.h. */
#define _GNU_SOURCE /* pipe2 */
#include "provoke/guest/supervise.h"
#include "provoke/guest/frames.h"
#include "provoke/guest/heard.h"
#include "provoke/guest/kmsg.h"
#include "provoke/guest/scratch.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const double FIRST_PAUSE = 0.0005, LONGEST_PAUSE = 0.01; /* seconds */
static const double UNKILLABLE = 10; /* seconds that a killed process may take to end */

static volatile sig_atomic_t told_to_end;

static void on_told(int signo) {
    told_to_end = signo;
}

void supervise_prepare(void) {
    static const int ending[] = {SIGHUP, SIGINT, SIGTERM};
    sigset_t none;
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        struct sigaction action;
        if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
            action.sa_handler = on_told;
            sigaction(ending[i], &action, NULL);
        }
    }
    signal(SIGCHLD, SIG_DFL); /* ignored, children leave nothing to wait for */
    signal(SIGPIPE, SIG_IGN); /* what cannot be written is noticed */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pause_for(double seconds) {
    nanosleep(&(struct timespec){.tv_nsec = (long)(seconds * 1e9)}, NULL);
}

static _Noreturn void become(const struct order *order, const char *directory, int output, int errors) {
    char *arguments[7] = {"amx-provoke", "run", (char *)order->id};
    size_t count = 3;
    if (order->on_model)
        arguments[count++] = "--model";
    if (order->fault) {
        arguments[count++] = "--fault";
        arguments[count++] = (char *)order->fault;
    }
    const int input = open("/dev/null", O_RDONLY);
    setsid();
    if (input < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(errors, STDERR_FILENO) < 0 || chdir(*directory ? directory : "/") != 0 ||
        setenv("AMX_PROVOKE_TMPDIR", directory, 1) != 0)
        _exit(EXIT_BROKEN);
    if (input > STDERR_FILENO)
        close(input);
    signal(SIGPIPE, SIG_DFL);
    execv("/proc/self/exe", arguments);
    execv((const char *)getauxval(AT_EXECFN), arguments); /* no /proc is mounted */
    dprintf(STDERR_FILENO, "amx-provoke cannot be executed again: %s\n", strerror(errno));
    _exit(EXIT_BROKEN);
}

/* Until the child has ended, which is not reaped. What is slept counts, and not what the clock says: on a
 * busy machine this process too runs late. */
static int wait_for(pid_t child, double limit, struct heard *heard, unsigned *messages) {
    double pause = FIRST_PAUSE, slept = 0;
    for (;;) {
        siginfo_t ended = {0};
        if (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT | WNOHANG) == 0 && ended.si_pid == child)
            return 1;
        if (slept > limit || (heard && (told_to_end || frames_failed())))
            return 0;
        if (heard) {
            heard_take(heard);
            kmsg_say(messages);
        }
        pause_for(pause);
        slept += pause;
        pause = 2 * pause < LONGEST_PAUSE ? 2 * pause : LONGEST_PAUSE;
    }
}

/* All that came of it, also what has left its group, and all that was handed to the first process. */
static void clear_away(void) {
    kill(-1, SIGKILL);
    for (double slept = 0; slept < UNKILLABLE; slept += FIRST_PAUSE) {
        pid_t ended;
        while ((ended = waitpid(-1, NULL, WNOHANG | __WALL)) > 0) {
        }
        if (ended < 0 && errno != EINTR)
            return;
        pause_for(FIRST_PAUSE);
    }
}

static const char *name_of(int signo, char *room, size_t size) {
    static const char *const names[] = {
        [SIGHUP] = "HUP",       [SIGINT] = "INT",   [SIGQUIT] = "QUIT", [SIGILL] = "ILL",
        [SIGTRAP] = "TRAP",     [SIGABRT] = "ABRT", [SIGBUS] = "BUS",   [SIGFPE] = "FPE",
        [SIGKILL] = "KILL",     [SIGUSR1] = "USR1", [SIGSEGV] = "SEGV", [SIGUSR2] = "USR2",
        [SIGPIPE] = "PIPE",     [SIGALRM] = "ALRM", [SIGTERM] = "TERM", [SIGCHLD] = "CHLD",
        [SIGSTKFLT] = "STKFLT", [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ", [SIGVTALRM] = "VTALRM",
        [SIGPROF] = "PROF",     [SIGIO] = "IO",     [SIGPWR] = "PWR",   [SIGSYS] = "SYS",
    };
    const size_t known = sizeof names / sizeof *names;
    const char *const name = signo > 0 && (size_t)signo < known ? names[signo] : NULL;
    if (name)
        snprintf(room, size, "SIG%s", name);
    else
        snprintf(room, size, "signal %d", signo);
    return room;
}

static void say_start(const char *id) {
    struct line line = frame_begin("start");
    line_string(&line, id);
    frame_landmark(&line);
}

static void say_ended(const char *id, const char *how, double seconds, unsigned long first) {
    char number[32];
    struct line line = frame_begin("ended");
    snprintf(number, sizeof number, "%.3f", seconds);
    frame_member(&line, "{", "id");
    line_string(&line, id);
    frame_member(&line, ", ", "how");
    line_string(&line, how);
    frame_member(&line, ", ", "seconds");
    line_raw(&line, number);
    frame_member(&line, ", ", "frames");
    line_unsigned(&line, frames_sent() - first + 1);
    line_put(&line, '}');
    frame_landmark(&line);
}

static int broken(const char *id, const char *what, unsigned long first) {
    frame_broken("%s: %s: %s", id, what, strerror(errno));
    say_ended(id, "exit 70", 0, first);
    return told_to_end;
}

int supervise(const struct order *order) {
    static struct heard heard;
    char directory[SCRATCH_PATH], start[64], room[32];
    const unsigned long first = frames_sent();
    const double begun = now();
    int output[2], errors[2], status = 0;
    unsigned messages = KMSG_MOST;
    snprintf(start, sizeof start, "{\"start\": \"%s\"}", order->id);
    say_start(order->id);
    if (pipe2(output, O_CLOEXEC) != 0)
        return broken(order->id, "pipe2", first);
    if (pipe2(errors, O_CLOEXEC) != 0)
        return broken(order->id, "pipe2", first);
    scratch_make(directory);
    const pid_t self = getpid(), child = fork();
    if (child == 0) {
        system_die_with(self);
        become(order, directory, output[1], errors[1]);
    }
    close(output[1]);
    close(errors[1]);
    if (child < 0) {
        close(output[0]);
        close(errors[0]);
        scratch_remove(directory);
        return broken(order->id, "fork", first);
    }
    heard_begin(&heard, start, output[0], errors[0]);
    const int in_time = wait_for(child, order->seconds, &heard, &messages);
    /* Before the leader is reaped, so that the group's number cannot belong to another one yet. */
    kill(-child, SIGKILL);
    kill(child, SIGKILL);
    const int has_ended = in_time || wait_for(child, UNKILLABLE, NULL, NULL);
    waitpid(child, &status, has_ended ? 0 : WNOHANG);
    if (order->is_alone)
        clear_away();
    const double seconds = now() - begun;
    heard_end(&heard);
    kmsg_say(&messages);
    scratch_remove(directory);
    const char *how = "hung";
    if (in_time && WIFSIGNALED(status)) {
        how = name_of(WTERMSIG(status), room, sizeof room);
    } else if (in_time) {
        snprintf(room, sizeof room, "exit %d", WEXITSTATUS(status));
        how = room;
    }
    say_ended(order->id, how, seconds, first);
    return told_to_end;
}
