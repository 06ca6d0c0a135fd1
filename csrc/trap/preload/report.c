#define _GNU_SOURCE
#include "trap/preload/report.h"

#include "trap/answers/answers.h"
#include "trap/answers/cpuid.h"
#include "trap/answers/objects.h"
#include "trap/files/own_directory.h"
#include "trap/files/own_file.h"
#include "trap/files/unrecorded.h"
#include "trap/thread/run.h"
#include "trap/trace/trace.h"
#include "trap/trap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 1024, PAGE = 4096 };

static char place[PATH_MAX]; /* the directory; empty: no report */
static const char *file_name;
static char program[LINE / 2];
static char *line;  /* in the file; NULL: none */
static pid_t owner; /* whose it is: children of vfork() and of clone() have the same memory or a copy */
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* Of the executable, fit for JSON, its end if it is too long. */
static void find_program(void) {
    char path[PATH_MAX];
    const ssize_t length = readlink("/proc/thread-self/exe", path, sizeof path - 1);
    const size_t size = length > 0 ? (size_t)length : 0, room = sizeof program - 1;
    const size_t from = size > room ? size - room : 0;
    for (size_t i = from; i < size; i++) {
        const char c = path[i];
        program[i - from] = (unsigned char)c < ' ' || c == '"' || c == '\\' ? '?' : c;
    }
    program[size - from] = 0;
}

/* Numbers have their greatest width, so that all lines of a process are as long. */
static void compose(char text[LINE]) {
    struct amx_trap_counts c;
    const struct cpuid_missed missed = cpuid_missed();
    trap_count(&c);
    memset(text, ' ', LINE);
    const int length =
        snprintf(text, LINE,
                 "{\"pid\": %10d, \"program\": \"%s\", \"instructions\": %20" PRIu64 ", \"traps\": %20" PRIu64
                 ", \"sites\": %10" PRIu64 ", \"patched\": %10" PRIu64 ", \"unpatchable\": %10" PRIu64
                 ", \"faults\": %20" PRIu64 ", \"cpuid\": %20" PRIu64 ", \"xgetbv\": %20" PRIu64
                 ", \"arch_prctl\": %20" PRIu64 ", \"unplaced\": %10" PRIu64 ", \"unscanned\": %10u}",
                 getpid(), program, c.instructions, c.traps, c.sites, c.patched, c.unpatchable, c.faults,
                 c.cpuid, c.xgetbv, c.arch_prctl, missed.unknown + missed.refused, objects_missed());
    text[length] = ' ';
    text[LINE - 1] = '\n';
}

static int append(int file) {
    enum { AT_A_TIME = 256 }; /* processes that do the same meanwhile */
    struct stat found;
    char text[LINE];
    if (fstat(file, &found) != 0)
        return -errno;
    if (!own_file_allows((uint64_t)found.st_size + AT_A_TIME * LINE))
        return -EFBIG;
    compose(text);
    const ssize_t written = write(file, text, LINE);
    if (written < 0)
        return -errno;
    return written == LINE ? 0 : -ENOSPC;
}

static int map_last_line(int file) {
    const off_t end = lseek(file, 0, SEEK_CUR), at = end - LINE, page = at / PAGE * PAGE;
    char *const mapped = mmap(NULL, (size_t)(end - page), PROT_READ | PROT_WRITE, MAP_SHARED, file, page);
    if (mapped == MAP_FAILED)
        return -errno;
    own_mapping_guard(OWN_REPORT, mapped, (size_t)(end - page));
    line = mapped + (at - page);
    return 0;
}

static int open_file(void) {
    const int directory = own_directory_open(place);
    if (directory < 0)
        return directory;
    const int file = own_directory_file(directory, file_name, O_RDWR | O_APPEND | O_CREAT);
    close(directory);
    return file;
}

static int begin_line(void) {
    line = NULL;
    owner = getpid();
    const int file = open_file();
    int error = file < 0 ? file : append(file);
    if (error == 0)
        error = map_last_line(file);
    if (file >= 0)
        close(file);
    if (error != 0)
        unrecorded_add(OWN_REPORT, error);
    return error;
}

static void in_child(void) {
    const int saved = errno;
    atomic_flag_clear(&busy);
    trap_answers.cpuid = trap_answers.xgetbv = trap_answers.arch_prctl = 0;
    begin_line();
    errno = saved;
}

void report_update(void) {
    char text[LINE];
    if (line == NULL || getpid() != owner || atomic_flag_test_and_set(&busy))
        return;
    compose(text);
    memcpy(line, text, LINE);
    atomic_flag_clear(&busy);
}

int report_before_exec(void) {
    report_update();
    const int error = *place ? own_directory_check(place) : 0;
    if (error == 0)
        return 0;
    unrecorded_add(OWN_REPORT, error);
    if (atomic_load(&trap_trace_is_on))
        unrecorded_add(OWN_TRACE, error);
    return 1;
}

void report_exec_failed(void) {
    unrecorded_take_back(OWN_REPORT);
    if (atomic_load(&trap_trace_is_on))
        unrecorded_take_back(OWN_TRACE);
}

int report_start(const char *path) {
    if (path == NULL || strlen(path) >= sizeof place)
        return path == NULL ? 0 : -ENAMETOOLONG;
    char *const slash = strrchr(strcpy(place, path), '/');
    if (slash == NULL)
        return -EINVAL;
    *slash = '\0';
    file_name = slash + 1;
    unrecorded_open(place);
    find_program();
    const int error = begin_line();
    if (error)
        return error;
    trap_progress = report_update;
    return -pthread_atfork(NULL, NULL, in_child);
}

__attribute__((destructor)) static void at_exit(void) {
    report_update();
}
