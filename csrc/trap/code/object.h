/* An ELF object as the dynamic linker maps it. */
#ifndef AMX_CODE_OBJECT_H
#define AMX_CODE_OBJECT_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

/* `base` is where its address 0 would be. Addresses are numbers until they are known to lie in a segment: a
 * file may say anything. */
struct code_image {
    uint64_t base;
    const Elf64_Phdr *headers;
    size_t count;
    /* .eh_frame, for objects without .eh_frame_hdr, such as static programs; 0: not known. */
    uint64_t eh_frame, eh_frame_size;
};

#endif
