/* Provocations that do what the kernel or a fault of ours may make of one, in the place of all others. */
#define _GNU_SOURCE /* environ */
#include "provoke/checks/checks.h"
#include "provoke/harness/see.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const char *text, size_t count) {
    if (write(STDOUT_FILENO, text, count) != (ssize_t)count)
        _exit(EXIT_BROKEN);
}

static void hang(const struct kernel *k) {
    (void)k;
    see_int("before", 1);
    for (;;)
        pause();
}

static void crash(const struct kernel *k) {
    (void)k;
    __asm__ volatile("ud2");
}

/* What is no object, what is one in other letters, the longest line, a line of two frames, and one without
 * end. */
static void babble(const struct kernel *k) {
    (void)k;
    static const char lines[] =
        "no object\n{\"a\": 1, \"b\": 2}\n{\"torn\": [1, \n{\"name\": \"\xc3\xa9\xf0\x9f\x98\x80\"}\n"
        "bad \xff\x80 \xed\xa0\x80\n\n";
    static char longest[9000];
    say(lines, sizeof lines - 1);
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\n';
    say(longest, sizeof longest);
    memset(longest, 0xc3, 4000);
    longest[3999] = '\n';
    say(longest, 4000);
    say("unfinished", 10);
    _exit(0);
}

static void complain(const struct kernel *k) {
    (void)k;
    for (int i = 0; i < 10000; i++)
        fputs("wrong ", stderr);
    see_int("written", 1);
}

static void flood(const struct kernel *k) {
    (void)k;
    for (;;)
        say("{\"x\": 1}\n", 9);
}

/* Leaves a file, a directory, and a process that holds the pipes. */
static void leave(const struct kernel *k) {
    (void)k;
    char place[4096];
    struct stat input, null;
    see_text("directory", getenv("AMX_PROVOKE_TMPDIR"));
    see_text("here", getcwd(place, sizeof place));
    see_int("session", getsid(0) == getpid());
    see_int("input", fstat(0, &input) == 0 && stat("/dev/null", &null) == 0 && input.st_rdev == null.st_rdev);
    if (mkdir("inside", 0700) != 0 || close(open("inside/file", O_CREAT | O_WRONLY, 0600)) != 0)
        _exit(EXIT_BROKEN);
    const pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    see_int("child", child);
}

static const struct provocation ours[] = {
    {"HANG-01", "never ends", hang, 0},
    {"CRASH-01", "dies", crash, 0},
    {"BABBLE-01", "says what is none", babble, 0},
    {"ERR-01", "complains", complain, 0},
    {"FLOOD-01", "never ends to speak", flood, 0},
    {"LEAVE-01", "leaves things behind", leave, 0},
    {0},
};
const struct provocation *const provoke_groups[] = {ours, NULL};

const struct provocation *provoke_find(const char *id) {
    for (const struct provocation *p = ours; p->id; p++)
        if (!strcmp(p->id, id))
            return p;
    return NULL;
}
