/* A tracee's vector registers and its CPU's tile configuration, out of and into its XSAVE area (standard
 * format: SDM vol. 1, 13.4). */
#include "machine/machine.h"
#include "trap/ptrace/ptrace.h"
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

enum {
    LEAF_XSTATE = 0xd,
    SSE_OFFSET = 160, /* XMM0-15, in the legacy region */
    XSTATE_BV = 512,
    HEADER_END = 576,
    SSE = 1,
    AVX = 2,       /* YMM_Hi128: bytes 16-31 of 0-15 */
    ZMM_HI256 = 6, /* bytes 32-63 of 0-15 */
    HI16_ZMM = 7,  /* 16-31 */
    XTILECFG = 17,
    AREA_ROOM = 16384,
};

/* Where the bytes of one register are, in parts. */
struct part {
    unsigned component, offset, size;
};

static unsigned component_offset(unsigned component) {
    uint32_t registers[4];
    return amx_cpuid(LEAF_XSTATE, component, registers) == 0 && registers[0] ? registers[1] : 0;
}

/* How many parts; 0: this machine has no such registers. */
static unsigned parts_of(unsigned number, struct part parts[3]) {
    if (number >= 16) {
        parts[0] = (struct part){HI16_ZMM, component_offset(HI16_ZMM) + (number - 16) * 64, 64};
        return 1;
    }
    parts[0] = (struct part){SSE, SSE_OFFSET + number * 16, 16};
    parts[1] = (struct part){AVX, component_offset(AVX) + number * 16, 16};
    parts[2] = (struct part){ZMM_HI256, component_offset(ZMM_HI256) + number * 32, 32};
    return 3;
}

static int get_area(pid_t tid, uint8_t *area, size_t *size) {
    struct iovec vector = {area, *size};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &vector) != 0)
        return -errno;
    *size = vector.iov_len;
    return 0;
}

/* All of it: Linux refuses a part (docs/abi.md). */
static int set_area(pid_t tid, uint8_t *area, size_t size) {
    const struct iovec vector = {area, size};
    return ptrace(PTRACE_SETREGSET, tid, (void *)NT_X86_XSTATE, &vector) == 0 ? 0 : -errno;
}

static int has_zmm(size_t size) {
    uint64_t xcr0;
    return amx_xgetbv(0, &xcr0) == 0 && (xcr0 & 0xe6) == 0xe6 && component_offset(HI16_ZMM) + 1024u <= size;
}

int tracer_get_zmm(pid_t tid, uint8_t zmm[32][64]) {
    _Alignas(64) uint8_t area[AREA_ROOM];
    size_t size = sizeof area;
    const int error = get_area(tid, area, &size);
    if (error)
        return error;
    if (!has_zmm(size))
        return -ENODEV;
    for (unsigned number = 0; number < 32; number++) {
        struct part parts[3];
        unsigned at = 0;
        for (unsigned i = 0, n = parts_of(number, parts); i < n; at += parts[i++].size)
            memcpy(zmm[number] + at, area + parts[i].offset, parts[i].size);
    }
    return 0;
}

int tracer_set_zmm(pid_t tid, unsigned number, const uint8_t value[64]) {
    _Alignas(64) uint8_t area[AREA_ROOM];
    size_t size = sizeof area;
    struct part parts[3];
    uint64_t present;
    unsigned at = 0;
    const int error = get_area(tid, area, &size);
    if (error)
        return error;
    memcpy(&present, area + XSTATE_BV, sizeof present);
    for (unsigned i = 0, n = parts_of(number, parts); i < n; at += parts[i++].size) {
        memcpy(area + parts[i].offset, value + at, parts[i].size);
        present |= UINT64_C(1) << parts[i].component; /* the rest of it reads as zeros while it is INIT */
    }
    memcpy(area + XSTATE_BV, &present, sizeof present);
    return set_area(tid, area, size);
}

int tracer_take_config(pid_t tid, uint8_t config[AMXEMU_CONFIG_BYTES]) {
    _Alignas(64) uint8_t area[AREA_ROOM];
    size_t size = sizeof area;
    uint64_t present;
    const int error = get_area(tid, area, &size);
    if (error)
        return error;
    memcpy(&present, area + XSTATE_BV, sizeof present);
    if (!(present >> XTILECFG & 1))
        return 0;
    memcpy(config, area + component_offset(XTILECFG), AMXEMU_CONFIG_BYTES);
    present &= ~(UINT64_C(1) << XTILECFG);
    memcpy(area + XSTATE_BV, &present, sizeof present);
    const int failure = set_area(tid, area, size);
    return failure ? failure : 1;
}

uint64_t tracer_xinuse(pid_t tid) {
    _Alignas(64) uint8_t area[HEADER_END];
    size_t size = sizeof area;
    uint64_t present = 0;
    if (get_area(tid, area, &size) == 0 && size == sizeof area)
        memcpy(&present, area + XSTATE_BV, sizeof present);
    return present;
}
