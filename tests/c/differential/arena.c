#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static void *at(uint64_t address) {
    return (void *)(uintptr_t)address;
}

int arena_map(void) {
    void *reserved = mmap(at(ARENA_RESERVED), ARENA_RESERVED_SIZE, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (reserved != at(ARENA_RESERVED))
        return reserved == MAP_FAILED ? -errno : -EEXIST;
    if (mprotect(at(ARENA), ARENA_SIZE, PROT_READ | PROT_WRITE) != 0 ||
        mprotect(at(ARENA_CODE), PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return -errno;
    memset(at(ARENA), 0, ARENA_SIZE);
    if (mprotect(at(ARENA + ARENA_READ_ONLY_PAGE * PAGE), PAGE, PROT_READ) != 0)
        return -errno;
    return 0;
}

void arena_set(const struct shadow *contents) {
    const size_t begin = (size_t)ARENA_READ_ONLY_PAGE * PAGE, end = begin + PAGE;
    uint8_t *bytes = at(ARENA);
    memcpy(bytes, contents->bytes, begin);
    memcpy(bytes + end, contents->bytes + end, ARENA_SIZE - end);
    if (memcmp(bytes + begin, contents->bytes + begin, PAGE) == 0)
        return;
    mprotect(bytes + begin, PAGE, PROT_READ | PROT_WRITE);
    memcpy(bytes + begin, contents->bytes + begin, PAGE);
    mprotect(bytes + begin, PAGE, PROT_READ);
}

int arena_equals(const struct shadow *contents) {
    return memcmp(at(ARENA), contents->bytes, ARENA_SIZE) == 0;
}

/* Fits in [begin, begin + length). */
static int within(uint64_t address, size_t size, uint64_t begin, uint64_t length) {
    return address - begin < length && length - (address - begin) >= size;
}

enum place place_of(uint64_t address, size_t size) {
    enum { MMAP_MIN_ADDR = 0x1000 };
    const uint64_t top = address >> 56; /* canonical with 57 bits: top seven bits and bit 56 agree */
    const uint64_t kernel_half = UINT64_C(0xFFFF800000000000);
    const uint64_t modules_and_vsyscall = UINT64_C(0xFFFFFFFF00000000);

    if (within(address, size, ARENA - PAGE, ARENA_SIZE + 2 * PAGE))
        return PLACE_BYTES;
    if (within(address, size, ARENA_RESERVED, ARENA - ARENA_RESERVED) ||
        within(address, size, 0, MMAP_MIN_ADDR) ||
        within(address, size, kernel_half, modules_and_vsyscall - kernel_half))
        return PLACE_UNMAPPED;
    if (top != 0 && top != 0xFF && (address + size - 1) >> 56 == top)
        return PLACE_NONCANONICAL;
    return PLACE_UNKNOWN;
}

size_t shadow_accessible(uint64_t address, size_t size, int writing) {
    size_t n = 0;
    while (n < size) {
        const uint64_t offset = address + n - ARENA;
        if (offset >= ARENA_SIZE || (writing && offset / PAGE == ARENA_READ_ONLY_PAGE))
            break;
        n++;
    }
    return n;
}
