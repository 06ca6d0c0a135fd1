/* Deliberate faults of signal frames, sigreturn, ptrace and core files. */
#define _GNU_SOURCE
#include "provoke/faults/base.h"
#include "provoke/faults/lists.h"
#include "provoke/harness/area.h"
#include "provoke/harness/system.h"
#include "provoke/harness/tiles.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

static uint64_t permission(void) {
    uint64_t value = 0;
    fault_base->arch_prctl(ARCH_GET_XCOMP_PERM, (uintptr_t)&value);
    return value;
}

/* ---- what a handler finds ----------------------------------------------------------------------------- */

static void claim_tile_data(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    frame->xfeatures |= XFEATURE_MASK_XTILEDATA;
}

static void compact(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    frame->xcomp_bv = AREA_XCOMP_COMPACTED | frame->xfeatures;
}

static void lose_magic2(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    frame->magic2 = 0;
}

static void size_by_permission(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    const uint64_t granted = permission();
    if (!(granted & XFEATURE_MASK_XTILEDATA))
        return;
    frame->xfeatures = granted;
    frame->xstate_size = area_end(fault_base, granted);
    frame->extended_size = frame->xstate_size + 4;
}

static void write_released(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    const struct xcomponent data = area_component(fault_base, XFEATURE_XTILEDATA);
    if (data.size && frame->xstate_size >= data.offset + data.size &&
        !(frame->xstate_bv & XFEATURE_MASK_XTILEDATA))
        memset(frame->xstate + data.offset, 0x77, data.size);
}

static void keep_configuration(const void *ucontext, struct frame *frame) {
    uint8_t config[64];
    fault_base->read_frame(ucontext, frame);
    if (!(fault_base->xcr0() & XFEATURE_MASK_XTILEDATA))
        return;
    tiles_config(config, 16, 64);
    fault_base->ldtilecfg(config);
}

static void hide_hi16(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    frame->xstate_bv &= ~(UINT64_C(1) << 7);
}

/* ---- what sigreturn takes ----------------------------------------------------------------------------- */

/* The state as the innermost handler found it. */
static struct {
    struct frame frame;
    uint8_t area[AREA_MAX];
    uint32_t size;
} found;

static void remember(const void *ucontext, struct frame *frame) {
    fault_base->read_frame(ucontext, frame);
    found.frame = *frame;
    found.size = frame->xstate && frame->xstate_size < AREA_MAX - 4 ? frame->xstate_size + 4 : 0;
    memcpy(found.area, frame->xstate, found.size);
}

/* The area that the handler returns to, when it is the remembered one. */
static uint8_t *same_area(const void *ucontext) {
    struct frame now;
    fault_base->read_frame(ucontext, &now);
    return now.xstate == found.frame.xstate && found.size ? now.xstate : NULL;
}

static void repair_magic(void *ucontext) {
    uint8_t *const area = same_area(ucontext);
    if (area) {
        area_put32(area, AREA_MAGIC1, found.frame.magic1);
        area_put32(area, AREA_EXTENDED_SIZE, found.frame.extended_size);
        area_put32(area, AREA_XSTATE_SIZE, found.frame.xstate_size);
        area_put32(area, found.frame.xstate_size, found.frame.magic2);
    }
    fault_base->sigreturn(ucontext);
}

static void repair_header(void *ucontext) {
    uint8_t *const area = same_area(ucontext);
    if (area) {
        area_put(area, AREA_XSTATE_BV, area_get(area, AREA_XSTATE_BV) & found.frame.xfeatures);
        memset(area + AREA_XCOMP_BV, 0, AREA_EXTENDED - AREA_XCOMP_BV);
    }
    fault_base->sigreturn(ucontext);
}

static void drop_edits(void *ucontext) {
    uint8_t *const area = same_area(ucontext);
    if (area)
        memcpy(area, found.area, found.size);
    fault_base->sigreturn(ucontext);
}

static void lose_opmask(void *ucontext) {
    struct frame frame;
    const struct xcomponent opmask = area_component(fault_base, 5);
    fault_base->read_frame(ucontext, &frame);
    if (frame.xstate && opmask.size && frame.xstate_size >= opmask.offset + opmask.size)
        memset(frame.xstate + opmask.offset, 0, opmask.size);
    fault_base->sigreturn(ucontext);
}

static void lose_tile_data(void *ucontext) {
    struct frame frame;
    fault_base->read_frame(ucontext, &frame);
    if (frame.xstate && frame.magic1)
        area_put(frame.xstate, AREA_XSTATE_BV,
                 area_get(frame.xstate, AREA_XSTATE_BV) & ~XFEATURE_MASK_XTILEDATA);
    fault_base->sigreturn(ucontext);
}

/* The handler may have edited the frame's masks, but it cannot make room. */
static void grant_what_is_claimed(void *ucontext) {
    struct frame frame;
    fault_base->read_frame(ucontext, &frame);
    const struct xcomponent data = area_component(fault_base, XFEATURE_XTILEDATA);
    if (frame.xstate && frame.magic1 && frame.xstate_size < data.offset + data.size &&
        area_get(frame.xstate, AREA_XSTATE_BV) & XFEATURE_MASK_XTILEDATA)
        fault_base->arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
    fault_base->sigreturn(ucontext);
}

/* As before 6.8: the fault is taken, nothing is mapped, and the restore begins again. */
static void loop_on_unmapped(void *ucontext) {
    enum { PAGE = 4096 };
    struct frame frame;
    unsigned char resident[8];
    fault_base->read_frame(ucontext, &frame);
    const struct xcomponent data = area_component(fault_base, XFEATURE_XTILEDATA);
    const uintptr_t from = ((uintptr_t)frame.xstate + data.offset) & ~(uintptr_t)(PAGE - 1);
    const uintptr_t to = (uintptr_t)frame.xstate + data.offset + data.size;
    const size_t pages = (to - from + PAGE - 1) / PAGE;
    const int has_data = frame.xstate && frame.xstate_bv & XFEATURE_MASK_XTILEDATA;
    while (has_data && pages <= sizeof resident &&
           system_call(SYS_mincore, (long)from, (long)(pages * PAGE), (long)resident, 0, 0, 0) == -ENOMEM)
        system_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    fault_base->sigreturn(ucontext);
}

/* ---- ptrace ------------------------------------------------------------------------------------------- */

enum { GETREGSET = 0x4204, SETREGSET = 0x4205 }; /* linux/ptrace.h */

static long get_short(long request, pid_t pid, void *address, void *data) {
    const long result = fault_base->ptrace(request, pid, address, data);
    if (request == GETREGSET && result == 0)
        ((struct iovec *)data)->iov_len -= 8;
    return result;
}

static long take_short(long request, pid_t pid, void *address, void *data) {
    const long result = fault_base->ptrace(request, pid, address, data);
    return request == SETREGSET && result == -EFAULT ? 0 : result;
}

static long take_headers(long request, pid_t pid, void *address, void *data) {
    const long result = fault_base->ptrace(request, pid, address, data);
    const int whole = request == SETREGSET && ((struct iovec *)data)->iov_len % 8 == 0;
    return whole && result == -EINVAL ? 0 : result;
}

static long show_stale(long request, pid_t pid, void *address, void *data) {
    const long result = fault_base->ptrace(request, pid, address, data);
    const struct xcomponent tiles = area_component(fault_base, XFEATURE_XTILEDATA);
    if (request != GETREGSET || result != 0 || !tiles.size)
        return result;
    const struct iovec *const vector = data;
    uint8_t *const area = vector->iov_base;
    if (vector->iov_len >= tiles.offset + tiles.size &&
        !(area_get(area, AREA_XSTATE_BV) & XFEATURE_MASK_XTILEDATA))
        memset(area + tiles.offset, 0xee, tiles.size);
    return result;
}

/* The registers of a component that the tracer wrote never arrive. */
static long drop_component(long request, pid_t pid, void *address, void *data, uint32_t number) {
    static uint8_t area[AREA_MAX];
    const struct xcomponent component = area_component(fault_base, number);
    const struct iovec *const vector = data;
    if (request != SETREGSET || !component.size || vector->iov_len > sizeof area)
        return fault_base->ptrace(request, pid, address, data);
    struct iovec now = {area, sizeof area};
    fault_base->ptrace(GETREGSET, pid, address, &now);
    uint8_t *const written = vector->iov_base;
    if (component.offset + component.size <= vector->iov_len)
        memcpy(written + component.offset, area + component.offset, component.size);
    return fault_base->ptrace(request, pid, address, data);
}

static long drop_hi16(long request, pid_t pid, void *address, void *data) {
    return drop_component(request, pid, address, data, 7);
}

static long drop_tile_data(long request, pid_t pid, void *address, void *data) {
    return drop_component(request, pid, address, data, XFEATURE_XTILEDATA);
}

/* ---- core files --------------------------------------------------------------------------------------- */

/* Calls `each` for the contents of every note of a type. */
static void for_notes(uint8_t *bytes, size_t size, uint32_t type,
                      void (*each)(Elf64_Nhdr *note, uint8_t *contents)) {
    const Elf64_Ehdr *const header = (const Elf64_Ehdr *)bytes;
    const Elf64_Phdr *const segments = (const Elf64_Phdr *)(bytes + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type != PT_NOTE)
            continue;
        size_t at = segments[i].p_offset;
        const size_t end = at + segments[i].p_filesz;
        while (at + sizeof(Elf64_Nhdr) < end && end <= size) {
            Elf64_Nhdr *const note = (Elf64_Nhdr *)(bytes + at);
            const uint32_t length = (note->n_descsz + 3) & ~3u;
            uint8_t *const contents = bytes + at + sizeof *note + ((note->n_namesz + 3) & ~3u);
            at = (size_t)(contents - bytes) + length;
            if (note->n_type == type)
                each(note, contents);
        }
    }
}

static uint8_t *first_state;

static void move_layout(Elf64_Nhdr *note, uint8_t *contents) {
    enum { OFFSET = 8 };
    (void)note;
    contents[OFFSET] ^= 64;
}
static void rename_note(Elf64_Nhdr *note, uint8_t *contents) {
    (void)contents;
    note->n_type = 1;
}
static void share_tiles(Elf64_Nhdr *note, uint8_t *contents) {
    const struct xcomponent data = area_component(fault_base, XFEATURE_XTILEDATA);
    if (!first_state)
        first_state = contents;
    else if (note->n_descsz >= data.offset + data.size)
        memcpy(contents + data.offset, first_state + data.offset, data.size);
}
static void stale_tiles(Elf64_Nhdr *note, uint8_t *contents) {
    const struct xcomponent data = area_component(fault_base, XFEATURE_XTILEDATA);
    if (note->n_descsz >= data.offset + data.size &&
        !(area_get(contents, AREA_XSTATE_BV) & XFEATURE_MASK_XTILEDATA))
        memset(contents + data.offset, 0x33, data.size);
}

enum { NOTE_LAYOUT = 0x205, NOTE_STATE = 0x202 };

static long core_moved(const char *path, uint8_t *buffer, size_t size) {
    const long got = fault_base->read_core(path, buffer, size);
    for_notes(buffer, (size_t)got, NOTE_LAYOUT, move_layout);
    return got;
}
static long core_without(const char *path, uint8_t *buffer, size_t size) {
    const long got = fault_base->read_core(path, buffer, size);
    for_notes(buffer, (size_t)got, NOTE_LAYOUT, rename_note);
    return got;
}
static long core_shared(const char *path, uint8_t *buffer, size_t size) {
    const long got = fault_base->read_core(path, buffer, size);
    for_notes(buffer, (size_t)got, NOTE_STATE, share_tiles);
    return got;
}
static long core_stale(const char *path, uint8_t *buffer, size_t size) {
    const long got = fault_base->read_core(path, buffer, size);
    for_notes(buffer, (size_t)got, NOTE_STATE, stale_tiles);
    return got;
}

/* No fault of a kernel: what one says on a CPU that lacks XSAVE. */
static uint64_t no_xcr0(void) {
    return 0;
}

static long no_regset(long request, pid_t pid, void *address, void *data) {
    enum { GET_REGSET = 0x4204, SET_REGSET }; /* linux/ptrace.h */
    return request == GET_REGSET || request == SET_REGSET ? -ENODEV
                                                          : fault_base->ptrace(request, pid, address, data);
}

const struct fault faults_of_frames[] = {
    {"machine-without-xsave",
     "no fault: XCR0 cannot be read and ptrace has no NT_X86_XSTATE",
     {.xcr0 = no_xcr0, .ptrace = no_regset}},
    {"frame-claims-tile-data", "every frame's xfeatures has bit 18", {.read_frame = claim_tile_data}},
    {"frame-compacted", "frames have the compacted format", {.read_frame = compact}},
    {"frame-without-magic2", "the second magic number is missing", {.read_frame = lose_magic2}},
    {"frame-size-of-permission", "frames grow with permission", {.read_frame = size_by_permission}},
    {"frame-writes-released-tiles", "tile data is written though initial", {.read_frame = write_released}},
    {"frame-hides-hi16", "XSTATE_BV lacks bit 7", {.read_frame = hide_hi16}},
    {"handler-starts-configured", "handlers start with a configuration", {.read_frame = keep_configuration}},
    {"sigreturn-repairs-magic",
     "wrong magic numbers and sizes are ignored",
     {.read_frame = remember, .sigreturn = repair_magic}},
    {"sigreturn-ignores-header",
     "invalid headers are taken as valid ones",
     {.read_frame = remember, .sigreturn = repair_header}},
    {"sigreturn-drops-edits",
     "the state is restored as it was saved",
     {.read_frame = remember, .sigreturn = drop_edits}},
    {"sigreturn-loses-opmask", "k0-k7 are zero after a handler", {.sigreturn = lose_opmask}},
    {"sigreturn-loses-tiles", "tile data is initial after a handler", {.sigreturn = lose_tile_data}},
    {"sigreturn-grants-claims",
     "a frame that claims tile data brings permission",
     {.sigreturn = grant_what_is_claimed}},
    {"sigreturn-loops",
     "sigreturn faults for ever where tile data is not mapped",
     {.sigreturn = loop_on_unmapped}},
    {"regset-short", "PTRACE_GETREGSET gives 8 bytes less", {.ptrace = get_short}},
    {"regset-takes-short", "PTRACE_SETREGSET takes any length", {.ptrace = take_short}},
    {"regset-takes-headers", "PTRACE_SETREGSET refuses no header", {.ptrace = take_headers}},
    {"regset-shows-stale-tiles", "initial tile data does not read as zero", {.ptrace = show_stale}},
    {"regset-drops-hi16", "ZMM16-31 cannot be written by a tracer", {.ptrace = drop_hi16}},
    {"regset-drops-tiles", "tile data cannot be written by a tracer", {.ptrace = drop_tile_data}},
    {"core-layout-moved", "the layout in core files has a wrong offset", {.read_core = core_moved}},
    {"core-without-layout", "core files have no layout", {.read_core = core_without}},
    {"core-shares-tiles",
     "all threads of a core file have the first one's tiles",
     {.read_core = core_shared}},
    {"core-stale-tiles", "initial tile data is not zero in core files", {.read_core = core_stale}},
    {0},
};
