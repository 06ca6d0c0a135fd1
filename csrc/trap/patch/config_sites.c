#define _GNU_SOURCE
#include "trap/patch/config_sites.h"

#include "emulator/emulator.h"
#include "trap/code/insn_length.h"

#include <errno.h>
#include <link.h>
#include <sys/mman.h>

/* ---- which object ---- */

struct search {
    uint64_t address;
    struct config_sites *sites;
};

static int holds_address(struct dl_phdr_info *info, size_t size, void *context) {
    const struct search *const search = context;
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *const h = &info->dlpi_phdr[i];
        const uint64_t begin = info->dlpi_addr + h->p_vaddr;
        if (h->p_type != PT_LOAD || search->address < begin || search->address - begin >= h->p_memsz)
            continue;
        search->sites->image = (struct code_image){
            .base = info->dlpi_addr, .headers = info->dlpi_phdr, .count = info->dlpi_phnum};
        search->sites->is_generated = 0;
        return 1;
    }
    return 0;
}

/* Of a mapping, what may be one piece of code: more of it may be generated at any time, and is looked at
 * then. */
enum { FAR = 1 << 16 };

int config_sites_locate(uint64_t address, struct config_sites *sites) {
    struct search search = {address, sites};
    struct mapping *const m = &sites->generated;
    if (dl_iterate_phdr(holds_address, &search))
        return 0;
    sites->is_generated = 1;
    const int error = mapping_at(address, m);
    if (error != 0)
        return error;
    if (!(m->protection & PROT_READ))
        return -EACCES;
    if (address - m->start > FAR)
        m->start = address - FAR;
    if (m->end - address > FAR)
        m->end = address + FAR;
    return 0;
}

/* ---- in generated code ---- */

static unsigned config_length(const uint8_t *code, size_t size) {
    struct amxemu_insn insn;
    if (amxemu_decode(code, size, &insn) != AMXEMU_VALID || insn.op > AMXEMU_TILERELEASE)
        return 0;
    return insn.length;
}

/* Whether decoding goes from `at` to an instruction that begins at `place`: 1, or 0 where it goes past; -1
 * where it meets what is no instruction. */
static int arrives(const uint8_t *at, const uint8_t *place, const uint8_t *end) {
    while (at < place) {
        const unsigned length = insn_length(at, (size_t)(end - at));
        if (length == 0)
            return -1;
        at += length;
    }
    return at == place;
}

/* There are no boundaries to start from. But wherever decoding starts, it soon falls into step with the real
 * instructions: nearly all ways lead to one of them, and nearly none to bytes inside of one. */
static int is_boundary(const uint8_t *begin, const uint8_t *place, const uint8_t *end) {
    enum { WAYS = 48, FEW = 16 };
    int there = 0, past = 0;
    if (place - begin < FEW)
        return arrives(begin, place, end) == 1;
    for (const uint8_t *at = place - begin > WAYS ? place - WAYS : begin; at < place; at++) {
        const int arrival = arrives(at, place, end);
        there += arrival == 1;
        past += arrival == 0;
    }
    return there > 3 * past;
}

static size_t find_in(const struct mapping *m, const struct code_sink *sink) {
    const uint8_t *const begin = (const uint8_t *)(uintptr_t)m->start;
    const uint8_t *const end = (const uint8_t *)(uintptr_t)m->end;
    size_t unknown = 0;
    for (const uint8_t *at = begin; at < end; at++) {
        const unsigned length = *at == 0xC4 || *at == 0x62 ? config_length(at, (size_t)(end - at)) : 0;
        if (length != 0 && is_boundary(begin, at, end))
            sink->site(sink->context, CODE_AMX_CONFIG, at, length);
        else
            unknown += length != 0;
    }
    return unknown;
}

size_t config_sites_find(const struct config_sites *sites, const struct code_sink *sink) {
    return sites->is_generated ? find_in(&sites->generated, sink)
                               : code_scan(&sites->image, CODE_AMX_CONFIG, sink);
}
