#define _GNU_SOURCE /* REG_RIP */
#include "trap/answers/announce.h"

#include "trap/host/cpu.h"
#include "trap/thread/memory.h"

#include <emmintrin.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { EAX, EBX, ECX, EDX };
enum { LEAF_FEATURES = 7, LEAF_EXTENDED_STATE = 0xD };

static const struct {
    const char *name;
    uint8_t subleaf, reg, bit; /* of leaf 7 */
} features[] = {
    {"avx512_fp16", 0, EDX, 23},
    {"avx512_bf16", 1, EAX, 5},
    {"avx_vnni", 1, EAX, 4},
};
enum { FP16, BF16, VNNI, FEATURES };
static unsigned announced; /* to all code: bits by index */

/* To these objects AVX512_FP16 is announced too. */
enum { OBJECTS = 64 };
static struct range {
    uint64_t begin, end;
} objects[OBJECTS];
static atomic_uint object_count;
static int looking;

static int has(const uint32_t leaf7[2][4], int feature) {
    return leaf7[features[feature].subleaf][features[feature].reg] >> features[feature].bit & 1;
}

/* AVX-512 as oneDNN wants it for its AMX kernels, but for AVX512_FP16 (cpu_isa_traits.hpp). */
static int lacks_fp16_alone(void) {
    enum { F = 1 << 16, DQ = 1 << 17, BW = 1 << 30, VNNI_512 = 1 << 11 };
    const uint32_t wanted = F | DQ | BW | UINT32_C(1) << 31; /* VL */
    const uint32_t states = 0xE6; /* XMM, YMM, opmask, both parts of ZMM: CPUID.D.0:EAX */
    uint32_t leaf0[4], state[4], leaf7[2][4];
    cpuid_of_host(0, 0, leaf0);
    if (leaf0[EAX] < LEAF_EXTENDED_STATE)
        return 0;
    cpuid_of_host(LEAF_FEATURES, 0, leaf7[0]);
    cpuid_of_host(LEAF_FEATURES, 1, leaf7[1]);
    cpuid_of_host(LEAF_EXTENDED_STATE, 0, state);
    return leaf7[0][EAX] >= 1 && (leaf7[0][EBX] & wanted) == wanted && leaf7[0][ECX] & VNNI_512 &&
           (state[EAX] & states) == states && has(leaf7, BF16) && has(leaf7, VNNI) && !has(leaf7, FP16);
}

static int index_of(const char *name, size_t length) {
    for (int i = 0; i < FEATURES; i++)
        if (strlen(features[i].name) == length && strncmp(features[i].name, name, length) == 0)
            return i;
    return -1;
}

int announce_start(const char *names) {
    announced = 0;
    looking = names == NULL && lacks_fp16_alone();
    if (names == NULL || strcmp(names, "none") == 0)
        return 0;
    for (const char *at = names; *at; at += strspn(at, ",")) {
        const size_t length = strcspn(at, ",");
        const int feature = index_of(at, length);
        if (feature < 0)
            return -EINVAL;
        announced |= 1u << feature;
        at += length;
    }
    return 0;
}

/* ---- oneDNN ---- */

/* What it begins the lines of its log with, by that name or an earlier one. */
static int is_its_name(const uint8_t *underscore, const uint8_t *begin) {
    static const char *const names[] = {"onednn", "dnnl", "mkldnn"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t length = strlen(names[i]);
        if ((size_t)(underscore - begin) >= length && memcmp(underscore - length, names[i], length) == 0)
            return 1;
    }
    return 0;
}

static int names_it(const uint8_t *begin, const uint8_t *end) {
    static const char wanted[] = "_verbose";
    enum { LENGTH = sizeof wanted - 1, BLOCK = 16 };
    const uint8_t *at = begin;
    for (; end - at >= BLOCK + LENGTH; at += BLOCK) {
        const __m128i first = _mm_loadu_si128((const __m128i *)at);
        const __m128i third = _mm_loadu_si128((const __m128i *)(at + 2));
        unsigned bits = (unsigned)_mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(first, _mm_set1_epi8('_')),
                                                                  _mm_cmpeq_epi8(third, _mm_set1_epi8('e'))));
        for (; bits; bits &= bits - 1) {
            const uint8_t *const found = at + __builtin_ctz(bits);
            if (memcmp(found, wanted, LENGTH) == 0 && is_its_name(found, begin))
                return 1;
        }
    }
    return 0;
}

int announce_concerns(const struct code_image *object) {
    for (size_t i = 0; looking && i < object->count; i++) {
        const Elf64_Phdr *const h = &object->headers[i];
        const uint8_t *const begin = (const uint8_t *)(uintptr_t)(object->base + h->p_vaddr);
        if (h->p_type == PT_LOAD && (h->p_flags & (PF_R | PF_W)) == PF_R &&
            names_it(begin, begin + h->p_filesz))
            return 1;
    }
    return 0;
}

void announce_look_at(const struct code_image *object) {
    struct range whole = {UINT64_MAX, 0};
    if (object_count == OBJECTS || !announce_concerns(object))
        return;
    for (size_t i = 0; i < object->count; i++) {
        const Elf64_Phdr *const h = &object->headers[i];
        const uint64_t begin = object->base + h->p_vaddr, end = begin + h->p_memsz;
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_R))
            continue;
        whole.begin = begin < whole.begin ? begin : whole.begin;
        whole.end = end > whole.end ? end : whole.end;
    }
    objects[object_count] = whole;
    object_count++;
}

/* ---- answers ---- */

static int is_concerned(uint64_t rip) {
    for (unsigned i = 0; i < object_count; i++)
        if (rip >= objects[i].begin && rip < objects[i].end)
            return 1;
    return 0;
}

void announce_add_to(int concerned, uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    const unsigned all = announced | (concerned ? 1u << FP16 : 0), to_it = leaf == LEAF_FEATURES ? all : 0;
    for (int i = 0; i < FEATURES; i++)
        if (to_it >> i & 1) {
            if (features[i].subleaf == subleaf)
                registers[features[i].reg] |= UINT32_C(1) << features[i].bit;
            if (subleaf == 0 && registers[EAX] < features[i].subleaf)
                registers[EAX] = features[i].subleaf;
        }
}

void announce_add(uint64_t rip, uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    announce_add_to(is_concerned(rip), leaf, subleaf, registers);
}

void announce_explain(const ucontext_t *context) {
    enum { EVEX = 0x62, VEX2 = 0xC5, VEX3 = 0xC4 };
    static const char before[] = "amx emulate: this CPU may lack the instruction: beside AMX are announced",
                      after[] = "; AMX_EMULATE_ANNOUNCE=none takes that back\n";
    const unsigned to_some = object_count ? announced | 1u << FP16 : announced;
    uint8_t first = 0;
    trap_own_memory.read(NULL, (uint64_t)context->uc_mcontext.gregs[REG_RIP], &first, 1);
    if (!to_some || (first != EVEX && first != VEX2 && first != VEX3))
        return;
    char text[sizeof before + sizeof after + 64];
    strcpy(text, before);
    for (int i = 0; i < FEATURES; i++)
        if (to_some >> i & 1)
            strcat(strcat(text, " "), features[i].name);
    strcat(text, after);
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}
