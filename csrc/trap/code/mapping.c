#define _GNU_SOURCE
#include "trap/code/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- PROCMAP_QUERY, Linux 6.11: what uapi/linux/fs.h has of it ---- */

struct procmap_query {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY_ _IOWR('f', 17, struct procmap_query)
enum { VMA_READABLE = 1, VMA_WRITABLE = 2, VMA_EXECUTABLE = 4, VMA_SHARED = 8 };

static int protection(int readable, int writable, int executable) {
    return (readable ? PROT_READ : 0) | (writable ? PROT_WRITE : 0) | (executable ? PROT_EXEC : 0);
}

static int query(int maps, uint64_t address, struct mapping *mapping) {
    struct procmap_query q = {.size = sizeof q, .query_addr = address};
    if (ioctl(maps, PROCMAP_QUERY_, &q) != 0)
        return errno == ENOENT ? -EFAULT : -errno;
    *mapping = (struct mapping){
        .start = q.vma_start,
        .end = q.vma_end,
        .protection = protection((q.vma_flags & VMA_READABLE) != 0, (q.vma_flags & VMA_WRITABLE) != 0,
                                 (q.vma_flags & VMA_EXECUTABLE) != 0),
        .shared = (q.vma_flags & VMA_SHARED) != 0,
        .anonymous = q.inode == 0,
    };
    return 0;
}

/* ---- the text, for kernels before that ---- */

struct text {
    int file;
    size_t at, size;
    char buffer[512];
};

/* -1 at its end. */
static int next(struct text *text) {
    if (text->at == text->size) {
        const ssize_t count = read(text->file, text->buffer, sizeof text->buffer);
        if (count <= 0)
            return -1;
        text->at = 0;
        text->size = (size_t)count;
    }
    return (unsigned char)text->buffer[text->at++];
}

static uint64_t hexadecimal(struct text *text) {
    uint64_t value = 0;
    for (;;) {
        const int c = next(text);
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* What a line says between permissions and path: ` 00001000 fe:01 131 `. */
static int has_inode(struct text *text) {
    next(text);
    hexadecimal(text);                    /* offset */
    hexadecimal(text), hexadecimal(text); /* device */
    return hexadecimal(text) != 0;        /* its digits are decimal, which is no matter */
}

/* Lines like `55d2c0a4f000-55d2c0a51000 r-xp 00001000 fe:01 131 /bin/true` in ascending order. */
static int search(int maps, uint64_t address, struct mapping *mapping) {
    struct text text = {.file = maps};
    int c;
    do {
        mapping->start = hexadecimal(&text);
        mapping->end = hexadecimal(&text);
        const int r = next(&text), w = next(&text), x = next(&text), s = next(&text);
        mapping->protection = protection(r == 'r', w == 'w', x == 'x');
        mapping->shared = s == 's';
        if (s < 0 || mapping->start > address)
            return -EFAULT;
        if (address < mapping->end) {
            mapping->anonymous = !has_inode(&text);
            return 0;
        }
        do
            c = next(&text);
        while (c >= 0 && c != '\n');
    } while (c >= 0);
    return -EFAULT;
}

int mapping_in(const char *maps, uint64_t address, struct mapping *mapping) {
    const int file = open(maps, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int error = query(file, address, mapping);
    if (error != 0 && error != -EFAULT)
        error = search(file, address, mapping);
    close(file);
    return error;
}

int mapping_at(uint64_t address, struct mapping *mapping) {
    return mapping_in("/proc/thread-self/maps", address, mapping);
}

int mapping_is_ours_to_write(const struct mapping *mapping, uint64_t address, size_t size) {
    return !mapping->shared && address >= mapping->start && address < mapping->end &&
           mapping->end - address >= size;
}
