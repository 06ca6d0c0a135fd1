/* CORE: the saved state in core files. */
#define _GNU_SOURCE
#include "provoke/checks/checks.h"
#include "provoke/harness/area.h"
#include "provoke/harness/see.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"
#include "provoke/harness/tools.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
#define NOTE_X86_XSAVE_LAYOUT 0x205 /* uapi/linux/elf.h since 6.12 */

enum { FILE_MAX = 2 * 1024 * 1024, MAIN_SEED = 7, THREAD_SEED = 5 };

static struct tiles of_main, of_thread;
static const struct kernel *kernel; /* for the threads */
static atomic_int ready;

/* ---- the process that dumps --------------------------------------------------------------------------- */

static void stay(void) {
    const struct timespec long_enough = {10, 0};
    atomic_fetch_add(&ready, 1);
    system_call(SYS_nanosleep, (long)&long_enough, 0, 0, 0, 0, 0);
}

static void *live(void *unused) {
    (void)unused;
    tiles_load(kernel, &of_thread);
    stay();
    return NULL;
}

static void *released(void *unused) {
    (void)unused;
    tiles_load(kernel, &of_thread);
    kernel->tilerelease();
    stay();
    return NULL;
}

static void *untouched(void *unused) {
    (void)unused;
    stay();
    return NULL;
}

static void dump(const struct kernel *k, const char *directory, int with_tiles) {
    void *(*const threads[])(void *) = {live, released, untouched};
    const struct timespec pause = {0, 1000 * 1000};
    struct rlimit limit;
    if (chdir(directory) != 0)
        provoke_cannot("chdir to %s: errno %d", directory, errno);
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    kernel = k;
    for (int i = 0; with_tiles && i < 3; i++)
        tool_thread(k, threads[i], NULL);
    for (int tries = 0; with_tiles && atomic_load(&ready) < 3 && tries < 1000; tries++)
        nanosleep(&pause, NULL);
    if (with_tiles)
        tiles_load(k, &of_main);
    signal(SIGABRT, SIG_DFL);
    tool_raise(SIGABRT);
    _exit(1);
}

/* ---- its core file ------------------------------------------------------------------------------------ */

/* A core must land in the directory of the crash, and nowhere else. */
static void need_file_pattern(void) {
    char pattern[256] = "";
    struct rlimit limit;
    FILE *const file = fopen("/proc/sys/kernel/core_pattern", "re");
    if (!file)
        provoke_cannot("/proc/sys/kernel/core_pattern cannot be read: errno %d", errno);
    if (!fgets(pattern, sizeof pattern, file))
        pattern[0] = '\0';
    fclose(file);
    pattern[strcspn(pattern, "\n")] = '\0';
    if (!pattern[0] || pattern[0] == '|' || pattern[0] == '@' || strchr(pattern, '/'))
        provoke_cannot("core_pattern is \"%s\", not a file name in the directory of the crash", pattern);
    getrlimit(RLIMIT_CORE, &limit);
    if (limit.rlim_max < FILE_MAX)
        provoke_cannot("the hard limit RLIMIT_CORE is %llu bytes, which cuts a core file short",
                       (unsigned long long)limit.rlim_max);
    getrlimit(RLIMIT_FSIZE, &limit);
    if (limit.rlim_cur < FILE_MAX)
        provoke_cannot("the limit RLIMIT_FSIZE is %llu bytes, which cuts a core file short",
                       (unsigned long long)limit.rlim_cur);
}

static void need_room(const char *directory) {
    struct statvfs room;
    if (statvfs(directory, &room) == 0 && room.f_blocks &&
        (uint64_t)room.f_bavail * room.f_frsize < FILE_MAX) {
        rmdir(directory);
        provoke_cannot("%s has no room for a core file", directory);
    }
}

static int find_core(const char *directory, char *path, size_t size) {
    DIR *const opened = opendir(directory);
    int found = 0;
    if (!opened)
        return 0;
    for (const struct dirent *entry; !found && (entry = readdir(opened));)
        if (entry->d_name[0] != '.') {
            snprintf(path, size, "%s/%s", directory, entry->d_name);
            found = 1;
        }
    closedir(opened);
    return found;
}

/* The first bytes of a core of `dump`; the file and its directory are gone when this returns. */
static size_t make_core(const struct kernel *k, int with_tiles, uint8_t *bytes) {
    const char *const parent = getenv("AMX_PROVOKE_TMPDIR");
    char directory[PATH_MAX], path[PATH_MAX + 300];
    need_file_pattern();
    if (!parent || !*parent)
        provoke_cannot("AMX_PROVOKE_TMPDIR does not name a directory for the core file");
    snprintf(directory, sizeof directory, "%s/core-XXXXXX", parent);
    if (!mkdtemp(directory))
        provoke_cannot("no directory can be made in AMX_PROVOKE_TMPDIR (%s): errno %d", parent, errno);
    need_room(directory);
    const pid_t pid = tool_fork(k);
    if (pid == 0)
        dump(k, directory, with_tiles);
    const int status = tool_wait(pid);
    see_ending("dumped", status);
    const int found = find_core(directory, path, sizeof path);
    const long size = found ? k->read_core(path, bytes, FILE_MAX) : 0;
    if (found)
        unlink(path);
    rmdir(directory);
    if (!found && WIFSIGNALED(status) && WTERMSIG(status) != SIGABRT) /* not of the crash that was meant */
        provoke_end();
    if (!found)
        provoke_cannot("the crash left no core file in %s", directory);
    if (size < (long)sizeof(Elf64_Ehdr) || memcmp(bytes, ELFMAG, SELFMAG) != 0)
        provoke_broken("the core file cannot be read (%ld)", size);
    return (size_t)size;
}

/* Calls `each` for every note in the file, in order. */
static void for_notes(const struct kernel *k, const uint8_t *bytes, size_t size,
                      void (*each)(const struct kernel *k, uint32_t type, const uint8_t *desc,
                                   uint32_t length)) {
    const size_t align = 4;
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof header);
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        const size_t at = header.e_phoff + i * sizeof segment;
        if (at + sizeof segment > size)
            return;
        memcpy(&segment, bytes + at, sizeof segment);
        if (segment.p_type != PT_NOTE)
            continue;
        size_t offset = segment.p_offset;
        const size_t end = segment.p_offset + segment.p_filesz;
        while (offset + sizeof(Elf64_Nhdr) <= end && end <= size) {
            Elf64_Nhdr note;
            memcpy(&note, bytes + offset, sizeof note);
            const size_t desc = offset + sizeof note + ((note.n_namesz + align - 1) & ~(align - 1));
            if (desc + note.n_descsz > end)
                return;
            each(k, note.n_type, bytes + desc, note.n_descsz);
            offset = desc + ((note.n_descsz + align - 1) & ~(align - 1));
        }
    }
}

static int is_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return 0;
    return 1;
}

/* [bytes of the note, XSTATE_BV, 1 configuration loaded, the seed of TMM0: 0 all tiles zero, -1 something
 * else] */
static void see_state(const struct kernel *k, uint32_t type, const uint8_t *desc, uint32_t length) {
    const struct xcomponent config = area_component(k, XFEATURE_XTILECFG);
    const struct xcomponent data = area_component(k, XFEATURE_XTILEDATA);
    if (type != NT_X86_XSTATE)
        return;
    int64_t seen[4] = {length, 0, -1, -1};
    if (length >= AREA_EXTENDED)
        seen[1] = (int64_t)area_get(desc, AREA_XSTATE_BV);
    if (length >= data.offset + data.size && length >= config.offset + config.size) {
        const uint8_t *const tiles = desc + data.offset;
        seen[2] = !is_zero(desc + config.offset, config.size);
        if (is_zero(tiles, data.size))
            seen[3] = 0;
        else if (memcmp(tiles, of_main.rows, sizeof of_main.rows) == 0)
            seen[3] = MAIN_SEED;
        else if (memcmp(tiles, of_thread.rows, sizeof of_thread.rows) == 0)
            seen[3] = THREAD_SEED;
    }
    see_ints("state", seen, 4);
}

static void core_01(const struct kernel *k) {
    uint32_t whole[4];
    uint8_t *const bytes = tool_map(FILE_MAX);
    tool_request(k);
    k->cpuid(0xd, 0, whole);
    tiles_make(&of_main, 16, 64, MAIN_SEED);
    tiles_make(&of_thread, 16, 64, THREAD_SEED);
    const size_t size = make_core(k, 1, bytes);
    see_int("size", whole[1]);
    for_notes(k, bytes, size, see_state);
}

static int64_t layouts;

/* struct x86_xfeat_component: type, size, offset, flags, which are reserved. */
static void see_layout(const struct kernel *k, uint32_t type, const uint8_t *desc, uint32_t length) {
    (void)k;
    if (type != NOTE_X86_XSAVE_LAYOUT)
        return;
    layouts++;
    for (uint32_t offset = 0; offset + 16 <= length; offset += 16) {
        uint32_t record[4];
        memcpy(record, desc + offset, sizeof record);
        see_ints("record", (const int64_t[]){record[0], record[1], record[2], record[3]}, 4);
    }
    see_int("rest", length % 16);
}

static void core_02(const struct kernel *k) {
    uint8_t *const bytes = tool_map(FILE_MAX);
    const uint64_t features = area_features(k);
    const size_t size = make_core(k, 0, bytes);
    for (uint32_t number = 2; number < 63; number++) {
        const struct xcomponent component = area_component(k, number);
        if (features >> number & 1)
            see_ints("component", (const int64_t[]){number, component.size, component.offset}, 3);
    }
    for_notes(k, bytes, size, see_layout);
    see_int("layouts", layouts);
}

const struct provocation provoke_core[] = {
    {"CORE-01", "dump a process of four threads with tiles live, released and untouched", core_01, 1},
    {"CORE-02", "dump a process and read the layout of its states", core_02, 1},
    {0},
};
