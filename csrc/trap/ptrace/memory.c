/* A tracee's memory. */
#define _GNU_SOURCE /* process_vm_readv */
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { PAGE = 4096, WORD = 8, INT3 = 0xcc };

static size_t transfer(ssize_t (*call)(pid_t, const struct iovec *, unsigned long, const struct iovec *,
                                       unsigned long, unsigned long),
                       pid_t tid, uint64_t address, void *bytes, size_t size) {
    const struct iovec local = {bytes, size}, remote = {(void *)(uintptr_t)address, size};
    const ssize_t n = call(tid, &local, 1, &remote, 1, 0);
    return n < 0 ? 0 : (size_t)n;
}

/* Lets a stack grow down to an address, as an access of the tracee's own would. Since Linux 6.5
 * PTRACE_PEEKDATA does so (mm/memory.c, __access_remote_vm) and process_vm_readv does not; before, both did.
 */
static void touch(pid_t tid, uint64_t address) {
    ptrace(PTRACE_PEEKDATA, tid, (void *)(uintptr_t)(address & -(uint64_t)WORD), NULL);
}

size_t tracer_read(pid_t tid, uint64_t address, void *to, size_t size) {
    size_t n = transfer(process_vm_readv, tid, address, to, size);
    if (n < size) {
        touch(tid, address + n);
        n += transfer(process_vm_readv, tid, address + n, (uint8_t *)to + n, size - n);
    }
    return n;
}

/* Of bytes in one page, so all or none. */
static int write_in_page(pid_t tid, uint64_t address, const void *from, size_t size) {
    union {
        const void *read;
        void *plain;
    } bytes = {from}; /* process_vm_writev only reads them */
    if (transfer(process_vm_writev, tid, address, bytes.plain, size) == size)
        return 1;
    touch(tid, address);
    return transfer(process_vm_writev, tid, address, bytes.plain, size) == size;
}

static int is_writable(pid_t tid, uint64_t address) {
    uint8_t byte;
    return tracer_read(tid, address, &byte, 1) == 1 && write_in_page(tid, address, &byte, 1);
}

static size_t read_row(void *context, uint64_t address, void *to, size_t size) {
    const struct tracee *const tracee = context;
    return tracer_read(tracee->tid, address, to, size);
}

/* A row in two pages is written only where both are writable. The second comes first, since it is what faults
 * more often; then the first is found out by rewriting a byte of it. */
static size_t write_row(void *context, uint64_t address, const void *from, size_t size) {
    const pid_t tid = ((const struct tracee *)context)->tid;
    const size_t in_page = PAGE - address % PAGE, first = size < in_page ? size : in_page;
    uint8_t second_before[AMXEMU_COLSB];
    if (first == size)
        return write_in_page(tid, address, from, size) ? size : 0;
    if (tracer_read(tid, address + first, second_before, size - first) < size - first ||
        !write_in_page(tid, address + first, (const uint8_t *)from + first, size - first))
        return is_writable(tid, address) ? first : 0;
    if (write_in_page(tid, address, from, first))
        return size;
    write_in_page(tid, address + first, second_before, size - first);
    return 0;
}

struct amxemu_memory tracer_memory(struct tracee *tracee) {
    return (struct amxemu_memory){read_row, write_row, tracee};
}

int tracer_write(pid_t tid, uint64_t address, const void *from, size_t size) {
    const uint8_t *bytes = from;
    while (size) {
        const size_t in_page = PAGE - address % PAGE, n = size < in_page ? size : in_page;
        if (!write_in_page(tid, address, bytes, n))
            return -EFAULT;
        address += n, bytes += n, size -= n;
    }
    return 0;
}

int tracer_write_code(pid_t tid, uint64_t address, uint8_t byte, uint8_t *replaced) {
    void *const at = (void *)(uintptr_t)(address & -(uint64_t)WORD);
    const unsigned shift = 8 * (address % WORD);
    errno = 0;
    const uint64_t word = (uint64_t)ptrace(PTRACE_PEEKTEXT, tid, at, NULL);
    if (errno)
        return -errno;
    *replaced = (uint8_t)(word >> shift);
    const uint64_t with = (word & ~(UINT64_C(0xff) << shift)) | (uint64_t)byte << shift;
    return ptrace(PTRACE_POKETEXT, tid, at, (void *)(uintptr_t)with) == 0 ? 0 : -errno;
}

struct trap_fault tracer_page_fault(pid_t tid, uint64_t address, int write) {
    struct trap_fault fault = {SIGSEGV, SEGV_MAPERR, address};
    char path[32], line[512], readable, writable;
    uint64_t start, end;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)tid);
    FILE *const maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %c%c", &start, &end, &readable, &writable) != 4)
            continue; /* the rest of a long line */
        if (address < start || address >= end)
            continue;
        if ((write ? writable : readable) == '-')
            fault.code = SEGV_ACCERR;
        else /* allowed, and yet not there: past the end of a file */
            fault = (struct trap_fault){SIGBUS, BUS_ADRERR, address};
        break;
    }
    if (maps)
        fclose(maps);
    return fault;
}
