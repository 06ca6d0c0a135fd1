/* The trace of this process. */
#define _GNU_SOURCE
#include "trap/trace/trace.h"

#include "trap/files/own_file.h"
#include "trap/files/unrecorded.h"
#include "trap/trace/layout.h"
#include "trap/trace/map.h"
#include "trap/trace/record.h"
#include "trap/trace/room.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

atomic_int trap_trace_is_on;

/* A place for one file after another, never unmapped: some thread may still be recording into the last. */
static struct trace_header *trace;
static char directory[TRACE_DIRECTORY];

/* Whether the file that is mapped is this process's. It stands in a page that is zeros in a forked child, so
 * that one which no atfork handler is called for opens its own file all the same. */
enum { CLOSED = 0, OPENING, OPEN, FAILED };
static atomic_int *state;
static _Atomic uint64_t dropped[TRACE_OPS]; /* recorded while another thread opened the file */

static void *map_anonymous(void *where, size_t size) {
    void *const at = mmap(where, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0), -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void add_dropped(void) {
    for (unsigned op = 0; op < TRACE_OPS; op++) {
        const uint64_t n = atomic_exchange(&dropped[op], 0);
        if (n != 0)
            atomic_fetch_add(&trace->lost_instructions[op], n);
    }
}

/* 0 or -errno, and -EAGAIN while another thread does it. */
static int open_own(void) {
    int seen = CLOSED;
    if (!atomic_compare_exchange_strong(state, &seen, OPENING))
        return seen == OPEN ? 0 : -EAGAIN;
    const int saved = errno;
    const int pid = (int)syscall(SYS_getpid), parent = (int)syscall(SYS_getppid);
    const int error = trap_trace_map(directory, pid, parent, trace);
    errno = saved;
    atomic_store(state, error == 0 ? OPEN : FAILED);
    if (error == 0)
        add_dropped();
    else
        unrecorded_add(OWN_TRACE, error);
    return error;
}

static int is_open(void) {
    return atomic_load_explicit(state, memory_order_acquire) == OPEN || open_own() == 0;
}

static void in_child(void) {
    if (atomic_load(&trap_trace_is_on)) {
        atomic_store(state, CLOSED); /* where the kernel did not */
        open_own();
    }
}

static int prepare(void) {
    if (state != NULL)
        return 0;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    trace = map_anonymous(NULL, sizeof(struct trace_layout));
    atomic_int *const found = trace ? map_anonymous(NULL, page) : NULL;
    if (found == NULL)
        return -ENOMEM;
    const int error = pthread_atfork(NULL, NULL, in_child);
    if (error != 0)
        return -error;
    (void)madvise(found, page, MADV_WIPEONFORK); /* before Linux 4.14 the atfork handler must do */
    state = found;
    return 0;
}

int trap_trace_open(const char *path) {
    if (strlen(path) >= sizeof directory)
        return -ENAMETOOLONG;
    int error = prepare();
    if (error != 0)
        return error;
    strcpy(directory, path);
    unrecorded_open(directory);
    memset((void *)dropped, 0, sizeof dropped);
    atomic_store(state, CLOSED);
    error = open_own();
    if (error == 0)
        atomic_store(&trap_trace_is_on, 1);
    return error;
}

void trap_trace_close(void) {
    if (!atomic_exchange(&trap_trace_is_on, 0))
        return;
    map_anonymous(trace, sizeof(struct trace_layout));
    own_mapping_guard(OWN_TRACE, NULL, 0);
    atomic_store(state, CLOSED);
}

void trap_trace_executed(int thread, const struct amxemu_insn *insn, uint64_t rip,
                         const struct amxemu_state *after, const struct trap_fault *fault) {
    if (is_open()) {
        trap_trace_record(trace, thread, insn, rip, after, fault);
        return;
    }
    atomic_fetch_add(&dropped[insn->op], fault->signal == 0);
    if (atomic_load(state) == OPEN)
        add_dropped();
}

void trap_trace_configured(int thread, const struct amxemu_state *tiles) {
    if (is_open())
        trap_trace_record_config(trace, thread, tiles);
}
