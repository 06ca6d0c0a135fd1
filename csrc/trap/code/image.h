/* An ELF file's segments, laid out in memory as the dynamic linker would, for reading only. */
#ifndef AMX_CODE_IMAGE_H
#define AMX_CODE_IMAGE_H

#include "trap/code/scan.h"

struct code_file {
    struct code_image image;
    void *mapping;
    size_t size;
};

/* 0 or -errno; -ENOEXEC: not an x86-64 ELF file with program headers. `file` may be closed afterwards. */
int code_file_map(int file, struct code_file *mapped);
void code_file_unmap(struct code_file *mapped);

#endif
