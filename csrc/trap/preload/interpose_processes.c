/* Children are emulated too, whatever the program does to their environments; and what was counted is said
 * before the process ends without running destructors.
 *
 * The filter on arch_prctl survives exec: a child without this library, a static one, dies of SIGSYS when it
 * asks for AMX.
 */
#define _GNU_SOURCE
#include "trap/preload/interpose.h"
#include "trap/preload/report.h"

#include <alloca.h>
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef const posix_spawn_file_actions_t *spawn_actions;
typedef const posix_spawnattr_t *spawn_attributes;

REAL(int, execve, const char *, char *const[], char *const[]);
REAL(int, execvpe, const char *, char *const[], char *const[]);
REAL(int, fexecve, int, char *const[], char *const[]);
REAL(int, posix_spawn, pid_t *, const char *, spawn_actions, spawn_attributes, char *const[], char *const[]);
REAL(int, posix_spawnp, pid_t *, const char *, spawn_actions, spawn_attributes, char *const[], char *const[]);
REAL(void, _exit, int);
REAL(void, abort, void);

/* On the stack: a child of vfork() shares the heap with its parent. */
#define COMPLETE(environment)                                                                                \
    interpose_complete(environment, alloca(interpose_room(environment).pointers * sizeof(char *)),           \
                       alloca(interpose_room(environment).bytes))

static int before_exec(void) {
    const int saved = errno, is_lost = report_before_exec();
    errno = saved;
    interpose_block_for_exec(1);
    return is_lost;
}

static int exec_failed(int is_lost, int result) {
    interpose_block_for_exec(0);
    if (is_lost)
        report_exec_failed();
    return result;
}

INTERPOSED int execve(const char *path, char *const argv[], char *const environment[]) {
    char **const complete = COMPLETE(environment);
    const int is_lost = before_exec();
    return exec_failed(is_lost, LIBCS(execve)(path, argv, complete));
}

INTERPOSED int execv(const char *path, char *const argv[]) {
    return execve(path, argv, environ);
}

INTERPOSED int execvpe(const char *file, char *const argv[], char *const environment[]) {
    char **const complete = COMPLETE(environment);
    const int is_lost = before_exec();
    return exec_failed(is_lost, LIBCS(execvpe)(file, argv, complete));
}

INTERPOSED int execvp(const char *file, char *const argv[]) {
    return execvpe(file, argv, environ);
}

INTERPOSED int fexecve(int file, char *const argv[], char *const environment[]) {
    char **const complete = COMPLETE(environment);
    const int is_lost = before_exec();
    return exec_failed(is_lost, LIBCS(fexecve)(file, argv, complete));
}

INTERPOSED int execveat(int directory, const char *path, char *const argv[], char *const environment[],
                        int flags); /* not in older headers */
int execveat(int directory, const char *path, char *const argv[], char *const environment[], int flags) {
    char **const complete = COMPLETE(environment);
    const int is_lost = before_exec();
    return exec_failed(is_lost, (int)syscall(SYS_execveat, directory, path, argv, complete, flags));
}

/* argv from a list of arguments that ends with NULL; `list` is left behind the end. */
#define COLLECT(argv, first, list)                                                                           \
    do {                                                                                                     \
        va_list again;                                                                                       \
        size_t count = 1;                                                                                    \
        va_start(list, first);                                                                               \
        va_copy(again, list);                                                                                \
        while (va_arg(again, char *) != NULL)                                                                \
            count++;                                                                                         \
        va_end(again);                                                                                       \
        argv = alloca((count + 1) * sizeof(char *));                                                         \
        argv[0] = (char *)first;                                                                             \
        for (size_t i = 1; i <= count; i++)                                                                  \
            argv[i] = va_arg(list, char *);                                                                  \
    } while (0)

INTERPOSED int execl(const char *path, const char *first, ...) {
    va_list list;
    char **argv;
    COLLECT(argv, first, list);
    va_end(list);
    return execve(path, argv, environ);
}

INTERPOSED int execlp(const char *file, const char *first, ...) {
    va_list list;
    char **argv;
    COLLECT(argv, first, list);
    va_end(list);
    return execvpe(file, argv, environ);
}

INTERPOSED int execle(const char *path, const char *first, ...) {
    va_list list;
    char **argv;
    COLLECT(argv, first, list);
    char *const *const environment = va_arg(list, char *const *);
    va_end(list);
    return execve(path, argv, environment);
}

INTERPOSED int posix_spawn(pid_t *pid, const char *path, spawn_actions actions, spawn_attributes attributes,
                           char *const argv[], char *const environment[]) {
    return LIBCS(posix_spawn)(pid, path, actions, attributes, argv, COMPLETE(environment));
}

INTERPOSED int posix_spawnp(pid_t *pid, const char *file, spawn_actions actions, spawn_attributes attributes,
                            char *const argv[], char *const environment[]) {
    return LIBCS(posix_spawnp)(pid, file, actions, attributes, argv, COMPLETE(environment));
}

INTERPOSED void _exit(int status) {
    report_update();
    LIBCS(_exit)(status);
    __builtin_unreachable();
}

INTERPOSED void _Exit(int status) {
    _exit(status);
}

INTERPOSED void abort(void) {
    report_update();
    LIBCS(abort)();
    __builtin_unreachable();
}
