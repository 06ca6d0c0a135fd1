#define _GNU_SOURCE /* SEEK_DATA */
#include "trap/code/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };

static uint64_t page_down(uint64_t address) {
    return address & ~(uint64_t)(PAGE - 1);
}

static int is_ours(const Elf64_Ehdr *header) {
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_ident[EI_CLASS] == ELFCLASS64 &&
           header->e_machine == EM_X86_64 && header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum > 0;
}

/* 0; -ENOEXEC where the file ends before, or cannot be read there. */
static int read_all(int file, void *to, uint64_t size, uint64_t offset) {
    uint8_t *at = to;
    while (size) {
        const ssize_t count = pread(file, at, size, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return -ENOEXEC;
        at += count;
        size -= (uint64_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

static int is_code_or_table(const Elf64_Phdr *h) {
    return h->p_type == PT_LOAD && h->p_filesz > 0 && (h->p_flags & (PF_R | PF_W)) == PF_R;
}

static int read_headers(int file, struct code_file *copy) {
    Elf64_Ehdr header;
    if (read_all(file, &header, sizeof header, 0) != 0 || !is_ours(&header))
        return -ENOEXEC;
    if (header.e_phnum > CODE_HEADERS_MOST)
        return -EFBIG;
    copy->headers = calloc(header.e_phnum, sizeof *copy->headers);
    if (!copy->headers)
        return -ENOMEM;
    copy->image.headers = copy->headers;
    copy->image.count = header.e_phnum;
    const int error = read_all(file, copy->headers, header.e_phnum * sizeof *copy->headers, header.e_phoff);
    for (unsigned i = 0; error == 0 && i < header.e_phnum; i++)
        if (copy->headers[i].p_type == PT_LOAD && !is_code_or_table(&copy->headers[i]))
            copy->headers[i].p_type = PT_NULL;
    return error;
}

/* The addresses that the segments take up, in whole pages. */
static int span_of(int file, const struct code_file *copy, uint64_t *low, uint64_t *high) {
    struct stat whole;
    uint64_t bytes = 0;
    if (fstat(file, &whole) != 0)
        return -errno;
    *low = UINT64_MAX;
    *high = 0;
    for (size_t i = 0; i < copy->image.count; i++) {
        const Elf64_Phdr *const h = &copy->headers[i];
        if (h->p_type != PT_LOAD)
            continue;
        if (h->p_vaddr % PAGE != h->p_offset % PAGE || h->p_filesz > (uint64_t)whole.st_size ||
            h->p_offset > (uint64_t)whole.st_size - h->p_filesz ||
            h->p_vaddr > UINT64_MAX - PAGE - h->p_filesz)
            return -ENOEXEC;
        bytes += h->p_filesz;
        if (bytes > CODE_BYTES_MOST)
            return -EFBIG;
        *low = page_down(h->p_vaddr) < *low ? page_down(h->p_vaddr) : *low;
        *high = h->p_vaddr + h->p_filesz > *high ? h->p_vaddr + h->p_filesz : *high;
    }
    if (bytes == 0)
        return -ENOEXEC;
    return *high - *low <= CODE_SPAN_MOST ? 0 : -EFBIG;
}

/* Holes are left out: they would cost memory here, and none where they were made. */
static int read_data(int file, uint8_t *to, uint64_t size, uint64_t offset) {
    const uint64_t end = offset + size;
    for (uint64_t at = offset; at < end;) {
        const off_t data = lseek(file, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0;                                                 /* there is none, up to its end */
        const uint64_t from = data < (off_t)at ? at : (uint64_t)data; /* no file system is believed */
        const off_t hole = data < 0 ? -1 : lseek(file, (off_t)from, SEEK_HOLE);
        const uint64_t until = hole < 0 || (uint64_t)hole > end ? end : (uint64_t)hole;
        if (from < until && read_all(file, to + (from - offset), until - from, from) != 0)
            return -ENOEXEC;
        at = from < until ? until : end;
    }
    return 0;
}

static int read_segment(int file, const struct code_file *copy, const Elf64_Phdr *h) {
    const uint64_t at = copy->image.base + h->p_vaddr, page = page_down(at);
    if (mprotect((void *)(uintptr_t)page, at + h->p_filesz - page, PROT_READ | PROT_WRITE) != 0)
        return -errno;
    return read_data(file, (uint8_t *)(uintptr_t)at, h->p_filesz, h->p_offset);
}

static int read_segments(int file, struct code_file *copy) {
    uint64_t low = 0, high = 0;
    int error = span_of(file, copy, &low, &high);
    if (error)
        return error;
    void *const memory =
        mmap(NULL, high - low, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    copy->memory = memory;
    copy->size = high - low;
    copy->image.base = (uintptr_t)memory - low;
    for (size_t i = 0; error == 0 && i < copy->image.count; i++)
        if (copy->headers[i].p_type == PT_LOAD)
            error = read_segment(file, copy, &copy->headers[i]);
    return error;
}

/* Only the section headers say where it is when no program header does. */
static void find_eh_frame(int file, struct code_image *image) {
    static const char wanted[] = ".eh_frame";
    Elf64_Ehdr header;
    Elf64_Shdr names, section;
    char name[sizeof wanted];
    if (read_all(file, &header, sizeof header, 0) != 0 || header.e_shentsize != sizeof section ||
        read_all(file, &names, sizeof names, header.e_shoff + header.e_shstrndx * sizeof names) != 0)
        return;
    for (unsigned i = 0; i < header.e_shnum; i++)
        if (read_all(file, &section, sizeof section, header.e_shoff + i * sizeof section) == 0 &&
            section.sh_flags & SHF_ALLOC &&
            read_all(file, name, sizeof name, names.sh_offset + section.sh_name) == 0 &&
            memcmp(name, wanted, sizeof wanted) == 0) {
            image->eh_frame = image->base + section.sh_addr;
            image->eh_frame_size = section.sh_size;
        }
}

int code_file_read(int file, struct code_file *copy) {
    *copy = (struct code_file){0};
    int error = read_headers(file, copy);
    if (error == 0)
        error = read_segments(file, copy);
    if (error == 0)
        find_eh_frame(file, &copy->image);
    else
        code_file_free(copy);
    return error;
}

void code_file_free(struct code_file *copy) {
    if (copy->memory)
        munmap(copy->memory, copy->size);
    free(copy->headers);
    *copy = (struct code_file){0};
}
