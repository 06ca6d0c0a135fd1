/* csrc/trap/thread/frame.c over XSAVE areas that the caller makes up, with the offsets of Granite Rapids. */
#include "trap/thread/frame.c"

void frame_prepare(void) {
    components[AVX].at = 576, components[AVX].size = 256;
    components[ZMM_HI256].at = 1152, components[ZMM_HI256].size = 512;
    components[HI16_ZMM].at = 1664, components[HI16_ZMM].size = 1024;
    components[XTILECFG].at = 2752, components[XTILECFG].size = 64;
    components[APX].at = 960, components[APX].size = 128;
}

static ucontext_t context_of(uint8_t *area) {
    ucontext_t context;
    memset(&context, 0, sizeof context);
    context.uc_mcontext.fpregs = (void *)area;
    return context;
}

int frame_take_config(uint8_t *area, uint8_t config[AMXEMU_CONFIG_BYTES]) {
    ucontext_t context = context_of(area);
    return trap_frame_take_config(&context, config);
}

uint64_t frame_xinuse(uint8_t *area, uint64_t otherwise) {
    const ucontext_t context = context_of(area);
    return trap_frame_xinuse(&context, otherwise);
}

/* What a row instruction does that writes ZMM register `number`; 0 where the program has none. */
int frame_write_zmm(uint8_t *area, unsigned number, const uint8_t bytes[AMXEMU_COLSB]) {
    static uint8_t zmm[32][AMXEMU_COLSB];
    const struct amxemu_insn insn = {.op = AMXEMU_TILEMOVROW, .d = (uint8_t)number, .segment = -1};
    struct trap_vectors vectors = {.zmm = zmm};
    ucontext_t context = context_of(area);
    const struct amxemu_registers r = trap_frame_registers(&context, &insn, &vectors);
    if (r.zmm == NULL)
        return 0;
    memcpy(zmm[number], bytes, AMXEMU_COLSB);
    trap_frame_complete(&context, &insn, &r);
    return 1;
}

void frame_egprs(uint8_t *area, uint64_t egprs[16]) {
    const struct amxemu_insn insn = {.op = AMXEMU_TILELOADD, .segment = -1, .apx = 1};
    struct trap_vectors vectors;
    ucontext_t context = context_of(area);
    const struct amxemu_registers r = trap_frame_registers(&context, &insn, &vectors);
    memcpy(egprs, r.egpr, sizeof vectors.egpr);
}
