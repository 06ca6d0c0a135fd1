/* Files of code, and where in them CPUID, XGETBV and, on CPUs with tiles, tile configuration are. A file is
 * looked at once, unless there are very many. */
#include "trap/ptrace/ptrace.h"

#include "trap/answers/announce.h"
#include "trap/code/file.h"
#include "trap/code/image.h"
#include "trap/code/scan.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES_MOST = 1024, SITES_MOST = 1 << 14 };

struct scan {
    struct tracer_image *image;
    uint64_t base;
    uint64_t unplaced; /* sites that there was no room for */
};

static void add(void *context, enum code_kind kind, const uint8_t *at, unsigned length) {
    struct scan *const scan = context;
    struct tracer_image *const image = scan->image;
    (void)kind, (void)length;
    if (image->site_count == image->site_room) {
        const size_t room = image->site_room ? 2 * image->site_room : 16;
        uint64_t *const sites = room <= SITES_MOST ? realloc(image->sites, room * sizeof *sites) : NULL;
        if (!sites) {
            scan->unplaced++;
            return;
        }
        image->sites = sites;
        image->site_room = room;
    }
    image->sites[image->site_count++] = (uintptr_t)at - scan->base;
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

static void look(struct tracer *tracer, struct tracer_image *image, int file) {
    const unsigned kinds = CODE_CPUID | CODE_XGETBV | (tracer->hybrid ? CODE_AMX_CONFIG : 0);
    struct code_file copy;
    if (code_file_read(file, &copy) != 0)
        return;
    struct scan scan = {image, copy.image.base, 0};
    const struct code_sink sink = {add, &scan};
    find_segments(image, &copy.image);
    code_scan(&copy.image, kinds, &sink);
    image->concerned = image->site_count && announce_concerns(&copy.image);
    tracer->counts.unpatchable += scan.unplaced;
    code_file_free(&copy);
}

static int is_of(const struct tracer_image *image, const struct stat *file) {
    return image->device == file->st_dev && image->inode == file->st_ino &&
           image->changed.tv_sec == file->st_ctim.tv_sec && image->changed.tv_nsec == file->st_ctim.tv_nsec;
}

static void forget(struct tracer_image *image) {
    free(image->sites);
    free(image);
}

/* The one that was looked at last comes first, and the oldest is forgotten for it. */
static void remember(struct tracer *tracer, struct tracer_image *image) {
    struct tracer_image **link = &tracer->images;
    image->next = *link;
    *link = image;
    for (unsigned count = 0; *link && count < IMAGES_MOST; count++)
        link = &(*link)->next;
    if (*link) {
        forget(*link);
        *link = NULL;
    }
}

const struct tracer_image *tracer_image(struct tracer *tracer, const char *path) {
    struct stat now;
    const int file = code_file_open(path, &now);
    if (file < 0)
        return NULL;
    struct tracer_image *image = tracer->images;
    while (image && !is_of(image, &now))
        image = image->next;
    if (!image && (image = calloc(1, sizeof *image)) != NULL) {
        image->device = now.st_dev;
        image->inode = now.st_ino;
        image->changed = now.st_ctim;
        look(tracer, image, file);
        remember(tracer, image);
    }
    close(file);
    return image;
}

void tracer_forget_images(struct tracer *tracer) {
    for (struct tracer_image *image = tracer->images, *next; image; image = next) {
        next = image->next;
        forget(image);
    }
    tracer->images = NULL;
}
