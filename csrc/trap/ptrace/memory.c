/* A tracee's memory, under its own protections.
 *
 * By process_vm_readv(2) and writev, which are one call each; where those are forbidden or missing, by
 * /proc/PID/mem, which knows no protections: they are looked up before.
 */
#define _GNU_SOURCE /* process_vm_readv */
#include "trap/ptrace/ptrace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, WORD = 8 };

typedef ssize_t vm_call(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long,
                        unsigned long);

static size_t transfer(vm_call *call, pid_t tid, uint64_t address, void *bytes, size_t size) {
    const struct iovec local = {bytes, size}, remote = {(void *)(uintptr_t)address, size};
    const ssize_t n = call(tid, &local, 1, &remote, 1, 0);
    return n < 0 ? 0 : (size_t)n;
}

/* ---- without process_vm_readv ---- */

static _Thread_local int by_file; /* of the tracer's thread */

void tracer_reach_by_file(void) {
    by_file = 1;
}

int tracer_mapping_at(pid_t tid, uint64_t address, struct mapping *mapping) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)tid);
    return mapping_in(path, address, mapping);
}

/* How many bytes from `address` on may be accessed so. */
static size_t accessible(pid_t tid, uint64_t address, size_t size, int protection) {
    struct mapping m;
    size_t n = 0;
    while (n < size && tracer_mapping_at(tid, address + n, &m) == 0 && m.protection & protection)
        n = m.end - address;
    return n < size ? n : size;
}

static size_t transfer_by_file(pid_t tid, uint64_t address, void *bytes, size_t size, int writes) {
    char path[32];
    const size_t allowed = accessible(tid, address, size, writes ? PROT_WRITE : PROT_READ);
    snprintf(path, sizeof path, "/proc/%d/mem", (int)tid);
    const int memory = allowed ? open(path, (writes ? O_WRONLY : O_RDONLY) | O_CLOEXEC) : -1;
    if (memory < 0)
        return 0;
    const ssize_t n = writes ? pwrite(memory, bytes, allowed, (off_t)address)
                             : pread(memory, bytes, allowed, (off_t)address);
    close(memory);
    return n < 0 ? 0 : (size_t)n;
}

/* ---- either way ---- */

/* Lets a stack grow down to an address, as an access of the tracee's own would. Since Linux 6.5
 * PTRACE_PEEKDATA does so (mm/memory.c, __access_remote_vm) and process_vm_readv does not; before, both did.
 */
static void touch(pid_t tid, uint64_t address) {
    ptrace(PTRACE_PEEKDATA, tid, (void *)(uintptr_t)(address & -(uint64_t)WORD), NULL);
}

static size_t read_some(pid_t tid, uint64_t address, void *to, size_t size) {
    return by_file ? transfer_by_file(tid, address, to, size, 0)
                   : transfer(process_vm_readv, tid, address, to, size);
}

size_t tracer_read(pid_t tid, uint64_t address, void *to, size_t size) {
    size_t n = read_some(tid, address, to, size);
    if (n < size) {
        touch(tid, address + n);
        n += read_some(tid, address + n, (uint8_t *)to + n, size - n);
    }
    return n;
}

static int write_once(pid_t tid, uint64_t address, const void *from, size_t size) {
    union {
        const void *read;
        void *plain;
    } bytes = {from}; /* which is only read */
    return (by_file ? transfer_by_file(tid, address, bytes.plain, size, 1)
                    : transfer(process_vm_writev, tid, address, bytes.plain, size)) == size;
}

/* Of bytes in one page, so all or none. */
static int write_in_page(pid_t tid, uint64_t address, const void *from, size_t size) {
    if (write_once(tid, address, from, size))
        return 1;
    touch(tid, address);
    return write_once(tid, address, from, size);
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
    write_in_page(tid, address + first, second_before, size - first); /* fails where it was unmapped since */
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

int tracer_write_code(pid_t tid, const struct mapping *mapping, uint64_t address, uint8_t byte,
                      uint8_t *replaced) {
    void *const at = (void *)(uintptr_t)(address & -(uint64_t)WORD);
    const unsigned shift = 8 * (address % WORD);
    if (!mapping_is_ours_to_write(mapping, address, 1))
        return -EACCES;
    errno = 0;
    const uint64_t word = (uint64_t)ptrace(PTRACE_PEEKTEXT, tid, at, NULL);
    if (errno)
        return -errno;
    *replaced = (uint8_t)(word >> shift);
    const uint64_t with = (word & ~(UINT64_C(0xff) << shift)) | (uint64_t)byte << shift;
    return ptrace(PTRACE_POKETEXT, tid, at, (void *)(uintptr_t)with) == 0 ? 0 : -errno;
}

struct trap_fault tracer_page_fault(pid_t tid, uint64_t address, int write) {
    struct mapping m;
    if (tracer_mapping_at(tid, address, &m) != 0)
        return (struct trap_fault){SIGSEGV, SEGV_MAPERR, address};
    if (!(m.protection & (write ? PROT_WRITE : PROT_READ)))
        return (struct trap_fault){SIGSEGV, SEGV_ACCERR, address};
    return (struct trap_fault){SIGBUS, BUS_ADRERR, address}; /* past the end of a file */
}
