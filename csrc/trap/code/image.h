/* The code of an ELF file and its unwind tables, laid out in memory as the dynamic linker would.
 *
 * Copies: the file may be anybody's, and may be cut off or rewritten at any time.
 */
#ifndef AMX_CODE_IMAGE_H
#define AMX_CODE_IMAGE_H

#include "trap/code/object.h"

/* What a file may have at most, else it is not looked at: docs/emulation.md, "What a program can do to its
 * launcher". */
enum {
    CODE_HEADERS_MOST = 65536 / sizeof(Elf64_Phdr), /* as the kernel's of a program (load_elf_phdrs()) */
    CODE_BYTES_MOST = 1 << 30,                      /* in all segments that can be read and not be written */
};
#define CODE_SPAN_MOST (UINT64_C(1) << 32) /* from the first of these segments to the last one's end */

struct code_file {
    struct code_image image;
    Elf64_Phdr *headers; /* of the other segments PT_NULL */
    void *memory;
    size_t size;
};

/* 0 or -errno; -ENOEXEC: not an x86-64 ELF file with program headers, or it ends too early; -EFBIG. */
int code_file_read(int file, struct code_file *copy);
void code_file_free(struct code_file *copy);

#endif
