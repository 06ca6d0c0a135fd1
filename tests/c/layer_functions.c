/* exp, tanh and erf of csrc/layer/ against libm's of binary64, over all floats or some.
 *
 *     layer_functions STEP FIRST
 *
 * Every STEP-th bit pattern from FIRST on. Prints a line for each function and width: its worst error in
 * units in the last place of the exact result, and where; and how often it falls as x rises. Exit status 2:
 * wrong usage.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer/layer.h"

enum { BATCH = 1 << 14 };
static const char *const names[] = {"exp", "tanh", "erf"};

static double exact(int function, double x) {
    return function == LAYER_EXP ? exp(x) : function == LAYER_TANH ? tanh(x) : erf(x);
}

/* An infinity that is right counts as 2^128. */
static double error_of(float result, double right) {
    int exponent;
    if (isinf(right) || right >= 0x1p128) {
        right = 0x1p128;
    }
    frexp(right, &exponent);
    const double unit = ldexp(1, exponent < -125 ? -149 : exponent - 24);
    return fabs((isinf(result) ? copysign(0x1p128, result) : result) - right) / unit;
}

/* The results of the best width; the number of those that another width has otherwise. */
static uint64_t apply(int function, const float *x, float *y, int count) {
    static float other[BATCH];
    uint64_t differ = 0;
    for (int i = 0; layer_width(i) != NULL; i++) {
        layer_select(layer_width(i));
        layer_apply((enum layer_function)function, x, i == 0 ? y : other, count);
        for (int at = 0; i > 0 && at < count; at++) {
            differ += !(isnan(y[at]) && isnan(other[at])) && memcmp(&y[at], &other[at], sizeof *y) != 0;
        }
    }
    return differ;
}

static void measure(int function, uint64_t step, uint64_t first) {
    static float x[BATCH], y[BATCH];
    double worst = -1, at = 0;
    float before = NAN, before_at = NAN;
    uint64_t falls = 0, wrong = 0, differ = 0;
    for (uint64_t pattern = first; pattern < UINT64_C(1) << 32;) {
        int count = 0;
        for (; count < BATCH && pattern < UINT64_C(1) << 32; count++, pattern += step) {
            const uint32_t word = (uint32_t)pattern;
            memcpy(&x[count], &word, sizeof word);
        }
        differ += apply(function, x, y, count);
        for (int i = 0; i < count; i++) {
            wrong += isnan(x[i]) != isnan(y[i]);
            falls += before_at < x[i] ? before > y[i] : before_at > x[i] && before < y[i];
            before = y[i];
            before_at = x[i];
            const double error = error_of(y[i], exact(function, x[i]));
            if (error > worst) { /* not of a NaN */
                worst = error;
                at = x[i];
            }
        }
    }
    printf("%s: %.3f at %a, falls %llu, NaN wrong %llu, widths differ %llu\n", names[function], worst, at,
           (unsigned long long)falls, (unsigned long long)wrong, (unsigned long long)differ);
}

int main(int argc, char **argv) {
    if (argc != 3 || strtoull(argv[1], NULL, 0) == 0) {
        fprintf(stderr, "usage: layer_functions STEP FIRST\n");
        return 2;
    }
    for (int function = LAYER_EXP; function <= LAYER_ERF; function++) {
        measure(function, strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0));
    }
    return 0;
}
