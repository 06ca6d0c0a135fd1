#include "trap/code/scan.h"

#include "emulator/emulator.h"
#include "trap/code/insn_length.h"
#include "trap/code/unwind_table.h"

#include <emmintrin.h>

/* ---- places that have the bytes
 * ----------------------------------------------------------------------------
 */

enum { LONGEST_PATTERN = 5, BLOCK = 16 };

static int is_cpuid(const uint8_t *code, size_t size) {
    return size >= 2 && code[0] == 0x0F && code[1] == 0xA2;
}

static int is_xgetbv(const uint8_t *code, size_t size) {
    return size >= 3 && code[0] == 0x0F && code[1] == 0x01 && code[2] == 0xD0;
}

/* VEX.0F38 49 and its EVEX form, TILEZERO included, up to the opcode. */
static int may_be_amx_config(const uint8_t *code, size_t size) {
    return (size >= 5 && code[0] == 0xC4 && code[3] == 0x49) ||
           (size >= 6 && code[0] == 0x62 && code[4] == 0x49);
}

static enum code_kind kind_of_bytes(const uint8_t *code, size_t size, unsigned kinds) {
    if (kinds & CODE_CPUID && is_cpuid(code, size))
        return CODE_CPUID;
    if (kinds & CODE_XGETBV && is_xgetbv(code, size))
        return CODE_XGETBV;
    if (kinds & CODE_AMX_CONFIG && may_be_amx_config(code, size))
        return CODE_AMX_CONFIG;
    return 0;
}

static __m128i equal(const uint8_t *at, uint8_t byte) {
    return _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8((char)byte));
}

/* Bit i: a pattern may begin at at[i]. Reads LONGEST_PATTERN - 1 bytes past the block. */
static unsigned likely(const uint8_t *at) {
    const __m128i two_byte =
        _mm_and_si128(equal(at, 0x0F), _mm_or_si128(equal(at + 1, 0xA2), equal(at + 1, 0x01)));
    const __m128i vex = _mm_and_si128(equal(at, 0xC4), equal(at + 3, 0x49));
    const __m128i evex = _mm_and_si128(equal(at, 0x62), equal(at + 4, 0x49));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(two_byte, _mm_or_si128(vex, evex)));
}

/* The first place from `at` on, or `end`. */
static const uint8_t *next_place(const uint8_t *at, const uint8_t *end, unsigned kinds) {
    while (end - at >= BLOCK + LONGEST_PATTERN - 1) {
        for (unsigned bits = likely(at); bits; bits &= bits - 1) {
            const uint8_t *const place = at + __builtin_ctz(bits);
            if (kind_of_bytes(place, (size_t)(end - place), kinds))
                return place;
        }
        at += BLOCK;
    }
    while (at < end && !kind_of_bytes(at, (size_t)(end - at), kinds))
        at++;
    return at;
}

/* ---- whether an instruction is there
 * ------------------------------------------------------------------------
 */

enum judgement { SITE, NO_SITE, UNKNOWN };

/* Decoding goes on where it stopped while places are of the same function. */
struct walk {
    struct code_range function;
    const uint8_t *at;
    struct unwind_search search;
};

static const uint8_t *bytes_at(uint64_t address) {
    return (const uint8_t *)(uintptr_t)address;
}

/* CPUID and XGETBV with their first byte overwritten by INT3, which is how they are made to trap, are still
 * as long: a second scan of the same code must not lose the boundaries. */
static unsigned length_at(const uint8_t *code, size_t size) {
    enum { INT3 = 0xCC };
    if (size >= 2 && code[0] == INT3 && code[1] == 0xA2)
        return 2;
    if (size >= 3 && code[0] == INT3 && code[1] == 0x01 && code[2] == 0xD0)
        return 3;
    return insn_length(code, size);
}

static int in_range(const struct code_range *range, const uint8_t *at) {
    return (uintptr_t)at >= range->begin && (uintptr_t)at < range->end;
}

static size_t left_in(const struct code_range *range, const uint8_t *at) {
    return (size_t)(range->end - (uintptr_t)at);
}

/* Moves to the instruction that holds `place`; its length, 0 if decoding fails before. */
static unsigned walk_to(struct walk *walk, const uint8_t *place) {
    while (unwind_take_work(&walk->search, 1)) {
        const unsigned length = length_at(walk->at, left_in(&walk->function, walk->at));
        if (length == 0 || walk->at + length > place)
            return length;
        walk->at += length;
    }
    return 0;
}

static int is_config(const uint8_t *code, size_t size) {
    struct amxemu_insn insn;
    return amxemu_decode(code, size, &insn) == AMXEMU_VALID &&
           (insn.op == AMXEMU_LDTILECFG || insn.op == AMXEMU_STTILECFG || insn.op == AMXEMU_TILERELEASE);
}

/* Whether a MOV of a small number is directly before: B8 or B9 for EAX or ECX, or with REX.W and C7. */
static int moves_number(const uint8_t *place, size_t before, unsigned reg) {
    enum { HIGHEST_LEAF = 0x3F, EXTENDED = 0x80 };
    const int is_mov = before >= 5 && place[-5] == (0xB8 | reg);
    const int is_wide = before >= 7 && place[-7] == 0x48 && place[-6] == 0xC7 && place[-5] == (0xC0 | reg);
    return (is_mov || is_wide) && place[-4] <= HIGHEST_LEAF && !(place[-3] | place[-2]) &&
           (place[-1] == 0 || place[-1] == EXTENDED);
}

/* Whether what is before the place reads as code that leads there: decoding x86 from a wrong byte falls into
 * step within a few instructions, so nearly all beginnings arrive in code, and a third of them in data. */
static int may_be_code(const uint8_t *place, size_t before, struct unwind_search *search) {
    enum { FARTHEST = 64, NEAREST = 16 };
    unsigned arrived = 0, tried = 0;
    for (size_t back = NEAREST; back <= FARTHEST && back <= before; back++) {
        const uint8_t *at = place - back;
        unsigned length = 1;
        while (at < place && unwind_take_work(search, 1) &&
               (length = length_at(at, (size_t)(place - at))) != 0)
            at += length;
        arrived += at == place && length != 0;
        tried++;
    }
    return 4 * arrived >= 3 * tried;
}

/* Outside of what the unwind tables name, only with what compilers put directly before: the zero in ECX that
 * XGETBV wants, a leaf in EAX for CPUID. The configuration instructions are long enough to be unmistakable.
 */
static enum judgement by_context(enum code_kind kind, const uint8_t *place, size_t before) {
    enum { EAX, ECX };
    const size_t xor_ecx =
        before >= 2 && (place[-2] == 0x31 || place[-2] == 0x33) && place[-1] == 0xC9 ? 2 : 0;
    switch (kind) {
    case CODE_XGETBV:
        return xor_ecx || (moves_number(place, before, ECX) && place[-4] == 0) ? SITE : UNKNOWN;
    case CODE_CPUID:
        return moves_number(place - xor_ecx, before - xor_ecx, EAX) ? SITE : UNKNOWN;
    case CODE_AMX_CONFIG:
        return SITE;
    }
    return UNKNOWN;
}

/* A function that its table places outside the segment is none. */
static int enter_function(const struct code_image *image, const struct code_range *segment, struct walk *walk,
                          const uint8_t *place) {
    if (in_range(&walk->function, place) && walk->at <= place)
        return 1;
    if (!unwind_function(image, (uintptr_t)place, &walk->function, &walk->search) ||
        walk->function.begin < segment->begin || walk->function.end > segment->end) {
        walk->function = (struct code_range){0};
        return 0;
    }
    walk->at = bytes_at(walk->function.begin);
    return 1;
}

/* For SITE, *at and *length are the instruction's, prefixes included. */
static enum judgement judge(const struct code_image *image, const struct code_range *extent,
                            const struct code_range *segment, struct walk *walk, enum code_kind kind,
                            const uint8_t *place, const uint8_t **at, unsigned *length) {
    if (!enter_function(image, segment, walk, place)) {
        *at = place;
        *length = insn_length(place, left_in(segment, place));
        if ((extent->begin && !in_range(extent, place)) ||
            (kind == CODE_AMX_CONFIG && !is_config(place, *length)))
            return NO_SITE;
        const size_t before = (size_t)((uintptr_t)place - segment->begin);
        const enum judgement judgement = by_context(kind, place, before);
        return judgement == UNKNOWN && !may_be_code(place, before, &walk->search) ? NO_SITE : judgement;
    }
    *length = walk_to(walk, place);
    *at = walk->at;
    if (*length == 0)
        return UNKNOWN;
    if (kind == CODE_AMX_CONFIG)
        return is_config(walk->at, *length) ? SITE : NO_SITE;
    for (const uint8_t *byte = walk->at; byte < place; byte++)
        if (!insn_is_prefix(*byte))
            return NO_SITE;
    return walk->at + *length == place + (kind == CODE_CPUID ? 2 : 3) ? SITE : NO_SITE;
}

static size_t scan_segment(const struct code_image *image, const struct code_range *extent,
                           const struct code_range *segment, unsigned kinds, struct walk *walk,
                           const struct code_sink *sink) {
    const uint8_t *const end = bytes_at(segment->end), *last = NULL;
    size_t unknown = 0;
    for (const uint8_t *place = next_place(bytes_at(segment->begin), end, kinds); place < end;
         place = next_place(place + 1, end, kinds)) {
        const enum code_kind kind = kind_of_bytes(place, (size_t)(end - place), kinds);
        const uint8_t *at;
        unsigned length;
        unwind_take_work(&walk->search, 1);
        const enum judgement judgement = judge(image, extent, segment, walk, kind, place, &at, &length);
        if (walk->search.work == 0)
            return unknown + 1;
        if (judgement == SITE && at != last) /* its bytes may occur in it once more */
            sink->site(sink->context, kind, at, length);
        last = judgement == SITE ? at : last;
        unknown += judgement == UNKNOWN;
    }
    return unknown;
}

size_t code_scan(const struct code_image *image, unsigned kinds, const struct code_sink *sink) {
    struct walk walk = {.search.work = CODE_WORK_MOST};
    const struct code_range extent = unwind_extent(image);
    size_t unknown = 0;
    for (size_t i = 0; i < image->count && walk.search.work; i++) {
        const Elf64_Phdr *const h = &image->headers[i];
        const uint64_t begin = image->base + h->p_vaddr;
        const struct code_range segment = {begin, begin + h->p_filesz};
        if (h->p_type == PT_LOAD && (h->p_flags & (PF_X | PF_R)) == (PF_X | PF_R))
            unknown += scan_segment(image, &extent, &segment, kinds, &walk, sink);
    }
    return unknown;
}
