/* An int8 product of 16 x 64 by 64 x 16 with operands of its own for each seed; how many elements were wrong.
 * config: tiles 0 to 2 have 16 rows of 64 bytes.
 */
#ifndef TESTS_PRODUCT_H
#define TESTS_PRODUCT_H

#include "insn.h"

#include <stdint.h>

static int wrong_elements(const uint8_t config[64], unsigned seed) {
    int8_t a[16][64], b[16][64];
    int32_t c[16][16];
    int wrong = 0;
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 64; k++) {
            a[i][k] = (int8_t)((unsigned)(i * 7 + k * 3) + seed);
            b[i][k] = (int8_t)((unsigned)(i * 5 - k) - seed);
        }
    AMX_LDTILECFG(config);
    AMX_TILEZERO(0);
    AMX_TILELOADD(1, a, 64);
    AMX_TILELOADD(2, b, 64);
    AMX_TDPBSSD(0, 1, 2);
    AMX_TILESTORED(0, c, 64);
    AMX_TILERELEASE();
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            int32_t sum = 0;
            for (int k = 0; k < 64; k++)
                sum += a[i][k] * b[k / 4][4 * j + k % 4];
            wrong += sum != c[i][j];
        }
    return wrong;
}

#endif
