#include "trap/code/image.h"

#include <errno.h>
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
           header->e_machine == EM_X86_64 && header->e_phentsize == sizeof(Elf64_Phdr);
}

/* The addresses that the segments take up, in whole pages; the program headers must be among them. */
static int span_of(int file, const Elf64_Ehdr *header, uint64_t *low, uint64_t *high, uint64_t *headers_at) {
    const uint64_t headers_end = header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr);
    struct stat whole;
    int found = 0;
    if (fstat(file, &whole) != 0)
        return -errno;
    *low = UINT64_MAX;
    *high = 0;
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr h;
        if (pread(file, &h, sizeof h, (off_t)(header->e_phoff + i * sizeof h)) != sizeof h)
            return -ENOEXEC;
        if (h.p_type != PT_LOAD || !h.p_filesz)
            continue;
        if (h.p_vaddr % PAGE != h.p_offset % PAGE || h.p_vaddr + h.p_filesz < h.p_vaddr)
            return -ENOEXEC;
        if (h.p_filesz > (uint64_t)whole.st_size || h.p_offset > (uint64_t)whole.st_size - h.p_filesz)
            return -ENOEXEC; /* reading what is cut off would be SIGBUS */
        *low = page_down(h.p_vaddr) < *low ? page_down(h.p_vaddr) : *low;
        *high = h.p_vaddr + h.p_filesz > *high ? h.p_vaddr + h.p_filesz : *high;
        if (header->e_phoff >= h.p_offset && headers_end <= h.p_offset + h.p_filesz) {
            *headers_at = h.p_vaddr + (header->e_phoff - h.p_offset);
            found = 1;
        }
    }
    return found ? 0 : -ENOEXEC;
}

/* Segments may overlap, and a later one may bring other headers than those that were looked at. */
static int headers_are_mapped(int file, const Elf64_Ehdr *header, const Elf64_Phdr *mapped) {
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr h;
        if (pread(file, &h, sizeof h, (off_t)(header->e_phoff + i * sizeof h)) != sizeof h ||
            memcmp(&h, &mapped[i], sizeof h) != 0)
            return 0;
    }
    return 1;
}

/* Only the section headers say where it is when no program header does. */
static void find_eh_frame(int file, const Elf64_Ehdr *header, struct code_image *image) {
    static const char wanted[] = ".eh_frame";
    Elf64_Shdr names, section;
    char name[sizeof wanted];
    if (header->e_shentsize != sizeof section ||
        pread(file, &names, sizeof names, (off_t)(header->e_shoff + header->e_shstrndx * sizeof names)) !=
            sizeof names)
        return;
    for (unsigned i = 0; i < header->e_shnum; i++)
        if (pread(file, &section, sizeof section, (off_t)(header->e_shoff + i * sizeof section)) ==
                sizeof section &&
            pread(file, name, sizeof name, (off_t)(names.sh_offset + section.sh_name)) == sizeof name &&
            memcmp(name, wanted, sizeof wanted) == 0 && section.sh_flags & SHF_ALLOC) {
            image->eh_frame = image->base + section.sh_addr;
            image->eh_frame_size = section.sh_size;
        }
}

int code_file_map(int file, struct code_file *mapped) {
    Elf64_Ehdr header;
    uint64_t low = 0, high = 0, headers_at = 0;
    if (pread(file, &header, sizeof header, 0) != sizeof header || !is_ours(&header))
        return -ENOEXEC;
    const int error = span_of(file, &header, &low, &high, &headers_at);
    if (error)
        return error;
    mapped->size = high - low;
    mapped->mapping = mmap(NULL, mapped->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped->mapping == MAP_FAILED)
        return -errno;
    mapped->image.base = (const uint8_t *)mapped->mapping - low;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr h;
        if (pread(file, &h, sizeof h, (off_t)(header.e_phoff + i * sizeof h)) != sizeof h ||
            h.p_type != PT_LOAD || !h.p_filesz)
            continue;
        const uint64_t from = page_down(h.p_vaddr);
        if (mmap((uint8_t *)mapped->mapping + (from - low), h.p_vaddr + h.p_filesz - from, PROT_READ,
                 MAP_PRIVATE | MAP_FIXED, file, (off_t)page_down(h.p_offset)) == MAP_FAILED) {
            const int failure = errno;
            code_file_unmap(mapped);
            return -failure;
        }
    }
    mapped->image.headers = (const Elf64_Phdr *)(const void *)(mapped->image.base + headers_at);
    mapped->image.count = header.e_phnum;
    if (!headers_are_mapped(file, &header, mapped->image.headers)) {
        code_file_unmap(mapped);
        return -ENOEXEC;
    }
    mapped->image.eh_frame = NULL;
    find_eh_frame(file, &header, &mapped->image);
    return 0;
}

void code_file_unmap(struct code_file *mapped) {
    munmap(mapped->mapping, mapped->size);
}
