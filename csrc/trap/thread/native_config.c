#include "trap/thread/native_config.h"

#include "trap/thread/frame.h"
#include "trap/trace/trace.h"

static int has_tiles;

void trap_native_config_prepare(int cpu_has_tiles) {
    has_tiles = cpu_has_tiles;
}

int trap_has_native_config(void) {
    return has_tiles;
}

static void adopt(struct trap_thread *thread, const uint8_t config[AMXEMU_CONFIG_BYTES]) {
    amxemu_ldtilecfg(&thread->task.tiles, config);
    thread->task.data_live = 0;
    trap_trace_native_config(thread->id, &thread->task.tiles);
}

void trap_follow_config_in_frame(struct trap_thread *thread, ucontext_t *context) {
    uint8_t config[AMXEMU_CONFIG_BYTES];
    if (trap_frame_take_config(context, config))
        adopt(thread, config);
}

/* sttilecfg (%rdi), and tilerelease. Functions of their own, so that patching can leave them out. */
void trap_native_sttilecfg(uint8_t config[AMXEMU_CONFIG_BYTES]);
void trap_native_tilerelease(void);
extern const char trap_native_config_end[];
__asm__(".pushsection .text\n"
        ".hidden trap_native_sttilecfg, trap_native_tilerelease, trap_native_config_end\n"
        ".globl trap_native_sttilecfg, trap_native_tilerelease, trap_native_config_end\n"
        ".type trap_native_sttilecfg, @function\n"
        ".type trap_native_tilerelease, @function\n"
        "trap_native_sttilecfg:\n"
        "  .byte 0xc4, 0xe2, 0x79, 0x49, 0x07\n"
        "  ret\n"
        "trap_native_tilerelease:\n"
        "  .byte 0xc4, 0xe2, 0x78, 0x49, 0xc0\n"
        "  ret\n"
        "trap_native_config_end:\n"
        ".popsection\n");

int trap_is_native_config_code(uint64_t rip) {
    return rip >= (uintptr_t)trap_native_sttilecfg && rip < (uintptr_t)trap_native_config_end;
}

void trap_follow_config(struct trap_thread *thread) {
    uint8_t config[AMXEMU_CONFIG_BYTES];
    if (!has_tiles)
        return;
    trap_native_sttilecfg(config);
    if (config[0] == 0) /* palette: the INIT state */
        return;
    trap_native_tilerelease();
    adopt(thread, config);
}
