/* XSAVE and XRSTOR of the components 17 and 18, in the standard format (SDM vol. 1, chapter 13). */
#define _GNU_SOURCE
#include "native.h"

#include "insn.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_GET_XCOMP_PERM = 0x1022, ARCH_REQ_XCOMP_PERM = 0x1023 };
enum { XFEATURE_XTILECFG = 17, XFEATURE_XTILEDATA = 18, XSTATE_BV_OFFSET = 512, XSTATE_LEAF = 0xD };
enum { XTILECFG = 1 << XFEATURE_XTILECFG, XTILEDATA = 1 << XFEATURE_XTILEDATA };

static uint8_t *area;
static size_t config_offset, data_offset;

int native_os_has_tiles(void) {
    enum { OSXSAVE = 1 << 27 };
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & (XTILECFG | XTILEDATA)) == (XTILECFG | XTILEDATA);
}

int native_request(void) {
    uint32_t eax, ebx, ecx, edx;
    uint64_t permitted = 0;

    if (!native_os_has_tiles())
        return -ENODEV;
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return -errno;
    if (syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted) != 0)
        return -errno;
    if (!(permitted & XTILEDATA)) /* a seccomp filter can answer in the kernel's place */
        return -EPERM;
    if (area != NULL)
        return 0;
    __cpuid_count(XSTATE_LEAF, XFEATURE_XTILECFG, eax, ebx, ecx, edx);
    config_offset = ebx;
    __cpuid_count(XSTATE_LEAF, XFEATURE_XTILEDATA, eax, ebx, ecx, edx);
    data_offset = ebx;
    __cpuid_count(XSTATE_LEAF, 0, eax, ebx, ecx, edx);
    const size_t size = ((size_t)ecx + 63) / 64 * 64;
    area = aligned_alloc(64, size);
    if (area == NULL)
        return -ENOMEM;
    memset(area, 0, size);
    return 0;
}

/* XRSTOR only for the data: what it does with configurations that LDTILECFG refuses is another question. */
void native_set(const struct amxemu_state *state) {
    uint8_t image[AMXEMU_CONFIG_BYTES];
    const uint64_t components = XTILEDATA;

    if (state->palette == 0) {
        AMX_TILERELEASE();
        return;
    }
    amxemu_sttilecfg(state, image);
    AMX_LDTILECFG(image);
    memcpy(area + data_offset, state->tile, sizeof state->tile);
    memset(area + XSTATE_BV_OFFSET, 0, 64);
    memcpy(area + XSTATE_BV_OFFSET, &components, sizeof components);
    __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(XTILEDATA), "d"(0) : "memory");
}

void native_get(struct amxemu_state *state) {
    memset(area + XSTATE_BV_OFFSET, 0, 64);
    __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(XTILECFG | XTILEDATA), "d"(0) : "memory");
    amxemu_ldtilecfg(state, area + config_offset); /* what the CPU saves is valid, or all zero */
    memcpy(state->tile, area + data_offset, sizeof state->tile);
}
