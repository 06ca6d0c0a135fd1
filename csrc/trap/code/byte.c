#define _GNU_SOURCE
#include "trap/code/byte.h"

#include "trap/code/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where pages that were written may not be executed (SELinux, execmod). */
static int write_by_force(const uint8_t *at, uint8_t byte) {
    const int memory = open("/proc/thread-self/mem", O_WRONLY | O_CLOEXEC);
    if (memory < 0)
        return -errno;
    const int error = pwrite(memory, &byte, 1, (off_t)(uintptr_t)at) == 1 ? 0 : -EACCES;
    close(memory);
    return error;
}

int code_byte_write(uint8_t *at, uint8_t byte) {
    enum { PAGE = 4096 };
    uint8_t *const page = at - (uintptr_t)at % PAGE;
    struct mapping m;
    /* Without /proc nobody tells, and what the dynamic linker has mapped is private. */
    if (mapping_at((uintptr_t)at, &m) == 0 && !mapping_is_ours_to_write(&m, (uintptr_t)at, 1))
        return -EACCES;
    if (syscall(SYS_mprotect, page, PAGE, (long)(PROT_READ | PROT_WRITE | PROT_EXEC)) != 0)
        return write_by_force(at, byte);
    *(volatile uint8_t *)at = byte;
    syscall(SYS_mprotect, page, PAGE, (long)(PROT_READ | PROT_EXEC));
    return 0;
}
