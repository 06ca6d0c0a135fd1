#define _GNU_SOURCE
#include "trap/code/write.h"

#include "trap/code/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* uapi/linux/membarrier.h, since 4.16 */
enum { PRIVATE_EXPEDITED_SYNC_CORE = 1 << 5, REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 6 };

static int membarrier(int command) {
    return syscall(SYS_membarrier, command, 0, 0) == 0 ? 0 : -errno;
}

int code_write_prepare(void) {
    return membarrier(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
}

/* All CPUs that run threads of this process execute a serialising instruction; others will before they do. */
static int all_cpus_see(void) {
    const int error = membarrier(PRIVATE_EXPEDITED_SYNC_CORE);
    if (error != -EPERM)
        return error;
    const int refused = code_write_prepare(); /* a forked child's registration is its own */
    return refused ? refused : membarrier(PRIVATE_EXPEDITED_SYNC_CORE);
}

static void *pointer(uint64_t address) {
    return (void *)(uintptr_t)address;
}

/* Where /proc/thread-self/mem may not be forced to write. Others keep the right to execute meanwhile. */
static int write_in_place(uint64_t address, const uint8_t *bytes, size_t size) {
    enum { PAGE = 4096 };
    const uint64_t begin = address / PAGE * PAGE, length = address + size - begin;
    struct mapping m;
    if (mapping_at(address, &m) != 0 ||
        syscall(SYS_mprotect, begin, length, (long)(m.protection | PROT_WRITE)) != 0)
        return 0;
    for (size_t i = 0; i < size; i++)
        *((volatile uint8_t *)pointer(address) + i) = bytes[i];
    syscall(SYS_mprotect, begin, length, (long)m.protection);
    return 1;
}

static int write_bytes(int memory, uint64_t address, const uint8_t *bytes, size_t size) {
    return pwrite(memory, bytes, size, (off_t)address) == (ssize_t)size ||
           write_in_place(address, bytes, size);
}

static int is_ours_to_write(uint64_t address) {
    struct mapping m;
    return mapping_at(address, &m) == 0 && mapping_is_ours_to_write(&m, address, CODE_BYTES_WRITTEN);
}

void code_write(struct code_write *writes, size_t count) {
    static const uint8_t int3 = INT3;
    const int memory = open("/proc/thread-self/mem", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < count; i++) {
        struct code_write *const w = &writes[i];
        w->outcome = is_ours_to_write(w->address) && write_bytes(memory, w->address, &int3, 1)
                         ? CODE_STOPPED
                         : CODE_UNCHANGED;
    }
    if (all_cpus_see() == 0) {
        for (size_t i = 0; i < count; i++) {
            struct code_write *const w = &writes[i];
            if (w->outcome == CODE_STOPPED &&
                write_bytes(memory, w->address + 1, w->bytes + 1, CODE_BYTES_WRITTEN - 1))
                w->outcome = CODE_WRITTEN;
        }
        const int tails_are_seen = all_cpus_see() == 0;
        for (size_t i = 0; i < count; i++) {
            struct code_write *const w = &writes[i];
            if (w->outcome == CODE_WRITTEN &&
                (!tails_are_seen || !write_bytes(memory, w->address, w->bytes, 1)))
                w->outcome = CODE_STOPPED;
        }
        all_cpus_see();
    }
    if (memory >= 0)
        close(memory);
}
