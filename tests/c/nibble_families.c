/* The kernels of 4-bit weights (csrc/vector/nibbles.h) against plain loops, bit for bit.
 *
 *     nibble_families SEED COUNT [too-far]
 *
 * COUNT blocks of each family: all numbers of rows, groups of 1 to 9 units and ends of K, both kinds of
 * scales, zero points of each group or of all, random and extreme numbers. What kernels read and write lies
 * flush against pages that nobody may touch, so that a byte too far ends the program; `too-far` touches one.
 * Prints a line for each family. Exit status 0: all equal; 1: a difference; 2: wrong usage. Compiled with
 * tests/c/avx512_model it runs the families whose instructions are modelled there, on a CPU with AVX2; else
 * those that the CPU has.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "emulator/mxcsr.h"
#include "emulator/vectors.h"
#include "random.h"
#include "vector/nibble_families.h"

enum { MOST_UNITS = 28, MOST_K = 32 * MOST_UNITS, COLUMNS = 16, PAGE = 4096, ROOM = 16 * PAGE };

static const struct nibbles_family *const families[] = {
#ifdef __x86_64__
    &nibbles_avx512_vnni,
#if AMX_HAS_AVX_VNNI
    &nibbles_avx_vnni,
#endif
    &nibbles_avx2,
#endif
    &nibbles_plain,
};

/* Of ROOM bytes between forbidden pages the first or last so many. */
static uint8_t *guarded(uint8_t *room, int64_t size, int at_end) {
    return at_end ? room + ROOM - size : room;
}

static uint8_t *make_room(void) {
    uint8_t *const all = mmap(NULL, ROOM + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + PAGE, ROOM, PROT_READ | PROT_WRITE) != 0) {
        perror("mmap");
        exit(2);
    }
    return all + PAGE;
}

static int x[NIBBLES_MOST_ROWS][MOST_K], zero_of_row[NIBBLES_MOST_ROWS];
static int q[COLUMNS][MOST_K], zero[COLUMNS][MOST_UNITS];
static float scale[COLUMNS][MOST_UNITS];
static uint16_t half[COLUMNS][MOST_UNITS];

static void choose(int k, int groups, int float16, int same_zero) {
    const int extreme = below(4) == 0;
    for (int r = 0; r < NIBBLES_MOST_ROWS; r++) {
        zero_of_row[r] = extreme ? 127 : below(256) - 128;
        for (int i = 0; i < MOST_K; i++) {
            x[r][i] = i >= k ? 0 : extreme ? -128 : below(256) - 128;
        }
    }
    for (int n = 0; n < COLUMNS; n++) {
        for (int i = 0; i < MOST_K; i++) {
            q[n][i] = i >= k ? 0 : extreme ? n % 2 * 15 : below(16);
        }
        for (int g = 0; g < groups; g++) {
            const int sign = below(2), exponent = below(31), fraction = 1 + below(1023);
            zero[n][g] = same_zero >= 0 ? same_zero : extreme ? 16 - n % 2 * 16 : below(17);
            half[n][g] = (uint16_t)(sign << 15 | exponent << 10 | fraction);
            scale[n][g] = ldexpf((float)(exponent == 0 ? fraction : 1024 + fraction),
                                 (exponent == 0 ? 1 : exponent) - 25) *
                          (sign ? -1 : 1) * (float16 ? 1 : 1.00001F);
        }
    }
}

static uint8_t *rooms[5];
static uint32_t want[NIBBLES_MOST_ROWS][COLUMNS];

/* In the layouts of nibbles.h. */
static struct nibbles_block lay_out(int rows, int k, int group_units, int float16, int same_zero) {
    const int units = (k + 31) / 32, groups = (units + group_units - 1) / group_units;
    int64_t pieces = 0;
    for (int unit = 0; unit < units; unit += group_units) {
        pieces += ((units - unit < group_units ? units - unit : group_units) + 3) / 4;
    }
    const int sums_row = 64 * (1 + below(3));
    struct nibbles_block on = {
        .rows = rows,
        .scales_are_float16 = float16,
        .zero = same_zero >= 0 ? same_zero : 0,
        .units = units,
        .group_units = group_units,
        .sums_row = sums_row,
    };
    uint8_t *a = guarded(rooms[0], rows * (units * 32 + 4 * pieces), below(2));
    uint8_t *b = guarded(rooms[1], units * NIBBLES_UNIT_BYTES, below(2));
    uint8_t *scales = guarded(rooms[2], groups * COLUMNS * (float16 ? 2 : 4), below(2));
    uint8_t *zeros = guarded(rooms[3], groups * COLUMNS, below(2));
    on.a = a;
    on.b = b;
    on.scales = scales;
    on.zeros = same_zero >= 0 ? NULL : zeros;
    on.sums = (float *)(void *)guarded(rooms[4], (rows - 1) * sums_row + 64, below(2));
    memset(b, 0, (size_t)units * NIBBLES_UNIT_BYTES);
    for (int n = 0; n < COLUMNS; n++) {
        for (int i = 0; i < k; i++) {
            b[i / 32 * 256 + i % 16 / 4 * 64 + 4 * n + i % 4] |= (uint8_t)(q[n][i] << (i % 32 < 16 ? 0 : 4));
        }
        for (int g = 0; g < groups; g++) {
            const int at = g * COLUMNS + n;
            memcpy(scales + at * (float16 ? 2 : 4), float16 ? (void *)&half[n][g] : (void *)&scale[n][g],
                   float16 ? 2 : 4);
            zeros[at] = (uint8_t)zero[n][g];
        }
    }
    for (int unit = 0; unit < units;) {
        const int left = group_units - unit % group_units, some = left < 4 ? left : 4;
        const int end = unit + some < units ? unit + some : units;
        int16_t pairs[NIBBLES_MOST_ROWS][2] = {{0}};
        for (int r = 0; r < rows; r++) {
            pairs[r][0] = (int16_t)-zero_of_row[r];
            for (int i = 32 * unit; i < 32 * end && i < k; i++) {
                pairs[r][1] = (int16_t)(pairs[r][1] - (x[r][i] - zero_of_row[r]));
            }
        }
        for (int word = 8 * unit; word < 8 * end; word++) {
            for (int r = 0; r < rows; r++) {
                for (int i = 0; i < 4; i++) {
                    *a++ = (uint8_t)x[r][4 * word + i];
                }
            }
        }
        memcpy(a, pairs, (size_t)(4 * rows));
        a += 4 * rows;
        unit = end;
    }
    return on;
}

/* By the definition, not as kernels take it apart. */
static void expect(int rows, int k, int group_units) {
    for (int r = 0; r < rows; r++) {
        for (int n = 0; n < COLUMNS; n++) {
            float sum = 0;
            for (int g = 0; g * 32 * group_units < k; g++) {
                int64_t d = 0;
                for (int i = g * 32 * group_units; i < (g + 1) * 32 * group_units && i < k; i++) {
                    d += (int64_t)(x[r][i] - zero_of_row[r]) * (q[n][i] - zero[n][g]);
                }
                const float product = (float)d * scale[n][g];
                sum = sum + product;
            }
            memcpy(&want[r][n], &sum, sizeof sum);
        }
    }
}

static int differs(const struct nibbles_family *family) {
    const int rows = 1 + below(family->rows), group_units = 1 + below(9);
    const int k = 1 + below(MOST_K), units = (k + 31) / 32, groups = (units + group_units - 1) / group_units;
    const int float16 = below(2), same_zero = below(2) ? below(17) : -1;
    choose(k, groups, float16, same_zero);
    const struct nibbles_block on = lay_out(rows, k, group_units, float16, same_zero);
    expect(rows, k, group_units);
#ifdef __x86_64__
    enum { AS_AFTER_RESET = 0x1F80 };
    const uint32_t mxcsr = amxemu_exchange_mxcsr(AS_AFTER_RESET);
    family->multiply(&on);
    amxemu_exchange_mxcsr(mxcsr);
#else
    family->multiply(&on);
#endif
    for (int r = 0; r < rows; r++) {
        for (int n = 0; n < COLUMNS; n++) {
            uint32_t got;
            memcpy(&got, (const uint8_t *)on.sums + r * on.sums_row + 4 * n, sizeof got);
            if (got != want[r][n]) {
                printf("%s: %d rows, K %d, groups of %d units, float%d, zeros %d: row %d, column %d is %08x, "
                       "not "
                       "%08x\n",
                       family->name, rows, k, group_units, float16 ? 16 : 32, same_zero, r, n, (unsigned)got,
                       (unsigned)want[r][n]);
                return 1;
            }
        }
    }
    return 0;
}

int main(int count, char **words) {
    if (count < 3 || (state = strtoull(words[1], NULL, 0) * 2 + 1) == 0) {
        fprintf(stderr, "usage: nibble_families SEED COUNT [too-far]\n");
        return 2;
    }
    for (int i = 0; i < 5; i++) {
        rooms[i] = make_room();
    }
    unsigned has = amxemu_vectors();
#ifdef AVX512_MODEL
    has |= has & AMXEMU_HAS_AVX2 ? ~0u : 0;
#endif
    int wrong = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if ((families[i]->needs & ~has) != 0) {
            printf("%s: not here\n", families[i]->name);
            continue;
        }
        int differing = 0;
        for (int block = 0; block < atoi(words[2]) && !differing; block++) {
            differing = differs(families[i]);
        }
        printf("%s: %s\n", families[i]->name, differing ? "differs" : "equal");
        wrong |= differing;
    }
    if (count > 3) {
        struct nibbles_block on = lay_out(1, MOST_K, 1, 0, -1);
        on.b = guarded(rooms[1], (MOST_UNITS - 1) * NIBBLES_UNIT_BYTES + 255, 1);
        nibbles_plain.multiply(&on);
    }
    return wrong;
}
