#define _GNU_SOURCE /* REG_RIP */
#include "trap/thread/frame.h"

#include "fpstate.h"

#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004 };

/* The standard XSAVE format (SDM vol. 1, 13.4), and what Linux puts into bytes 464-511 (uapi
 * asm/sigcontext.h). */
enum { SSE = 1, AVX = 2, ZMM_HI256 = 6, HI16_ZMM = 7, XTILECFG = 17, APX = 19, COMPONENTS };
enum {
    XSTATE_LEAF = 0xD,
    XMM_AT = 160,
    SOFTWARE_AT = 464,
    XFEATURES_AT = SOFTWARE_AT + 8,
    XSTATE_BV_AT = 512
};
enum { UPPER_ZMM = 16 };

static struct {
    uint32_t at, size;
} components[COMPONENTS] = {[SSE] = {XMM_AT, 256}};

void trap_frame_prepare(void) {
    uint32_t ecx, edx;
    if (__get_cpuid_max(0, NULL) < XSTATE_LEAF)
        return;
    for (unsigned i = AVX; i < COMPONENTS; i++)
        __cpuid_count(XSTATE_LEAF, i, components[i].size, components[i].at, ecx, edx);
}

/* The components that the frame has room for; 0 in one without XSAVE. */
static uint64_t features_of(const uint8_t *frame) {
    uint32_t magic;
    uint64_t features;
    if (frame == NULL)
        return 0;
    memcpy(&magic, frame + SOFTWARE_AT, sizeof magic);
    memcpy(&features, frame + XFEATURES_AT, sizeof features);
    return magic == FP_XSTATE_MAGIC1 ? features : 0;
}

static uint64_t in_use(const uint8_t *frame) {
    uint64_t components_in_use;
    memcpy(&components_in_use, frame + XSTATE_BV_AT, sizeof components_in_use);
    return components_in_use;
}

static const uint8_t *get_part(const uint8_t *frame, unsigned component) {
    return features_of(frame) & in_use(frame) & UINT64_C(1) << component ? frame + components[component].at
                                                                         : NULL;
}

/* A component that was in its INIT state becomes one of zeros. */
static void put_part(uint8_t *frame, unsigned component, unsigned offset, const uint8_t *bytes, size_t size) {
    const uint64_t used = in_use(frame), now = used | UINT64_C(1) << component;
    uint8_t *const part = frame + components[component].at;
    if (now != used)
        memset(part, 0, components[component].size);
    memcpy(frame + XSTATE_BV_AT, &now, sizeof now);
    memcpy(part + offset, bytes, size);
}

static void put_zmm(uint8_t *frame, unsigned number, const uint8_t bytes[AMXEMU_COLSB]) {
    if (number >= UPPER_ZMM) {
        put_part(frame, HI16_ZMM, (number - UPPER_ZMM) * 64, bytes, 64);
        return;
    }
    put_part(frame, SSE, number * 16, bytes, 16);
    put_part(frame, AVX, number * 16, bytes + 16, 16);
    put_part(frame, ZMM_HI256, number * 32, bytes + 32, 32);
}

static const int gregs_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static int has_zmm(uint64_t features) {
    const uint64_t needed = 1 << SSE | 1 << AVX | 1 << ZMM_HI256 | 1 << HI16_ZMM;
    return (features & needed) == needed;
}

struct amxemu_registers trap_frame_registers(const ucontext_t *context, const struct amxemu_insn *insn,
                                             struct trap_vectors *vectors) {
    const uint8_t *const frame = (const uint8_t *)context->uc_mcontext.fpregs;
    struct amxemu_registers r = {.rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP]};
    for (int i = 0; i < 16; i++)
        r.gpr[i] = (uint64_t)context->uc_mcontext.gregs[gregs_of[i]];
    if (insn->segment >= 0) { /* the handler runs with the program's */
        syscall(SYS_arch_prctl, ARCH_GET_FS, &r.fs_base);
        syscall(SYS_arch_prctl, ARCH_GET_GS, &r.gs_base);
    }
    if (insn->apx) { /* on a CPU without APX nothing can have changed r16-r31 */
        const uint8_t *const upper = get_part(frame, APX);
        memset(vectors->egpr, 0, sizeof vectors->egpr);
        if (upper != NULL)
            memcpy(vectors->egpr, upper, sizeof vectors->egpr);
        r.egpr = vectors->egpr;
    }
    if (insn->op >= AMXEMU_TILEMOVROW && has_zmm(features_of(frame)))
        r.zmm = vectors->zmm;
    return r;
}

void trap_frame_complete(ucontext_t *context, const struct amxemu_insn *insn,
                         const struct amxemu_registers *r) {
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)r->rip;
    if (r->zmm != NULL)
        put_zmm((uint8_t *)context->uc_mcontext.fpregs, insn->d, r->zmm[insn->d]);
}

uint64_t trap_frame_xinuse(const ucontext_t *context, uint64_t otherwise) {
    const uint8_t *const frame = (const uint8_t *)context->uc_mcontext.fpregs;
    const uint64_t features = features_of(frame);
    return features ? features & in_use(frame) : otherwise;
}

int trap_frame_take_config(ucontext_t *context, uint8_t config[AMXEMU_CONFIG_BYTES]) {
    uint8_t *const frame = (uint8_t *)context->uc_mcontext.fpregs;
    const uint8_t *const part = get_part(frame, XTILECFG);
    if (part == NULL)
        return 0;
    memcpy(config, part, AMXEMU_CONFIG_BYTES);
    const uint64_t others = in_use(frame) & ~(UINT64_C(1) << XTILECFG);
    memcpy(frame + XSTATE_BV_AT, &others, sizeof others);
    return config[0] != 0; /* palette */
}
