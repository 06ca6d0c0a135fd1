/* Whether the compiler keeps what the instructions of insn.h depend on: bytes are prepared by plain stores
 * just before an instruction reads them, and read by plain loads just after one wrote them, with full
 * optimisation. Exit status: how many of the checks failed. With -DWITH_IMMINTRIN the compiler's own header
 * is tried instead, which up to gcc 12 declares 8 of the 64 bytes of a configuration. With -DWITH_TRAP the
 * instructions run on the software tile machine. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef WITH_IMMINTRIN
#include <immintrin.h>
#define AMX_LDTILECFG(p)         _tile_loadconfig(p)
#define AMX_STTILECFG(p)         _tile_storeconfig(p)
#define AMX_TILELOADD(t, p, s)   _tile_loadd(t, p, s)
#define AMX_TILELOADDT1(t, p, s) _tile_stream_loadd(t, p, s)
#define AMX_TILESTORED(t, p, s)  _tile_stored(t, p, s)
#define AMX_TILEZERO(t)          _tile_zero(t)
#define AMX_TILERELEASE()        _tile_release()
#define AMX_TDPBSSD(d, a, b)     _tile_dpbssd(d, a, b)
#else
#include "insn.h"
#endif
#ifdef WITH_TRAP
#include "amx.h"
#endif

static int failures;

static void check(const char *what, int holds) {
    if (!holds) {
        printf("lost: %s\n", what);
        failures++;
    }
}

static void configure(int rows, int colsb) {
    uint8_t image[64];
    memset(image, 0, sizeof image);
    image[0] = 1;
    for (int t = 0; t < 8; t++) {
        image[16 + 2 * t] = (uint8_t)colsb;
        image[48 + t] = (uint8_t)rows;
    }
    AMX_LDTILECFG(image);
}

static void stores_before_ldtilecfg(void) {
    uint8_t image[64];
    memset(image, 0xee, sizeof image);
    configure(7, 20);
    AMX_STTILECFG(image);
    int right = image[0] == 1 && image[1] == 0;
    for (int t = 0; t < 8; t++) {
        right &= image[16 + 2 * t] == 20 && image[17 + 2 * t] == 0 && image[48 + t] == 7;
    }
    for (int i = 56; i < 64; i++) {
        right &= image[i] == 0;
    }
    check("the stores of a configuration, or those of sttilecfg", right);
}

static void stores_before_loads(int streamed) {
    uint8_t from[16 * 64], to[16 * 64];
    configure(16, 64);
    for (int i = 0; i < 1024; i++) {
        from[i] = (uint8_t)(i * 7 + streamed);
        to[i] = 0;
    }
    if (streamed) {
        AMX_TILELOADDT1(1, from, 64);
    } else {
        AMX_TILELOADD(1, from, 64);
    }
    for (int i = 0; i < 1024; i++) {
        from[i] = 0xff;
    }
    AMX_TILESTORED(1, to, 64);
    int right = 1;
    for (int i = 0; i < 1024; i++) {
        right &= to[i] == (uint8_t)(i * 7 + streamed) && from[i] == 0xff;
    }
    check(streamed ? "stores around tileloaddt1" : "stores around tileloadd", right);
}

static void order_of_products(void) {
    int8_t ones[1024];
    int32_t c[256];
    configure(16, 64);
    memset(ones, 1, sizeof ones);
    AMX_TILELOADD(4, ones, 64);
    AMX_TILELOADD(6, ones, 64);
    AMX_TILEZERO(0);
    for (int i = 0; i < 3; i++) {
        AMX_TDPBSSD(0, 4, 6);
    }
    AMX_TILESTORED(0, c, 64);
    int right = 1;
    for (int i = 0; i < 256; i++) {
        right &= c[i] == 3 * 64;
    }
    check("products between zero and store", right);
}

int main(void) {
#ifdef WITH_TRAP
    const struct amx_trap_options options = {.cpu = "spr", .hybrid = -1};
    if (amx_trap_start(&options) != 0 || amx_trap_arch_prctl(0x1023, 18) != 0) {
        return 99;
    }
#else
    if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) { /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
        return 98;
    }
#endif
    stores_before_ldtilecfg();
    stores_before_loads(0);
    stores_before_loads(1);
    order_of_products();
    AMX_TILERELEASE();
    return failures;
}
