/* Files of code, and where in them CPUID, XGETBV and, on CPUs with tiles, tile configuration are. A file is
 * looked at once. */
#include "trap/ptrace/ptrace.h"

#include "trap/announce.h"
#include "trap/code/image.h"
#include "trap/code/scan.h"

#include <stdlib.h>
#include <sys/stat.h>

struct scan {
    struct tracer_image *image;
    const uint8_t *base;
};

static void add(void *context, enum code_kind kind, const uint8_t *at, unsigned length) {
    const struct scan *const scan = context;
    struct tracer_image *const image = scan->image;
    (void)kind, (void)length;
    if (image->site_count == image->site_room) {
        const size_t room = image->site_room ? 2 * image->site_room : 16;
        uint64_t *const sites = realloc(image->sites, room * sizeof *sites);
        if (!sites)
            return;
        image->sites = sites;
        image->site_room = room;
    }
    image->sites[image->site_count++] = (uint64_t)(at - scan->base);
}

static void find_segments(struct tracer_image *image, const struct code_image *code) {
    enum { ROOM = sizeof image->segments / sizeof *image->segments };
    for (size_t i = 0; i < code->count && image->segment_count < ROOM; i++) {
        const Elf64_Phdr *const h = &code->headers[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
            continue;
        const size_t n = image->segment_count++;
        image->segments[n].address = h->p_vaddr;
        image->segments[n].offset = h->p_offset;
        image->segments[n].size = h->p_filesz;
    }
}

static void look(const struct tracer *tracer, struct tracer_image *image, int file) {
    const unsigned kinds = CODE_CPUID | CODE_XGETBV | (tracer->hybrid ? CODE_AMX_CONFIG : 0);
    struct code_file mapped;
    if (code_file_map(file, &mapped) != 0)
        return;
    const struct scan scan = {image, mapped.image.base};
    const struct code_sink sink = {add, (void *)(uintptr_t)&scan};
    find_segments(image, &mapped.image);
    code_scan(&mapped.image, kinds, &sink);
    image->concerned = image->site_count && announce_concerns(&mapped.image);
    code_file_unmap(&mapped);
}

static int is_of(const struct tracer_image *image, const struct stat *file) {
    return image->device == file->st_dev && image->inode == file->st_ino &&
           image->changed.tv_sec == file->st_ctim.tv_sec && image->changed.tv_nsec == file->st_ctim.tv_nsec;
}

const struct tracer_image *tracer_image(struct tracer *tracer, int file) {
    struct stat now;
    if (fstat(file, &now) != 0 || !S_ISREG(now.st_mode))
        return NULL;
    for (const struct tracer_image *image = tracer->images; image; image = image->next)
        if (is_of(image, &now))
            return image;
    struct tracer_image *const image = calloc(1, sizeof *image);
    if (!image)
        return NULL;
    image->device = now.st_dev;
    image->inode = now.st_ino;
    image->changed = now.st_ctim;
    look(tracer, image, file);
    image->next = tracer->images;
    return tracer->images = image;
}

void tracer_forget_images(struct tracer *tracer) {
    for (struct tracer_image *image = tracer->images, *next; image; image = next) {
        next = image->next;
        free(image->sites);
        free(image);
    }
    tracer->images = NULL;
}
