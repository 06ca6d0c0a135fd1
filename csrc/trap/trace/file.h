/* The file in which the executed AMX instructions of one process are counted: DIRECTORY/PID.trace, mapped and
 * shared, so that what was counted outlives the process however it ends. amx/emulation/trace_file.py reads
 * it.
 *
 * A header, then four tables at the offsets that the header names. All is zero at first; numbers are little
 * endian. Nothing here is ever locked: an entry is claimed (USED_PARTLY), filled, and then published (USED).
 * Entries that two threads claimed for the same thing at the same time are both right, and added up by the
 * reader. What finds no room in a table is counted in the header.
 *
 * The file is sparse. A page of it is touched when it has blocks, the first ones from the beginning on, since
 * a full disk would end the process by SIGBUS otherwise. Where there are no more, the tables are full.
 */
#ifndef TRAP_TRACE_FILE_H
#define TRAP_TRACE_FILE_H

#include "emulator/emulator.h"

#include <stdatomic.h>
#include <stdint.h>

enum { TRACE_VERSION = 2 };
#define TRACE_MAGIC "AMXTRACE"
enum { TRACE_THREADS = 256, TRACE_CONFIGS = 512, TRACE_MODULES = 256, TRACE_SITES = 16384 };
enum { TRACE_OPS = 64, TRACE_PATH = 448, TRACE_COMMAND = 1024, TRACE_DIMENSIONS = 3 };
enum { TRACE_PAGE = 4096, TRACE_PAGE_WORDS = 8 };
enum { TRACE_FREE = 0, TRACE_USED_PARTLY, TRACE_USED };

struct trace_table {
    uint32_t offset, entries, entry_bytes, padding;
};

struct trace_header {
    char magic[8];
    uint32_t version;
    int32_t pid, parent;
    _Atomic int32_t error; /* the errno for which the tables could not grow; 0: they could */
    int64_t started;       /* nanoseconds since 1970 */
    struct trace_table threads, configs, modules, sites;
    /* What found no room: threads and configurations, code in unknown modules, and instructions (by enum
     * amxemu_op) without a site. */
    _Atomic uint64_t lost_threads, lost_configs, lost_modules;
    _Atomic uint64_t lost_instructions[TRACE_OPS];
    char executable[TRACE_PATH];
    char command[TRACE_COMMAND];              /* arguments, each ended by NUL, as many as fit */
    _Atomic uint64_t pages[TRACE_PAGE_WORDS]; /* a bit for each page of the file that has blocks */
};

struct trace_thread {
    _Atomic int32_t id;      /* as gettid; 0: free */
    _Atomic uint32_t config; /* 1 + the configuration it loaded last; 0: none since TILERELEASE */
    _Atomic uint64_t instructions;
    _Atomic uint64_t configured; /* LDTILECFG */
    _Atomic uint64_t changed;    /* those that left another configuration than was there */
    _Atomic uint64_t released;   /* TILERELEASE */
};

struct trace_config {
    _Atomic uint32_t state;
    uint32_t padding;
    uint8_t image[AMXEMU_CONFIG_BYTES]; /* as STTILECFG would write it */
    _Atomic uint64_t loads;
    _Atomic uint64_t changes; /* of a thread's configuration, to this */
};

/* A mapping with code, as in /proc/PID/maps. */
struct trace_module {
    _Atomic uint32_t state;
    uint32_t device_major, device_minor;
    uint32_t padding;
    uint64_t start, end, offset, inode;
    char path[TRACE_PATH]; /* empty for anonymous memory; cut where it is longer */
};

/* An instruction at an address; where code is overwritten, there are several at one. */
struct trace_site {
    _Atomic uint32_t state;
    uint32_t module; /* 1 + its number; 0: unknown */
    uint64_t address;
    uint64_t insn[2]; /* trace_pack() */
    _Atomic uint64_t executed;
    _Atomic uint64_t faults; /* raised a signal instead */
    /* Of a product its multiply-adds, of a load or store of a tile its bytes; others 0. */
    _Atomic uint64_t work;
    /* Smallest and largest, smallest 255 before the first. Of a product M, N, K in elements of the tiles:
     * rows of d, columns of d, bytes of a row of a. Else rows and colsb of the tile. */
    _Atomic uint8_t low[TRACE_DIMENSIONS], high[TRACE_DIMENSIONS];
    uint8_t padding[2];
};

_Static_assert(sizeof(struct trace_site) == 64, "one cache line");
_Static_assert((int)AMXEMU_NAMED_OPS <= TRACE_OPS, "every instruction has a place");

/* All that tells instructions apart. */
void trace_pack(const struct amxemu_insn *insn, uint64_t packed[2]);

#endif
