#include "trap/patch/patch.h"

#include "trap/code/mapping.h"
#include "trap/code/write.h"
#include "trap/patch/config_sites.h"
#include "trap/thread/memory.h"
#include "trap/thread/native_config.h"
#include "trap/thread/thread.h"
#include "trap/patch/thunk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what is known: records, found by hashing the address ---- */

enum state {
    TRAPPING,    /* the program's own instruction stands there */
    UNPATCHABLE, /* the same, and it will */
    STOPPED,     /* an INT3, for the moment or for good */
    PATCHED,
    RESTORED, /* the program's own again; a thread may still be on its way from an INT3 to the handler */
};

struct site {
    _Atomic uint64_t address; /* 0: a free record */
    _Atomic int state;
    unsigned session; /* in which it trapped last */
    uint8_t original[CODE_BYTES_WRITTEN];
    struct amxemu_insn insn;
    struct trap_thunk *thunk;
};

enum { SLOTS = 1 << 16, MAX_SITES = SLOTS / 2, NEVER_USED = 0, REMOVED = SLOTS - 1 };
static struct site sites[MAX_SITES];
static _Atomic uint16_t slots[SLOTS]; /* NEVER_USED, REMOVED, or 1 + a record's number */
static unsigned site_count;           /* records ever used */
static unsigned freed;                /* of them, and not used again yet */
static unsigned session;
static int wanted, hybrid, possible;
static int is_told; /* before code can be written */

static unsigned first_slot(uint64_t address) {
    return (unsigned)(address * UINT64_C(0x9E3779B97F4A7C15) >> 48);
}

static struct site *find(uint64_t address) {
    for (unsigned i = 0, at = first_slot(address); i < SLOTS; i++, at = (at + 1) % SLOTS) {
        const unsigned number = atomic_load_explicit(&slots[at], memory_order_acquire);
        if (number == NEVER_USED)
            return NULL;
        if (number != REMOVED && sites[number - 1].address == address)
            return &sites[number - 1];
    }
    return NULL;
}

static void add(uint64_t address, unsigned number) {
    unsigned at = first_slot(address);
    while (slots[at] != NEVER_USED && slots[at] != REMOVED)
        at = (at + 1) % SLOTS;
    atomic_store_explicit(&slots[at], (uint16_t)number, memory_order_release);
}

static void remove_slot(uint64_t address, unsigned number) {
    unsigned at = first_slot(address);
    while (slots[at] != number)
        at = (at + 1) % SLOTS;
    atomic_store_explicit(&slots[at], REMOVED, memory_order_release);
}

static size_t read_code(uint64_t address, void *code, size_t size) {
    return trap_own_memory.read(NULL, address, code, size);
}

static void jump_of(const struct site *site, uint8_t jump[CODE_BYTES_WRITTEN]) {
    const uint64_t distance = trap_thunk_code(site->thunk) - (site->address + CODE_BYTES_WRITTEN);
    const uint32_t rel32 = (uint32_t)distance;
    jump[0] = JMP;
    memcpy(jump + 1, &rel32, sizeof rel32);
}

/* Whether there still stands what stood there last: code is unmapped, and its makers replace it. */
static int stands(const struct site *site) {
    const int state = site->state;
    uint8_t code[CODE_BYTES_WRITTEN], jump[CODE_BYTES_WRITTEN];
    if (read_code(site->address, code, sizeof code) < sizeof code)
        return 0;
    switch (state) {
    case STOPPED:
        return code[0] == INT3;
    case PATCHED:
        jump_of(site, jump);
        return memcmp(code, jump, sizeof code) == 0;
    default:
        return memcmp(code, site->original, sizeof code) == 0;
    }
}

/* Forgets the sites whose code is gone. */
static void sweep(void) {
    for (unsigned i = 0; i < MAX_SITES; i++) {
        struct site *const site = &sites[i];
        if (site->address == 0 || stands(site))
            continue;
        remove_slot(site->address, i + 1);
        site->address = 0;
        freed++;
        if (site->thunk != NULL)
            trap_thunk_free(site->thunk);
    }
}

/* MAX_SITES where all are in use. Not every attempt is worth a look at all of them. */
static unsigned free_record(void) {
    enum { ATTEMPTS = 1024 };
    static unsigned attempts;
    if (site_count < MAX_SITES)
        return site_count++;
    if (freed == 0 && attempts++ % ATTEMPTS == 0)
        sweep();
    if (freed == 0)
        return MAX_SITES;
    freed--;
    unsigned i = 0;
    while (sites[i].address != 0)
        i++;
    return i;
}

/* NULL where there are too many. */
static struct site *record_of(uint64_t address) {
    struct site *site = find(address);
    if (site != NULL)
        return site;
    const unsigned number = free_record();
    if (number == MAX_SITES)
        return NULL;
    site = &sites[number];
    site->state = TRAPPING;
    site->session = session;
    site->thunk = NULL;
    site->address = address;
    add(address, number + 1);
    return site;
}

/* ---- patching and restoring, under trap_lock() ---- */

/* Whether it stays as it is, as far as can be known. What would not trap is patched in any generated code: it
 * would compute something wrong. */
static int is_settled(const struct site *site) {
    const int must_be = hybrid && site->insn.op <= AMXEMU_TILERELEASE;
    struct mapping m;
    return mapping_at(site->address, &m) == 0 && (m.protection & (PROT_WRITE | PROT_EXEC)) == PROT_EXEC &&
           (!m.anonymous || is_told || must_be);
}

static void patch(struct site *site) {
    const int can_be = !site->insn.apx && is_settled(site); /* r16-r31 are not at hand in a thunk */
    if (site->thunk == NULL && can_be)
        site->thunk = trap_thunk_new(site->address);
    if (site->thunk == NULL || !can_be) {
        site->state = UNPATCHABLE;
        return;
    }
    trap_thunk_set(site->thunk, site->address, &site->insn);
    struct code_write jump = {.address = site->address};
    jump_of(site, jump.bytes);
    site->state = STOPPED; /* before anybody can meet the INT3 */
    code_write(&jump, 1);
    if (jump.outcome != CODE_STOPPED)
        site->state = jump.outcome == CODE_WRITTEN ? PATCHED : UNPATCHABLE;
}

static int is_changed(const struct site *site) {
    return site->address != 0 && (site->state == STOPPED || site->state == PATCHED);
}

/* An instruction that trapped, or that the CPU would execute itself; patched where that is wanted. */
static struct site *see(uint64_t address, const struct amxemu_insn *insn, int shall_be_patched) {
    struct site *const site = record_of(address);
    if (site == NULL || (is_changed(site) && stands(site)) ||
        read_code(address, site->original, sizeof site->original) < sizeof site->original)
        return site;
    site->session = session;
    site->insn = *insn;
    site->state = possible ? TRAPPING : UNPATCHABLE;
    if (shall_be_patched && possible)
        patch(site);
    return site;
}

/* ---- what does not trap: configuration instructions of a CPU that has them ---- */

/* An LDTILECFG that the CPU executes is noticed later (native_config.h); a TILERELEASE is not, which shows
 * only in a program that then uses tiles without configuring them. An STTILECFG would store what is not the
 * program's configuration. */
static void need(const struct site *site, const struct amxemu_insn *insn) {
    static const char message[] = "amx: an STTILECFG cannot be patched, and does not trap on this CPU\n";
    if (insn->op != AMXEMU_STTILECFG || !trap_has_native_config() || (site != NULL && is_changed(site)))
        return;
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
        _exit(1);
    abort();
}

static void see_config(void *context, enum code_kind kind, const uint8_t *at, unsigned length) {
    const uint64_t address = (uintptr_t)at;
    struct amxemu_insn insn;
    (void)context, (void)kind;
    if (trap_is_native_config_code(address) || amxemu_decode(at, length, &insn) != AMXEMU_VALID)
        return;
    need(see(address, &insn, 1), &insn);
}

/* Objects that were looked through, by their program headers; more than these are again and again. */
enum { OBJECTS = 256 };
static const void *looked_through[OBJECTS];
static unsigned object_count, unplaced;

static int is_done(const struct config_sites *around) {
    if (around->is_generated)
        return 0;
    for (unsigned i = 0; i < object_count; i++)
        if (looked_through[i] == around->image.headers)
            return 1;
    if (object_count < OBJECTS)
        looked_through[object_count++] = around->image.headers;
    return 0;
}

static void see_configs(const struct config_sites *around) {
    static const struct code_sink sink = {see_config, NULL};
    if (!is_done(around))
        unplaced += (unsigned)config_sites_find(around, &sink);
}

void trap_site_seen(uint64_t rip, const struct amxemu_insn *insn) {
    const struct site *const known = find(rip);
    if (known != NULL && known->session == session &&
        (known->state == UNPATCHABLE || (known->state == TRAPPING && !wanted)))
        return;
    struct config_sites around;
    const int has_others = hybrid && config_sites_locate(rip, &around) == 0;
    const uint64_t mask = trap_lock();
    const struct site *const before = find(rip);
    if (before != NULL && is_changed(before) && !stands(before))
        object_count = 0; /* another object is where one was that had been looked through */
    if (has_others && possible)
        see_configs(&around);
    see(rip, insn, wanted);
    trap_unlock(mask);
}

/* ---- giving back ---- */

/* As many sites in one round as their writes take a kilobyte of the stack. */
enum { ROUND = 64 };

static void restore(struct site *const *changed, size_t count) {
    struct code_write originals[ROUND];
    int before[ROUND];
    for (size_t i = 0; i < count; i++) {
        before[i] = changed[i]->state;
        originals[i].address = changed[i]->address;
        memcpy(originals[i].bytes, changed[i]->original, sizeof originals[i].bytes);
        changed[i]->state = STOPPED;
    }
    code_write(originals, count);
    for (size_t i = 0; i < count; i++)
        if (originals[i].outcome != CODE_STOPPED)
            changed[i]->state = originals[i].outcome == CODE_WRITTEN ? RESTORED : before[i];
}

static int is_within(const struct site *site, uint64_t address, size_t size) {
    return site->address != 0 && site->address + CODE_BYTES_WRITTEN > address &&
           (site->address < address || site->address - address < size);
}

static void restore_within(uint64_t address, size_t size) {
    struct site *changed[ROUND];
    size_t count = 0;
    for (unsigned i = 0; i < site_count; i++) {
        struct site *const site = &sites[i];
        if (!is_within(site, address, size))
            continue;
        if (site->state == UNPATCHABLE)
            site->state = TRAPPING;
        else if (is_changed(site) && stands(site))
            changed[count++] = site;
        if (count == ROUND) {
            restore(changed, count);
            count = 0;
        }
    }
    if (count > 0)
        restore(changed, count);
}

void trap_patch_stop(void) {
    const uint64_t mask = trap_lock();
    wanted = hybrid = 0;
    restore_within(0, SIZE_MAX);
    trap_unlock(mask);
}

/* ---- code whose mapping changes ---- */

void trap_patch_generated(void) {
    is_told = 1;
}

/* What could not be restored before, for want of a descriptor for one, and can be written now. */
static void overwrite_within(uint64_t address, size_t size) {
    for (unsigned i = 0; i < site_count; i++)
        if (is_within(&sites[i], address, size) && is_changed(&sites[i]) && stands(&sites[i]) &&
            trap_own_memory.write(NULL, sites[i].address, sites[i].original, CODE_BYTES_WRITTEN) ==
                CODE_BYTES_WRITTEN)
            sites[i].state = RESTORED;
}

long trap_patch_remap(uint64_t address, size_t size, long number, const long arguments[5]) {
    /* A handler of the program, for a signal that somebody sent amid our work */
    const int is_amid_our_work = trap_is_locked_here();
    const uint64_t mask = is_amid_our_work ? 0 : trap_lock();
    if (!is_amid_our_work)
        restore_within(address, size);
    const long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]);
    const int error = errno;
    if (!is_amid_our_work) {
        if (result != -1)
            overwrite_within(address, size);
        trap_unlock(mask);
    }
    errno = error;
    return result;
}

/* ---- the session ---- */

int trap_patch_start(int enabled, int is_hybrid) {
    const uint64_t mask = trap_lock();
    session++;
    wanted = enabled;
    hybrid = is_hybrid;
    possible = (!enabled && !hybrid) || (trap_thunk_prepare() == 0 && code_write_prepare() == 0);
    object_count = unplaced = 0;
    trap_unlock(mask);
    return hybrid && trap_has_native_config() && !possible ? -ENOTSUP : 0;
}

void trap_patch_count(struct amx_trap_counts *counts) {
    counts->sites = counts->patched = counts->unpatchable = 0;
    const uint64_t mask = trap_lock();
    for (unsigned i = 0; i < site_count; i++) {
        const struct site *const site = &sites[i];
        if (site->address == 0 || site->session != session)
            continue;
        counts->sites++;
        counts->patched += site->state == PATCHED || site->state == RESTORED;
        counts->unpatchable += site->state == UNPATCHABLE || site->state == STOPPED;
    }
    counts->sites += unplaced;
    counts->unpatchable += unplaced;
    trap_unlock(mask);
}

/* ---- questions of the signal handlers ---- */

int trap_site_at(uint64_t rip, struct amxemu_insn *insn) {
    enum { MAX_INSTRUCTION = 15 };
    const struct site *const site = find(rip - 1);
    const int state = site == NULL ? TRAPPING : site->state;
    uint8_t now[MAX_INSTRUCTION];
    const size_t size = state < STOPPED ? 0 : read_code(rip - 1, now, sizeof now);
    if (size < CODE_BYTES_WRITTEN)
        return 0;
    if (now[0] == JMP || (state == STOPPED && now[0] == INT3)) {
        *insn = site->insn;
        return 1;
    }
    /* The program's own again, and to its last byte: what begins in the same way may be something else. Any
     * other code is somebody else's, or INT3. */
    return state != PATCHED && memcmp(now, site->original, sizeof site->original) == 0 &&
           amxemu_decode(now, size, insn) == AMXEMU_VALID;
}
