/* What the hostile traced programs of tests/emulate/test_hostile_tracees.py do: `hostile_tracee CASE
 * [FILE...]`. Each ends with status 7 if it comes to its end. */
#define _GNU_SOURCE
#include "insn.h"

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 7, IMPOSSIBLE = 77, PAGE = 4096, ATTEMPTS = 20 };

static void *map_code(const char *path, void *where, int shared) {
    struct stat about;
    const int file = open(path, shared ? O_RDWR : O_RDONLY);
    if (file < 0 || fstat(file, &about) != 0)
        exit(1);
    void *const at = mmap(where, (size_t)about.st_size, PROT_READ | PROT_EXEC,
                          (shared ? MAP_SHARED : MAP_PRIVATE) | (where ? MAP_FIXED : 0), file, 0);
    if (at == MAP_FAILED)
        exit(2);
    close(file);
    return at;
}

/* ---- code that is mapped shared, and made writable by another thread before the tracer has looked at it
 * ---- */

static uint8_t *_Atomic place;
static size_t place_size;

static void *make_writable(void *unused) {
    while (place == NULL || mprotect(place, place_size, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        ;
    return unused;
}

/* There is nothing to be made writable until the call has mapped it, which the tracer stops at its end. */
static void map_shared(const char *path, unsigned mode) {
    struct stat about;
    pthread_t thread;
    chmod(path, mode); /* so it is another file than the last time */
    stat(path, &about);
    place_size = ((size_t)about.st_size + PAGE - 1) & -(size_t)PAGE;
    place = NULL;
    pthread_create(&thread, NULL, make_writable, NULL);
    uint8_t *const free_place = mmap(NULL, place_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(free_place, place_size);
    place = free_place;
    map_code(path, free_place, 1);
    pthread_join(thread, NULL);
    munmap(free_place, place_size);
}

/* ---- a vDSO that is none: what the tracer takes for a system call there cannot be executed ---- */

static void on_sigill(int number) {
    (void)number;
}

static uint64_t field_of_stat(int number) {
    static char text[1024];
    const int file = open("/proc/self/stat", O_RDONLY);
    const ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    char *at = strrchr(text, ')') + 1;
    for (int i = 2; i < number - 1; i++)
        at = strchr(at + 1, ' ');
    return strtoull(at, NULL, 10);
}

static int replace_vdso(void *with) {
    static __u64 vector[4];
    struct prctl_mm_map map = {
        .start_code = field_of_stat(26),
        .end_code = field_of_stat(27),
        .start_stack = field_of_stat(28),
        .start_data = field_of_stat(45),
        .end_data = field_of_stat(46),
        .start_brk = field_of_stat(47),
        .brk = (uintptr_t)sbrk(0),
        .arg_start = field_of_stat(48),
        .arg_end = field_of_stat(49),
        .env_start = field_of_stat(50),
        .env_end = field_of_stat(51),
        .auxv = vector,
        .auxv_size = sizeof vector,
        .exe_fd = UINT32_MAX,
    };
    vector[0] = AT_SYSINFO_EHDR, vector[1] = (uintptr_t)with;
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

static int false_vdso(void) {
    static const uint8_t config[64] = {1, [16] = 64, [48] = 16};
    uint8_t *const page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = on_sigill};
    sigset_t all;
    page[0] = 0x0f, page[1] = 0x05;
    if (replace_vdso(page) != 0)
        return IMPOSSIBLE;
    sigaction(SIGILL, &action, NULL);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    AMX_LDTILECFG(config); /* the handler is put back by a system call that is injected */
    return DONE;
}

/* ---- its own file becomes a FIFO ---- */

static int become_fifo(char *self) {
    if (unlink(self) != 0 || mkfifo(self, 0600) != 0)
        return 3;
    const pid_t pid = fork();
    if (pid == 0)
        execl("/proc/self/exe", self, "end", (char *)NULL);
    int status;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

int main(int argc, char *argv[]) {
    const char *const what = argv[1];
    if (strcmp(what, "map") == 0)
        for (int i = 2; i < argc; i++)
            map_code(argv[i], NULL, 0);
    else if (strcmp(what, "map often") == 0)
        for (int i = 0; i < 64; i++)
            map_code(argv[2], NULL, 0);
    else if (strcmp(what, "map shared") == 0)
        for (unsigned i = 0; i < ATTEMPTS; i++)
            map_shared(argv[2], 0600 | (i & 1));
    else if (strcmp(what, "false vDSO") == 0)
        return false_vdso();
    else if (strcmp(what, "become a FIFO") == 0)
        return become_fifo(argv[0]);
    return DONE;
}
