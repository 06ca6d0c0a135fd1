/* What a new image and new code of a tracee look like on the emulated CPU. */
#include "machine/proc.h"
#include "trap/host/mm_map.h"
#include "trap/ptrace/ptrace.h"
#include "trap/cpu/virtual_cpu.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

enum {
    INT3 = 0xcc,
    ARCH_SET_CPUID = 0x1012,
    AT_MINSIGSTKSZ_TYPE = 51,
    USER_CS_64 = 0x33, /* __USER_CS */
    PATH_ROOM = 4352,
};

/* ---- code ---- */

/* Where code is written: the mapping that the last site was in, and how many more are looked up. A program
 * that takes it to pieces meanwhile would have one looked up for every site. */
struct place {
    struct mapping mapping;
    unsigned lookups;
};
enum { LOOKUPS_MOST = 16 };

static int find(struct place *place, pid_t tid, uint64_t address) {
    if (address >= place->mapping.start && address < place->mapping.end)
        return 1;
    if (place->lookups == 0)
        return 0;
    place->lookups--;
    if (tracer_mapping_at(tid, address, &place->mapping) == 0)
        return 1;
    place->mapping = (struct mapping){0};
    return 0;
}

static void patch(struct tracer *tracer, struct tracee *tracee, uint64_t address, int concerned,
                  struct place *place) {
    const pid_t tid = tracee->tid;
    struct tracer_site site = {.address = address, .concerned = (uint8_t)concerned};
    if (tracer_make_room(tracee->process) != 0 || !find(place, tid, address) ||
        tracer_write_code(tid, &place->mapping, address, INT3, &site.byte) != 0)
        tracer->counts.unpatchable++;
    else if (site.byte != INT3) /* else the page has been ours before */
        tracer_add_site(tracee->process, site);
}

/* `size` bytes at `address` are those of the file from `offset` on. What was looked up of the place stays
 * true while it is written to: whether it is shared cannot be asked and written to in one step. */
static void patch_mapping(struct tracer *tracer, struct tracee *tracee, const struct tracer_image *image,
                          uint64_t address, uint64_t size, uint64_t offset) {
    const int settled = image->site_count && tracer_settle(tracer) == 0 && !tracer->has_listener;
    struct place place = {.lookups = settled ? LOOKUPS_MOST : 0};
    for (size_t i = 0; i < image->segment_count; i++) {
        const uint64_t from = image->segments[i].address, to = from + image->segments[i].size;
        /* where the file's address 0 would be */
        const uint64_t base = address - offset - (from - image->segments[i].offset);
        for (size_t j = 0; j < image->site_count; j++) {
            const uint64_t site = image->sites[j];
            if (site >= from && site < to && base + site - address < size)
                patch(tracer, tracee, base + site, image->concerned, &place);
        }
    }
}

void tracer_new_code(struct tracer *tracer, struct tracee *tracee, const struct tracer_mapping *mapping,
                     const char *path) {
    const struct tracer_image *const image = tracer_image(tracer, path);
    if (image)
        patch_mapping(tracer, tracee, image, mapping->address, mapping->size, mapping->offset);
}

/* What execve mapped: the program and its interpreter. Not what can be written while it is executed, as the
 * code of packed programs: it may read itself. */
static void patch_all(struct tracer *tracer, struct tracee *tracee) {
    const pid_t tid = tracee->tid;
    char maps_path[32], line[PATH_ROOM], name[PATH_ROOM], path[PATH_ROOM + 32], exe_path[32], exe[PATH_ROOM];
    snprintf(maps_path, sizeof maps_path, "/proc/%d/maps", (int)tid);
    snprintf(exe_path, sizeof exe_path, "/proc/%d/exe", (int)tid);
    const ssize_t length = readlink(exe_path, exe, sizeof exe - 1);
    exe[length > 0 ? length : 0] = '\0';
    FILE *const maps = fopen(maps_path, "re");
    while (maps && fgets(line, sizeof line, maps)) {
        struct tracer_mapping mapping;
        uint64_t end;
        char writable, executable;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%c%c%*c %" SCNx64 " %*s %*s %[^\n]", &mapping.address,
                   &end, &writable, &executable, &mapping.offset, name) != 6 ||
            writable != '-' || executable != 'x' || name[0] != '/')
            continue;
        mapping.size = end - mapping.address;
        if (strcmp(name, exe) == 0)
            tracer_new_code(tracer, tracee, &mapping, exe_path); /* whatever its name means to us */
        else if (snprintf(path, sizeof path, "/proc/%d/root%s", (int)tid, name) < (int)sizeof path)
            tracer_new_code(tracer, tracee, &mapping, path);
    }
    if (maps)
        fclose(maps);
}

/* ---- the new image ---- */

/* Whether it has come under more filters than the first image was: they may kill for what only we call. */
static int has_own_filter(struct tracer *tracer, pid_t tid) {
    const uint64_t filters = tracer_proc_status(tid, "Seccomp_filters", 10, 0); /* since Linux 5.9 */
    if (!tracer->has_begun)
        tracer->filters = filters;
    return filters > tracer->filters;
}

/* The kernel's copy of the vector, for /proc/PID/auxv. Where it may not be replaced, it stays the real
 * kernel's. The program has not begun: nothing stands below its stack pointer. 0, or -EIO where memory cannot
 * be reached. */
static int replace_auxv(struct tracee *tracee, uint64_t stack, uint64_t vector, uint64_t size) {
    enum { BELOW = 4096 };
    static const struct prctl_mm_map nothing;
    struct prctl_mm_map map;
    char stat[32];
    snprintf(stat, sizeof stat, "/proc/%d/stat", (int)tracee->tid);
    const long brk = tracer_inject(tracee, SYS_brk, (uint64_t[5]){0});
    if (brk <= 0 || mm_map_read(stat, (uint64_t)brk, &map) != 0)
        return 0;
    map.auxv = (void *)(uintptr_t)vector;
    map.auxv_size = (uint32_t)size;
    const uint64_t at = (stack - BELOW) & -UINT64_C(16);
    if (tracer_write(tracee->tid, at, &map, sizeof map) != 0)
        return -EIO;
    tracer_inject(tracee, SYS_prctl, (uint64_t[5]){PR_SET_MM, PR_SET_MM_MAP, at, sizeof map});
    return tracer_write(tracee->tid, at, &nothing, sizeof nothing) == 0 ? 0 : -EIO;
}

/* AT_MINSIGSTKSZ, from which runtimes take the size of their alternate stacks. It is on the stack (psABI,
 * "Initial Stack and Register State"): argc, argv, NULL, environment, NULL, pairs. C libraries have not read
 * it yet. */
static int enlarge_minsigstksz(struct tracer *tracer, struct tracee *tracee, uint64_t stack) {
    enum {
        WORDS_MOST = 1 << 20,
        PAIRS_MOST = 64
    }; /* execve() takes 6 MiB, and the kernel has some 25 pairs */
    const pid_t tid = tracee->tid;
    const uint64_t least = VIRTUAL_MINSIGSTKSZ;
    uint64_t argc, word = 1, pair[2] = {AT_IGNORE};
    int changed = 0;
    if (tracer_read(tid, stack, &argc, sizeof argc) != sizeof argc)
        return -EIO;
    uint64_t at = stack + (argc + 2) * sizeof word;
    for (unsigned words = 0; word && words < WORDS_MOST; words++) {
        if (tracer_read(tid, at, &word, sizeof word) != sizeof word)
            return -EIO;
        at += sizeof word;
    }
    const uint64_t vector = at;
    for (unsigned pairs = 0; pair[0] != AT_NULL && pairs < PAIRS_MOST; pairs++) {
        if (tracer_read(tid, at, pair, sizeof pair) != sizeof pair)
            return -EIO;
        if (pair[0] == AT_MINSIGSTKSZ_TYPE && pair[1] < least) {
            if (tracer_write(tid, at + sizeof pair[0], &least, sizeof least) != 0)
                return -EIO;
            changed = 1;
        }
        at += sizeof pair;
    }
    return changed && !has_own_filter(tracer, tid) ? replace_auxv(tracee, stack, vector, at - vector) : 0;
}

int tracer_new_image(struct tracer *tracer, struct tracee *tracee) {
    struct user_regs_struct u;
    if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &u) != 0 || u.cs != USER_CS_64)
        return 0;
    const int error = enlarge_minsigstksz(tracer, tracee, u.rsp);
    if (error)
        return error;
    /* Its CPUID instructions would not be found, and it would go on as if there were no AMX. */
    if (!tracer->has_begun && !machine_proc_is_ours())
        return -ENXIO;
    patch_all(tracer, tracee);
    /* For the code that was not found; -ENODEV where the CPU cannot. */
    tracer_inject(tracee, SYS_arch_prctl, (uint64_t[5]){ARCH_SET_CPUID, 0});
    return 0;
}
