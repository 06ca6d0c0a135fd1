/* csrc/trap/code/scan.c over a file, for callers without C structures. */
#include "trap/code/file.h"
#include "trap/code/image.h"
#include "trap/code/insn_length.h"
#include "trap/code/scan.h"

#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { PAGE = 4096 };

struct found {
    unsigned kind, length;
    uint64_t address;
};
struct list {
    const char *path;
    uint64_t base;
    struct found *found;
    size_t count, room;
};

/* Whether the file is cut off when its first site is found. */
int scan_cuts_off;

static void add(void *context, enum code_kind kind, const uint8_t *at, unsigned length) {
    struct list *const list = context;
    if (list->count < list->room)
        list->found[list->count] = (struct found){kind, length, (uintptr_t)at - list->base};
    list->count++;
    if (scan_cuts_off && truncate(list->path, 0) != 0)
        list->room = 0;
}

/* Each segment's last page, from its last byte on; segments may overlap. */
static void guard_ends(const struct code_file *copy, int is_guarded) {
    for (int pass = 0; pass <= is_guarded; pass++)
        for (size_t i = 0; i < copy->image.count; i++) {
            const Elf64_Phdr *const h = &copy->headers[i];
            const uint64_t at = copy->image.base + h->p_vaddr, end = at + h->p_filesz;
            if (h->p_type != PT_LOAD)
                continue;
            if (is_guarded && pass == 0)
                ASAN_POISON_MEMORY_REGION((void *)(uintptr_t)end, -end % PAGE);
            else
                ASAN_UNPOISON_MEMORY_REGION((void *)(uintptr_t)at, end - at + (is_guarded ? 0 : -end % PAGE));
        }
}

/* The number of sites, at most `room` of which are in `found`; or -errno. */
long scan_file(const char *path, unsigned kinds, struct found *found, size_t room, size_t *unknown) {
    struct code_file copy;
    struct stat about;
    const int file = code_file_open(path, &about);
    if (file < 0)
        return file;
    const int error = code_file_read(file, &copy);
    close(file);
    if (error)
        return error;
    struct list list = {path, copy.image.base, found, 0, room};
    const struct code_sink sink = {add, &list};
    guard_ends(&copy, 1);
    *unknown = code_scan(&copy.image, kinds, &sink);
    guard_ends(&copy, 0);
    code_file_free(&copy);
    return (long)list.count;
}

/* The place of the first instruction among `count`, stored one after the other with their lengths, that has
 * another length; -1 for none. */
long first_difference(const uint8_t *code, const uint8_t *lengths, size_t count) {
    for (size_t i = 0; i < count; code += lengths[i++])
        if (insn_length(code, lengths[i]) != lengths[i])
            return (long)i;
    return -1;
}
