#include "amx.h"
#include <errno.h>
__attribute__((weak)) int amx_is_stub(void) { return 1; }
__attribute__((weak)) int amx_cpuid(uint32_t a, uint32_t b, uint32_t r[4]) { (void)a; (void)b; (void)r; return -ENOSYS; }
__attribute__((weak)) int amx_xgetbv(uint32_t a, uint64_t *b) { (void)a; (void)b; return -ENOSYS; }
__attribute__((weak)) int amx_arch_prctl(int op, uint64_t b) { (void)op; (void)b; return -ENOSYS; }
__attribute__((weak)) int amx_arch_prctl_get(int op, uint64_t *b) { (void)op; (void)b; return -ENOSYS; }
__attribute__((weak)) uint64_t amx_getauxval(uint64_t t) { (void)t; return 0; }
__attribute__((weak)) int amx_sigaltstack(uint64_t *a, uint64_t *b, int *c) { (void)a; (void)b; (void)c; return -ENOSYS; }
__attribute__((weak)) int amx_probe_tilezero(struct amx_probe *p) { (void)p; return -ENOSYS; }
__attribute__((weak)) int amx_ldtilecfg(int e, const uint8_t c[64]) { (void)e; (void)c; return -ENOSYS; }
__attribute__((weak)) int amx_sttilecfg(int e, uint8_t c[64]) { (void)e; (void)c; return -ENOSYS; }
__attribute__((weak)) int amx_tilerelease(int e) { (void)e; return -ENOSYS; }
__attribute__((weak)) int amx_tilezero(int e, const uint8_t *x, int t) { (void)e; (void)x; (void)t; return -ENOSYS; }
__attribute__((weak)) int amx_tileloadd(int e, const uint8_t *x, int t, const void *b, int64_t s) { (void)e; (void)x; (void)t; (void)b; (void)s; return -ENOSYS; }
__attribute__((weak)) int amx_tileloaddt1(int e, const uint8_t *x, int t, const void *b, int64_t s) { (void)e; (void)x; (void)t; (void)b; (void)s; return -ENOSYS; }
__attribute__((weak)) int amx_tilestored(int e, const uint8_t *x, int t, void *b, int64_t s) { (void)e; (void)x; (void)t; (void)b; (void)s; return -ENOSYS; }
__attribute__((weak)) int amx_tdp(int e, const uint8_t *x, int o, int d, int a, int b) { (void)e; (void)x; (void)o; (void)d; (void)a; (void)b; return -ENOSYS; }
__attribute__((weak)) void amx_tile_owner(int e, int o) { (void)e; (void)o; }
#include "emulator/emulator.h"
#define W __attribute__((weak))
W const struct amxemu_memory amxemu_direct_memory;
W enum amxemu_outcome amxemu_ldtilecfg(struct amxemu_state *s, const uint8_t i[64]) { (void)s; (void)i; return 1; }
W void amxemu_sttilecfg(const struct amxemu_state *s, uint8_t i[64]) { (void)s; (void)i; }
W void amxemu_tilerelease(struct amxemu_state *s) { (void)s; }
W enum amxemu_outcome amxemu_tilezero(struct amxemu_state *s, unsigned t) { (void)s; (void)t; return 1; }
W enum amxemu_outcome amxemu_tileloadd(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault) {(void)s;(void)t;(void)base;(void)stride;(void)memory;(void)fault; return 1;}
W enum amxemu_outcome amxemu_tilestored(struct amxemu_state *s, unsigned t, uint64_t base, int64_t stride,
                                     const struct amxemu_memory *memory, struct amxemu_fault *fault) {(void)s;(void)t;(void)base;(void)stride;(void)memory;(void)fault; return 1;}
W enum amxemu_outcome amxemu_tdp(struct amxemu_state *s, enum amxemu_op op, unsigned d, unsigned a, unsigned b) {(void)s;(void)op;(void)d;(void)a;(void)b; return 1;}
